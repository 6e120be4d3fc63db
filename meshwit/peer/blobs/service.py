"""The shell of the exchange of blobs: fetches for the own device, gives to others, on an asyncio loop.

One funnel, `_perform`. Files are read, hashed and written on a small pool of threads; the loop only passes on what is
ready. What a link does not take is offered again for two seconds, then refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, assert_never

from meshwit.ids import PeerId
from meshwit.peer.blobs.effects import (
    CheckWhole,
    DropPart,
    Effect,
    Fetched,
    FetchFailed,
    GiveChunk,
    Given,
    KeepChunk,
    KeepManifest,
    Kept,
    LookUp,
    Misbehaved,
    Send,
)
from meshwit.peer.blobs.exchange import TICK_S, Exchange
from meshwit.peer.blobs.manifest import Manifest
from meshwit.peer.blobs.messages import Chunk, encode
from meshwit.peer.blobs.part import PartFile, manifest_of_file, read_chunk
from meshwit.peer.blobs.settings import BlobSettings
from meshwit.peer.blobs.store import BlobStore

THREADS: Final = 3
"""For files and hashes: one that hashes a large file leaves two for chunks."""
SEND_AGAIN_S: Final = 0.05
SEND_TRIES_MAX: Final = 40
EVICT_EVERY_S: Final = 10.0
DIALS_MAX: Final = 3
"""Peers dialled at the same time because they have a blob."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


class BlobError(OSError):
    """A blob is not to be had; says why, for people."""


