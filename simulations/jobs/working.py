"""A simulated peer at work: `peer.work.working` as it is, over worker processes in virtual time, seen from outside."""

from __future__ import annotations

import array
import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from meshwit.codec import Buffer
from meshwit.events import Lane
from meshwit.ids import PeerId
from meshwit.lang.task import load_task
from meshwit.peer.exec.batches import Batch, BatchResults, EncodedItems, OnResults, OnStarted
from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.job.software import installed
from meshwit.peer.letters import Letter
from meshwit.peer.saying import Say
from meshwit.peer.work import effects as do
from meshwit.peer.work.host import TaskHost
from meshwit.peer.work.messages import Open
from meshwit.peer.work.working import Working
from simulations.engine import Simulation
from simulations.jobs.device import Device
from simulations.jobs.lab import (
    CODEC,
    LAB,
    OFFER,
    REGISTRY,
    REGISTRY_WITHOUT,
    function_of,
    is_like,
    otherwise,
    owners_of,
)
from simulations.jobs.pool import VirtualBatch, VirtualPool
from simulations.jobs.surroundings import NoBlobs, Watching

RECALL_S: Final = 0.002
"""It takes to take items back from a worker process."""


class SimulatedPool:
    """What `exec.pool` is for a real peer.

    Attributes:
        processes: that run the tasks.
        opened: what leaders said of the steps that are prepared.
    """

    def __init__(self, device: Device, simulation: Simulation, watch: Watching) -> None:
        self.size = device.slots
        self.on_death: Callable[[int, str, int], None] | None = None
        self.processes = VirtualPool(
            simulation, device.slots, device.speed, self._started, self._begun, self._results
        )  # fmt: skip
        self.opened: dict[int, Open] = {}
        self._me = device.id
        self._is_like = is_like(device.version)
        self._watch = watch
        self._tasks: dict[int, Callable[[Any], Any]] = {}
        self._runs: dict[tuple[int, int], int] = {}
        self._batches: dict[int, tuple[Batch, OnResults, OnStarted | None]] = {}

    def prepare(
        self,
        step_id: int,
        program: Any,
        *,
        timeout_s: float | None = None,
        memory_max_bytes: int | None = None,
        once: bool = False,
    ) -> None:
        """Make a step known."""
        self._tasks[step_id] = load_task(program["task"], program["captured"], OFFER, function_of)

    def release(self, step_id: int) -> None:
        """Forget a step. Raises ValueError if a batch of it has not ended."""
        if any(batch.step_id == step_id for batch, _, _ in self._batches.values()):
            raise ValueError(f"step {step_id} has batches")
        self._forget(step_id)

    def cancel(self, step_id: int) -> None:
        """Drop a step and its batches."""
        for number in [number for number, (batch, _, _) in self._batches.items() if batch.step_id == step_id]:
            del self._batches[number]
        self.processes.cancel(step_id)
        self._forget(step_id)

    def submit(self, batch: Batch, on_results: OnResults, on_started: OnStarted | None = None) -> None:
        """Run a batch. Raises ValueError if its step is not prepared, or its items cannot be read."""
        task, opened = self._tasks.get(batch.step_id), self.opened.get(batch.step_id)
        assert isinstance(batch.items, EncodedItems) and batch.numbers is not None
        if task is None or opened is None:
            raise ValueError(f"step {batch.step_id} is not prepared")
        values = dict(zip(batch.numbers, CODEC.decode(batch.items.header), strict=True))
        self._batches[batch.batch_id] = batch, on_results, on_started

        def run(number: int) -> Any:
            LAB.run = self._runs.pop((batch.batch_id, number), 0)
            try:
                return task(values[number]) if self._is_like else otherwise(task(values[number]))
            except Exception as reason:
                return TaskFailure("raised", "ValueError", str(reason))

        works = [self._watch.work_of(opened.job, opened.path, number) for number in batch.numbers]
        self.processes.submit(VirtualBatch(batch.step_id, batch.batch_id, batch.numbers, works, run))

    async def take_back(self, batch_id: int, numbers: Iterable[int] | None = None) -> list[int]:
        """Items that have not begun, of those."""
        await asyncio.sleep(RECALL_S)
        return self.processes.take_back(batch_id, numbers or ())

    def drop(self, batch_id: int, numbers: Iterable[int]) -> None:
        """Items that nobody wants any more."""
        self.processes.drop(batch_id, numbers)

    def wants_more(self) -> int:
        """How many more batches would run or be prefetched at once."""
        return self.processes.wants_more()

    def warm(self) -> None:
        """Virtual processes need no start."""

    def lanes(self, activity_of: Callable[[int], str]) -> list[Lane]:
        """Nobody looks."""
        return []

    # --- what the processes say --------------------------------------------------------------------------------------

    def _started(self, number: int) -> None:
        on_started = self._batches[number][2]
        if on_started is not None:
            on_started(number)

    def _begun(self, batch: VirtualBatch, number: int) -> None:
        self._runs[batch.number, number] = self._watch.begun(self._me, self.opened[batch.step], number)

    def _results(self, batch: VirtualBatch, found: list[tuple[int, Any, float]], over: bool) -> None:
        known = self._batches.pop(batch.number, None) if over else self._batches.get(batch.number)
        if known is None:
            return
        failures = {number: value for number, value, _ in found if isinstance(value, TaskFailure)}
        values = [None if number in failures else value for number, value, _ in found]
        encoded: tuple[bytes, list[Buffer]] | None = None
        if len(failures) < len(found):
            encoded = (CODEC.encode_with_blobs(values)[0], [])
        seconds = array.array("f", [took for _, _, took in found])
        numbers = [number for number, _, _ in found]
        known[1](BatchResults(batch.number, numbers, failures, {}, seconds, 0, over, CODEC, encoded))

    def _forget(self, step_id: int) -> None:
        self._tasks.pop(step_id, None)
        self.opened.pop(step_id, None)


class WatchedHost(TaskHost):
    """What it does when leaders come is seen."""

    def __init__(self, me: PeerId, slots: int, watch: Watching) -> None:
        super().__init__(me, slots)
        self._watch = watch

    def open(self, leader: PeerId, opened: Open, buffers: Sequence[Buffer], now: float) -> list[do.Effect]:
        effects = super().open(leader, opened, buffers, now)
        self._watch.opened(self.me, leader, opened, effects)
        return effects

    def took_over(self, job: str, epoch: int, rank: int, leader: PeerId, now: float) -> list[do.Effect]:
        self._watch.obeyed(self.me, job, (epoch, rank, leader))
        return super().took_over(job, epoch, rank, leader, now)


class WatchedWorking(Working):
    """See the module. To be made on the running loop of the device."""

    def __init__(self, device: Device, pool: SimulatedPool, say: Say[Letter], watch: Watching) -> None:
        registry, none = REGISTRY if device.lab else REGISTRY_WITHOUT, NoBlobs()
        software = installed(owners_of(device.version))
        super().__init__(device.id, pool, CODEC, registry, software, none.fetch, say, bytes_of=none.view)
        self.host = WatchedHost(device.id, pool.size, watch)
        self._opened = pool.opened

    def _prepare(self, effect: do.Prepare) -> None:
        self._opened[effect.number] = effect.opened
        super()._prepare(effect)
