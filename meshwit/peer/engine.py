"""The engine of a peer: leads jobs (`leading`), works for leaders (`work`), carries what they say to each other. Shell.

A mesh of one and a mesh of many are the same: this peer is one of its own workers, and what its leaders say to it goes
the same way as what they say to others, without the wire. Runs on an asyncio loop; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import platform
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from meshwit.bench.allowances import allowances
from meshwit.bench.capabilities import capabilities
from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.lang import program as ir
from meshwit.lang.arrows import activities_in
from meshwit.lang.checker import compile_script
from meshwit.peer.blobs.service import BlobError, BlobService
from meshwit.peer.blobs.store import USER_BYTES_MAX, BlobStore, user_folder
from meshwit.peer.correspondence import Correspondence
from meshwit.peer.device.passing import Passing
from meshwit.peer.exec.directories import prefix, sweep
from meshwit.peer.exec.pool import WorkerPool
from meshwit.peer.job.software import Owner, installed
from meshwit.peer.job.steps import StepSettings
from meshwit.peer.job.stream import stream_settings
from meshwit.peer.job.workers import Worker
from meshwit.peer.kept_jobs import KeptJobs, Safety
from meshwit.peer.leading import Leading
from meshwit.peer.letters import Letter
from meshwit.peer.rates import controller_versions
from meshwit.peer.running_job import OnEvent, OnOutcomes, RunningJob
from meshwit.peer.succession.handing_over import Leads
from meshwit.peer.succession.keeping import Keeping
from meshwit.peer.succession.messages import LeaderBeat
from meshwit.peer.succession.store import JobStore
from meshwit.peer.wire.frames import Channel
from meshwit.peer.work.messages import (
    Beat,
    BlobRef,
)
from meshwit.peer.work.route import Route, Way
from meshwit.peer.work.transfer import GoneError, TransferError
from meshwit.peer.work.working import Working
from meshwit.plugins.registry import Registry

HERE: Final = PeerId("here")
"""The id of a peer that is in no mesh."""


class PeerSettings(msgspec.Struct, frozen=True):
    """What the owner of the device decides.

    Attributes:
        workers: worker processes; None for one per usable core.
        roots: folders that activities of own jobs may read and write, where a job names no others.
        blobs: folder of the blob store; None for the user's cache.
        task_time_limit_s: limit for one task where neither script nor activity sets one.
        task_memory_max_bytes: the same for memory; None for nine tenths of the device's.
        idle_s: worker processes end after so long without work.
        properties: the owner's own capabilities, for scripts to require: `site` -> `berlin`.
        functions: packages whose functions tasks may call by name.
        allow_pickle: tasks may bring pickles, which is any code of whoever leads them.
        journal: folder where jobs are kept, so that they outlive this peer; None keeps none.
    """

    workers: int | None = None
    roots: tuple[Path, ...] = ()
    blobs: Path | None = None
    task_time_limit_s: float | None = None
    task_memory_max_bytes: int | None = None
    idle_s: float = 60.0
    properties: dict[str, str] = {}
    functions: tuple[str, ...] = ()
    allow_pickle: bool = False
    journal: Path | None = None


class Engine:
    """See the module; `async with` it.

    Args:
        registry: the controllers.
        settings: what the owner decides.
        me: the id of this peer.
        name: what it is called.

    Attributes:
        leading: the jobs that it leads; from when the engine is entered, as are `capabilities`,
            `kept` and `letters`.
        kept: those of them that outlive it; None where none do.
        letters: what is said of jobs, to this peer and by it.
        passing: what goes to peers of this device without the link.
        misbehaved: told of peers that break the rules.
        dial: seeks a link to a peer that has a blob which is needed here; raises nothing.
    """

    def __init__(self, registry: Registry, settings: PeerSettings, me: PeerId = HERE, name: str = "") -> None:
        self.registry = registry
        self.settings = settings
        self.me = me
        self.name = name or platform.node()
        self.blobs = BlobStore(settings.blobs or user_folder(), USER_BYTES_MAX)
        self.codec = registry.codec(self.blobs.wire_type())
        self.misbehaved: Callable[[PeerId, str], None] = lambda _peer, _why: None
        self.dial: Callable[[PeerId], Awaitable[None]] = _nobody
        sweep(Path(tempfile.gettempdir()))
        self._scratch = tempfile.TemporaryDirectory(prefix=prefix(), ignore_cleanup_errors=True)
        self._pool = WorkerPool(
            settings.workers,
            codec=self.codec,
            codec_factory="meshwit.peer.exec.tasks:make_codec",
            codec_setup=self._worker_setup(),
            idle_s=settings.idle_s,
        )
        self._routes: dict[PeerId, Route] = {}
        self._ways: dict[PeerId, Way] = {}
        self.kept: KeptJobs | None = None
        self.capabilities: dict[str, object] = {}
        """Of this device, from when the engine is entered."""

    def _worker_setup(self) -> dict[str, Any]:
        kinds = self.registry.offer.types.values()
        tags = {kind.wire.tag: self.registry.owners.get(f"type {kind.name}", "") for kind in kinds if kind.wire}
        return {
            "blobs": str(self.blobs.folder),
            "roots": [str(root) for root in self.settings.roots],
            "scratch": self._scratch.name,
            "tags": {tag: owner for tag, owner in tags.items() if owner},
        }

    async def __aenter__(self) -> Engine:
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:  # what was begun is ended, should it be called off half-way
            stack.callback(self._scratch.cleanup)
            await self._enter(stack)
            self._stack = stack.pop_all()
        return self

    async def _enter(self, stack: AsyncExitStack) -> None:
        # A driver may take its time to answer.
        measured = await self._loop.run_in_executor(None, capabilities, self.settings.properties)
        self.capabilities = measured | allowances(self.settings.functions, pickle=self.settings.allow_pickle)
        await stack.enter_async_context(self._pool)
        self.passing = Passing(self.me, self.blobs.folder, self._send_device, self._misbehaved)
        stack.callback(self.passing.close)
        stack.callback(self._close_routes)
        self.letters = Correspondence(self.me, self._send)
        stack.callback(self.letters.close)
        owners = self._owners()
        self._working = self.letters.working = Working(
            self.me, self._pool, self.codec, self.registry, installed(owners), self.fetch, self.say,
            functions=self.settings.functions, pickles=self.settings.allow_pickle, bytes_of=self.blobs.view,
        )  # fmt: skip
        stack.callback(self._working.close)
        if self.settings.journal is not None:
            self.blobs.hold()  # until what kept jobs need is pinned
        self._exchange = BlobService(
            self.blobs,
            self._send_blob,
            self._ways.__contains__,
            self._misbehaved,
            dial=lambda peer: self.dial(peer),
            beside=self.passing.store_of,
        )
        stack.callback(self._exchange.close)
        self.leading = self.letters.leading = Leading(
            self.me, self.name, self.registry, self.codec, self.say, self.fetch, self._working.lanes,
            self.blobs, self._exchange.stored, owners,
        )  # fmt: skip
        stack.callback(self.leading.close)
        speeds = self.leading.speeds
        here = Worker(
            self.me, self.name, self._pool.size, self.capabilities,
            speed_at=lambda activity: speeds.prior(self.me, activity), home=True,
        )  # fmt: skip
        self.leading.worker_changed(here)
        if self.settings.journal is not None:
            self.kept = self.letters.kept = KeptJobs(
                self.me, self.name, self.leading, self.codec, self._compiled, self.fetch, self._defaults,
                self.letters.led_by, self._working.job_over, partial(self._keeping, self.settings.journal),
            )  # fmt: skip
            stack.push_async_callback(self.kept.close)
            await self.kept.keeping.open()

    def _keeping(self, folder: Path, leads: Leads) -> Keeping:
        return Keeping(
            self.me, partial(JobStore, folder), self.codec, self.say, self.fetch, self.linked_peers, leads,
            self._exchange,
        )  # fmt: skip

    def _compiled(self, text: str, filename: str) -> ir.Program:
        return compile_script(text, self.registry.offer, filename)

    def _owners(self) -> dict[str, Owner]:
        versions = controller_versions(self.registry)
        return {name: Owner(one, versions.get(one, "")) for name, one in self.registry.owners.items()}

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _close_routes(self) -> None:
        for route in self._routes.values():
            route.close()

    @property
    def workers(self) -> int:
        """How many worker processes there may be."""
        return self._pool.size

    @property
    def free_slots(self) -> int:
        """Slots that nobody uses."""
        return self._working.host.free_slots

    @property
    def busy_jobs(self) -> int:
        """Jobs that this peer leads or works for."""
        return len({(self.me, job.id) for job in self.leading.jobs} | self._working.host.jobs())

    def warm(self) -> None:
        """Start the worker processes now."""
        self._pool.warm()

    # --- jobs --------------------------------------------------------------------------------------------------

    def start(
        self,
        program: ir.Program,
        job: str,
        arguments: Sequence[Any],
        on_event: OnEvent | None,
        *,
        roots: tuple[Path, ...] | None = None,
        time_limit_s: float | None = None,
        memory_max_bytes: int | None = None,
        safety: Safety = Safety(),  # noqa: B008 - frozen
    ) -> RunningJob:
        """Lead a job; where jobs are kept it outlives this peer, as `safety` says.

        Nothing that is the script's fault is raised: that is in the outcome. Raises CodecError where the job is to be
        kept and its arguments cannot cross.
        """
        self.letters.beat_soon()
        roots = self.settings.roots if roots is None else roots
        if self.kept is not None:
            return self.kept.start(
                program, job, arguments, on_event,
                roots=roots, time_limit_s=time_limit_s, memory_max_bytes=memory_max_bytes, safety=safety,
            )  # fmt: skip
        defaults = self._defaults(time_limit_s, memory_max_bytes)
        return self.leading.start(program, job, arguments, on_event, roots=roots, defaults=defaults)

    def _defaults(self, time_limit_s: float | None, memory_max_bytes: int | None) -> StepSettings:
        return StepSettings(
            timeout_s=time_limit_s or self.settings.task_time_limit_s,
            memory_max_bytes=memory_max_bytes or self.settings.task_memory_max_bytes,
        )

    def open_stream(
        self,
        task: ir.Expression,
        on_outcomes: OnOutcomes,
        *,
        requires: str = "",
        retries: int = 0,
        roots: tuple[Path, ...] | None = None,
        any_function: bool = False,
    ) -> RunningJob:
        """Lead a stream, whose items come by `leading.append`. Raises ValueError for a requirement that is none."""
        settings = stream_settings(activities_in(task), requires, retries, self._defaults(None, None))
        self.letters.beat_soon()
        roots = self.settings.roots if roots is None else roots
        return self.leading.open_stream(task, on_outcomes, settings=settings, roots=roots, any_function=any_function)

    # --- the mesh ----------------------------------------------------------------------------------------------

    def linked(self, peer: PeerId, way: Way) -> None:
        """There is a way to another peer."""
        self.unlinked(peer)
        self._routes[peer] = Route(way, partial(self.passing.place, peer), partial(self.passing.view, peer))
        self._ways[peer] = way
        self.passing.linked(peer)
        self._exchange.link_up(peer)
        self.letters.linked(peer)

    def unlinked(self, peer: PeerId) -> None:
        """The way to a peer has ended: what it ran runs elsewhere, what it led is led by others or ends."""
        route = self._routes.pop(peer, None)
        if route is None:
            return
        route.close()
        del self._ways[peer]
        self.passing.unlinked(peer)
        self._exchange.link_down(peer)
        self.leading.worker_left(peer)
        self._working.leader_left(peer)
        if self.kept is not None:
            self.kept.keeping.unlinked(peer)

    def linked_peers(self) -> list[PeerId]:
        """Those that there is a way to."""
        return list(self._routes)

    def worker_changed(self, worker: Worker) -> None:
        """A peer that is linked offers to work, or other than before."""
        if worker.id in self._routes:
            self.leading.worker_changed(worker)

    def worker_left(self, peer: PeerId) -> None:
        """A peer works no more, though it may be linked."""
        self.leading.worker_left(peer)

    def rest(self, resting: bool) -> None:
        """The owner lets this device work for nobody else; or does again."""
        self._working.rest(resting)

    def job_frame(self, peer: PeerId, frame: bytes) -> None:
        """A frame of Channel.JOB came."""
        route = self._routes.get(peer)
        if route is None:
            return
        self._spoke(peer)
        try:
            parcel = route.receive(frame)
        except TransferError as error:
            self._misbehaved(peer, str(error))
            return
        except GoneError as error:
            self._ways[peer].fail(str(error))
            return
        if parcel is not None:
            self.letters.received(peer, parcel.message, parcel.buffers)

    def blob_frame(self, peer: PeerId, frame: bytes) -> None:
        """A frame of Channel.BLOB came."""
        self._spoke(peer)
        self._exchange.received(peer, frame)

    def _spoke(self, peer: PeerId) -> None:
        if self.kept is not None:
            self.kept.keeping.spoke(peer)

    def device_frame(self, peer: PeerId, frame: bytes) -> None:
        """A frame of Channel.DEVICE came."""
        self.passing.received(peer, frame)

    def _misbehaved(self, peer: PeerId, why: str) -> None:
        self.misbehaved(peer, why)

    def _send_blob(self, peer: PeerId, payload: bytes) -> bool:
        way = self._ways.get(peer)
        return way is not None and way.send(Channel.BLOB, payload)

    def _send_device(self, peer: PeerId, payload: bytes) -> bool:
        way = self._ways.get(peer)
        return way is not None and way.send(Channel.DEVICE, payload)

    def say(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer] = ()) -> None:
        """Say something of a job to a peer, or to this one."""
        self.letters.say(peer, message, buffers)

    def _send(self, peer: PeerId, message: Letter, buffers: Sequence[Buffer]) -> None:
        route = self._routes.get(peer)
        if route is not None:
            if isinstance(message, Beat | LeaderBeat):
                route.send_now(message)
            else:
                route.send(message, buffers)

    async def fetch(self, blobs: Sequence[BlobRef], holders: Sequence[PeerId]) -> str:
        sources = [peer for peer in dict.fromkeys(holders) if peer != self.me]
        try:
            for name, size in blobs:
                try:
                    await self._exchange.fetch(name, size, sources)
                except BlobError:
                    # Who was named may have lost it; standbys, makers and those who ran tasks with it may have it.
                    others = [peer for peer in self._routes if peer not in sources]
                    if not others:
                        raise
                    await self._exchange.fetch(name, size, others)
        except BlobError as error:
            return str(error)
        return ""


async def _nobody(_peer: PeerId) -> None:
    """Dials nobody: a peer that is in no mesh knows where nobody is."""