class BlobService:
    """Blobs of the mesh for one peer. To be made on the running loop.

    Args:
        store: where blobs are, and come.
        send: one frame to a peer; False where the link's queue is full, or there is no link.
        linked: whether there is a link to a peer now.
        misbehaved: told who broke the rules, and how.
        dial: seeks a link to a peer that has a blob; None where nobody can be dialled.
        beside: the folder of a peer's store, where that peer has proved to be of this device and user.
    """

    def __init__(
        self,
        store: BlobStore,
        send: Callable[[PeerId, bytes], bool],
        linked: Callable[[PeerId], bool],
        misbehaved: Callable[[PeerId, str], None],
        settings: BlobSettings = BlobSettings(),  # noqa: B008 - frozen
        chance: random.Random | None = None,
        dial: Callable[[PeerId], Awaitable[None]] | None = None,
        beside: Callable[[PeerId], Path | None] = lambda _: None,
    ) -> None:
        self.store = store
        self._send = send
        self._linked = linked
        self._misbehaved = misbehaved
        self._dial = dial
        self._beside = beside
        self._dialling: set[PeerId] = set()
        self._loop = asyncio.get_running_loop()
        self._core = Exchange(chance or random.Random(), linked, settings)
        self._pool = ThreadPoolExecutor(THREADS, "blobs")
        self._slots = asyncio.Semaphore(settings.fetches_max)
        self._fetches: dict[str, asyncio.Task[Path]] = {}
        self._sources: dict[str, list[PeerId]] = {}
        self._waiters: dict[str, int] = {}
        self._results: dict[bytes, asyncio.Future[None]] = {}
        self._files: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._evict_timer: asyncio.TimerHandle | None = None
        self._evicted_at = -EVICT_EVERY_S
        self._closed = False
        self._evict_soon()

    # --- fetching --------------------------------------------------------------------------------------------------

    async def fetch(self, hash: str, size: int, sources: Sequence[PeerId]) -> Path:
        """The file of a blob, fetched from these peers and from whoever else fetches it, if it is not here.

        Several calls share one fetch, which ends when the last of them is cancelled. Raises BlobError.
        """
        if self._closed or not _HASH.fullmatch(hash):
            raise BlobError(f"{hash[:80]!r} is no hash of a blob" if not self._closed else "the peer is closing")
        task = self._fetches.get(hash)
        if task is None:
            self._sources[hash] = list(dict.fromkeys(sources))
            task = self._fetches[hash] = self._loop.create_task(self._fetch(hash, size))
            task.add_done_callback(lambda _: self._fetch_over(hash))
        else:
            self.add_sources(hash, sources)
        self._waiters[hash] = self._waiters.get(hash, 0) + 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and self._closed:
                raise BlobError("the peer is closing") from None
            raise
        finally:
            self._waiters[hash] -= 1
            if not self._waiters[hash]:
                del self._waiters[hash]
                task.cancel()

    def add_sources(self, hash: str, sources: Sequence[PeerId]) -> None:
        """More peers that have a blob that is being fetched."""
        known = self._sources.get(hash)
        if known is not None:
            known.extend(peer for peer in sources if peer not in known)
            self._perform(self._core.add_sources(bytes.fromhex(hash), sources, self._loop.time()))
            self._seek(sources)

    def stored(self) -> None:
        """Something was put into the store: it may hold too much now."""
        self._evict_soon()

    def pin(self, hash: str) -> None:
        """A blob is needed: not evicted until as many `unpin`."""
        self.store.pin(hash)

    def unpin(self, hash: str) -> None:
        """Takes one `pin` back."""
        self.store.unpin(hash)

    def let_go(self) -> None:
        """All that is needed is pinned."""
        self.store.let_go()
        self._evict_soon()

    async def _fetch(self, hash: str, size: int) -> Path:
        raw = bytes.fromhex(hash)
        self.store.pin(hash)
        try:
            path = await self._in_pool(self.store.find, hash, size)
            if path is not None:
                return path
            async with self._slots:
                path = await self._adopted(hash, size)
                if path is not None:
                    self._evict_soon()
                    return path
                part = await self._in_pool(PartFile(self.store, hash).load)
                result = self._results[raw] = self._loop.create_future()
                self._seek(self._sources[hash])
                try:
                    self._perform(self._core.fetch(raw, size, self._sources[hash], self._loop.time(), part))
                    await result
                except BlobError:
                    path = await self._in_pool(self.store.find, hash, size)
                    if path is not None:  # another process of this device was faster
                        return path
                    raise
                finally:
                    self._results.pop(raw, None)
                    self._core.cancel(raw)
            path = await self._in_pool(self.store.find, hash, size)
            if path is None:
                raise BlobError(f"the blob {hash[:10]} was fetched, and is gone from this device's disk")
            self._evict_soon()
            return path
        finally:
            self.store.unpin(hash)

    async def _adopted(self, hash: str, size: int) -> Path | None:
        """The file of a blob that lies in the store of a source on this device, now in this one too."""
        folders = dict.fromkeys(self._beside(peer) for peer in self._sources[hash])
        for folder in folders:
            if folder is not None and folder != self.store.folder:
                path = await self._in_pool(self.store.adopt, folder, hash, size)
                if path is not None:
                    return path
        return None

    def _seek(self, sources: Sequence[PeerId]) -> None:
        """Dial some of those that have what is wanted and are not linked; those that are give meanwhile."""
        if self._dial is None or self._closed:
            return
        for peer in sources:
            if len(self._dialling) >= DIALS_MAX:
                break
            if peer not in self._dialling and not self._linked(peer):
                self._dialling.add(peer)
                self._start(self._dialled(peer, self._dial))

    async def _dialled(self, peer: PeerId, dial: Callable[[PeerId], Awaitable[None]]) -> None:
        try:
            await dial(peer)
        finally:
            self._dialling.discard(peer)

    def _fetch_over(self, hash: str) -> None:
        task = self._fetches.pop(hash)
        self._sources.pop(hash, None)
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be waiting any more

    def _evict_soon(self) -> None:
        if self.store.bytes_max is None or self._evict_timer is not None or self._closed:
            return
        wait_s = max(0.0, self._evicted_at + EVICT_EVERY_S - self._loop.time())
        self._evict_timer = self._loop.call_later(wait_s, self._evict)

    def _evict(self) -> None:
        self._evict_timer = None
        self._evicted_at = self._loop.time()
        self._start(self._in_pool(self.store.evict))

    # --- what comes in ---------------------------------------------------------------------------------------------

    def received(self, peer: PeerId, payload: bytes | bytearray | memoryview) -> None:
        """One frame of the channel of blobs."""
        if not self._closed:
            self._perform(self._core.receive(peer, payload, self._loop.time()))

    def link_up(self, peer: PeerId) -> None:
        """A link is there; fetches that wait for that peer need not wait for their next try."""
        if not self._closed:
            self._perform(self._core.link_up(peer, self._loop.time()))

    def link_down(self, peer: PeerId) -> None:
        """A link has ended."""
        if not self._closed:
            self._perform(self._core.link_down(peer, self._loop.time()))

    def close(self) -> None:
        """Stops; fetches fail, what they have stays for a later attempt."""
        self._closed = True
        for timer in (self._timer, self._evict_timer):
            if timer is not None:
                timer.cancel()
        for task in [*self._tasks, *self._fetches.values()]:
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- performing ------------------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(peer, message):
                    self._send_once(peer, encode(message))
                case GiveChunk(peer, hash, index):
                    self._start(self._give(peer, hash, index))
                case LookUp(hash):
                    self._start(self._look_up(hash))
                case KeepManifest(hash, size, hashes):
                    self._on_part(hash, self._begin(hash, Manifest(size, hashes)))
                case KeepChunk(hash, index, data, digest):
                    self._on_part(hash, self._keep(hash, index, data, digest))
                case CheckWhole(hash):
                    self._on_part(hash, self._check(hash))
                case DropPart(hash):
                    self._on_part(hash, self._in_pool(PartFile(self.store, hash.hex()).drop))
                case Fetched(hash):
                    self._resolve(hash, None)
                case FetchFailed(hash, why):
                    self._resolve(hash, why)
                case Misbehaved(peer, why):
                    self._misbehaved(peer, why)
                case _:
                    assert_never(effect)
        if self._timer is None and not self._core.idle and not self._closed:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._perform(self._core.tick(self._loop.time()))

    def _resolve(self, hash: bytes, why: str | None) -> None:
        result = self._results.get(hash)
        if result is not None and not result.done():
            if why is None:
                result.set_result(None)
            else:
                result.set_exception(BlobError(why))

    def _send_once(self, peer: PeerId, payload: bytes) -> None:
        """Small messages are lost where a link is full: whoever waits for them asks again."""
        if self._linked(peer):
            self._send(peer, payload)

    async def _give(self, peer: PeerId, hash: bytes, index: int) -> None:
        data = await self._in_pool(read_chunk, self.store, hash.hex(), index)
        given = Given.GONE
        if data is not None:
            payload = encode(Chunk(hash, index, data))
            given = Given.CLOGGED
            for _ in range(SEND_TRIES_MAX):
                if not self._linked(peer):
                    break
                if self._send(peer, payload):
                    given = Given.GIVEN
                    break
                await asyncio.sleep(SEND_AGAIN_S)
        self._perform(self._core.chunk_given(peer, hash, index, given, self._loop.time()))

    async def _look_up(self, hash: bytes) -> None:
        manifest = await self._in_pool(_manifest, self.store, hash.hex())
        self._perform(self._core.looked_up(hash, manifest, self._loop.time()))

    async def _begin(self, hash: bytes, manifest: Manifest) -> None:
        try:
            await self._in_pool(PartFile(self.store, hash.hex()).begin, manifest)
        except OSError as reason:
            self._core.cancel(hash)
            self._resolve(hash, f"this device's disk did not take the blob {hash.hex()[:10]}: {reason}")

    async def _keep(self, hash: bytes, index: int, data: bytes, digest: bytes) -> None:
        kept: Kept = await self._in_pool(PartFile(self.store, hash.hex()).keep, index, data, digest)
        self._perform(self._core.chunk_kept(hash, index, kept, self._loop.time()))

    async def _check(self, hash: bytes) -> None:
        part = PartFile(self.store, hash.hex())
        right: bool | None = None
        bad: list[int] = []
        with contextlib.suppress(OSError):
            right = await self._in_pool(part.finish)
        if right is False:
            bad = await self._in_pool(part.bad)
        self._perform(self._core.whole_checked(hash, right, self._loop.time(), bad))

    # --- threads ---------------------------------------------------------------------------------------------------

    async def _in_pool(self, function: Callable[..., T], *arguments: Any) -> T:
        return await self._loop.run_in_executor(self._pool, function, *arguments)

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_part(self, hash: bytes, work: Coroutine[Any, Any, None]) -> None:
        """What is done to one partial file is done in order."""
        before = self._files.get(hash)

        async def after() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work

        task = self._files[hash] = self._loop.create_task(after())
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            if self._files.get(hash) is task:
                del self._files[hash]
            work.close()

        task.add_done_callback(over)


def _manifest(store: BlobStore, hash: str) -> Manifest | None:
    path = store.find(hash)
    if path is None:
        return None
    try:
        return manifest_of_file(path)
    except (OSError, ValueError):
        return None
