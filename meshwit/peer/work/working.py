"""A peer at work: performs what its `TaskHost` decides, with worker processes and blobs. Shell.

Nothing that a leader sends chooses what is imported: a step names activities, and this peer's own registry says which
controller brings them. Activities that touch the files of a device run for its own jobs alone.
"""

from __future__ import annotations

import array
import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, assert_never

from meshwit.codec import Buffer, Codec, CodecError
from meshwit.events import Lane
from meshwit.ids import PeerId
from meshwit.peer.exec.batches import Batch, BatchResults, EncodedItems, OnResults, OnStarted
from meshwit.peer.job.software import unlike
from meshwit.peer.saying import Say
from meshwit.peer.work import effects as do
from meshwit.peer.work.host import TaskHost
from meshwit.peer.work.messages import (
    AskBack,
    Assigned,
    Beat,
    BlobRef,
    Close,
    Died,
    Done,
    Durable,
    JobMessage,
    Open,
    ToPeer,
    Unwanted,
    span,
)
from meshwit.plugins.registry import Registry

Fetch = Callable[[Sequence[BlobRef], Sequence[PeerId]], Awaitable[str]]
"""Brings blobs here from those who have them; why that failed, empty if it did not."""


WARM_AFTER_S = 0.1
"""After worker processes were killed, until they are started anew: by then they are gone."""


class Pool(Protocol):
    """Worker processes, as `exec.pool` has them: its methods say what each is to do."""

    on_death: Callable[[int, str, int], None] | None

    @property
    def size(self) -> int: ...
    def prepare(
        self,
        step_id: int,
        program: object,
        *,
        timeout_s: float | None = None,
        memory_max_bytes: int | None = None,
        once: bool = False,
    ) -> None: ...
    def release(self, step_id: int) -> None: ...
    def cancel(self, step_id: int) -> None: ...
    def submit(self, batch: Batch, on_results: OnResults, on_started: OnStarted | None = None) -> None: ...
    async def take_back(self, batch_id: int, numbers: Iterable[int] | None = None) -> list[int]: ...
    def drop(self, batch_id: int, numbers: Iterable[int]) -> None: ...
    def wants_more(self) -> int: ...
    def warm(self) -> None: ...
    def lanes(self, activity_of: Callable[[int], str]) -> list[Lane]: ...


class RefusedError(Exception):
    """A step cannot run here, and why."""


class Working:
    """See the module.

    Args:
        me: this peer.
        pool: runs the tasks; entered and left by its owner.
        codec: knows all types of the registry.
        software: versions of the packages that the registry's controllers come from.
        functions: packages whose functions tasks may call by name.
        pickles: tasks may bring pickles, which is any code.
        bytes_of: the bytes of a blob that is here. Raises OSError.
    """

    def __init__(
        self,
        me: PeerId,
        pool: Pool,
        codec: Codec,
        registry: Registry,
        software: Mapping[str, str],
        fetch: Fetch,
        say: Say[JobMessage],
        *,
        functions: Sequence[str] = (),
        pickles: bool = False,
        bytes_of: Callable[[str], Buffer],
    ) -> None:
        self.host = TaskHost(me, pool.size)
        self._me = me
        self._pool = pool
        self._codec = codec
        self._registry = registry
        self._software = software
        self._functions = list(functions)
        self._pickles = pickles
        self._bytes_of = bytes_of
        self._fetch = fetch
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._left: dict[int, int] = {}
        self._step_of: dict[int, int] = {}
        self._activities: dict[int, str] = {}
        self._unprepared: dict[int, do.Prepare] = {}
        self._recalls: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._warming: asyncio.TimerHandle | None = None
        pool.on_death = self._worker_died

    # --- what comes --------------------------------------------------------------------------------------------

    def received(self, leader: PeerId, message: ToPeer, buffers: Sequence[Buffer]) -> None:
        """A leader said something."""
        now = self._loop.time()
        match message:
            case Open():
                self._perform(self.host.open(leader, message, buffers, now))
            case Assigned():
                self._perform(self.host.assigned(leader, message, buffers, now))
            case AskBack():
                self._perform(self.host.ask_back(leader, message))
            case Unwanted():
                self._perform(self.host.unwanted(leader, message))
            case Close():
                self._perform(self.host.close(leader, message, now))
            case Durable():
                self._perform(self.host.durable(leader, message))
            case _:
                assert_never(message)
        self.feed()

    def leader_left(self, leader: PeerId) -> None:
        """A leader is gone."""
        self._perform(self.host.leader_left(leader, self._loop.time()))
        self.feed()

    def took_over(self, job: str, epoch: int, rank: int, leader: PeerId) -> None:
        """A peer has taken a job over: it hears what is here of it, and may go on with it."""
        self._perform(self.host.took_over(job, epoch, rank, leader, self._loop.time()))
        self.feed()

    def resend(self, job: str, leader: PeerId, epoch: int) -> None:
        """The leader of a job is back, and wants to hear what is here of it."""
        self._perform(self.host.resend(job, leader, epoch, self._loop.time()))
        self.feed()

    def job_over(self, job: str) -> None:
        """A job has its outcome."""
        self._perform(self.host.job_over(job, self._loop.time()))
        self.feed()

    def rest(self, resting: bool) -> None:
        """Work for nobody else; or do again."""
        self._perform(self.host.rest(resting, self._loop.time()))
        self.feed()

    def beat(self) -> None:
        """Tell leaders that this peer lives; share slots out anew where they are few."""
        for leader in self.host.leaders():
            self._say(leader, Beat())
        self._perform(self.host.tick(self._loop.time()))
        self.feed()

    def feed(self) -> None:
        """Fill the pool."""
        room = self._pool.wants_more()
        if room > 0:
            self._perform(self.host.next_batches(room))

    def lanes(self) -> list[Lane]:
        """What each worker process does."""
        return self._pool.lanes(lambda step: self._activities.get(step, ""))

    def close(self) -> None:
        """Stop fetching."""
        if self._warming is not None:
            self._warming.cancel()
        for task in self._tasks:
            task.cancel()

    # --- performing --------------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[do.Effect]) -> None:
        for effect in effects:
            match effect:
                case do.Say(leader=leader, message=message, buffers=buffers):
                    self._say(leader, message, buffers)
                case do.Prepare(number=number, opened=opened):
                    if opened.shared:
                        self._unprepared[number] = effect
                    else:
                        self._prepare(effect)
                case do.Submit():
                    self._submit(effect)
                case do.Fetch():
                    self._spawn(self._fetch_blobs(effect))
                case do.Recall():
                    self._recall(effect)
                case do.Forget(number=number, items=items):
                    self._pool.drop(number, items)
                case do.End(number=number, cancel=cancel, replace=replace):
                    self._end(number, cancel=cancel)
                    if replace:
                        self._warm_soon()
                case _:
                    assert_never(effect)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _prepare(self, effect: do.Prepare) -> None:
        opened = effect.opened
        try:
            program = self._program(effect)
            self._pool.prepare(
                effect.number,
                program,
                timeout_s=opened.timeout_s,
                memory_max_bytes=opened.memory_max_bytes,
                once=opened.once,
            )
        except (RefusedError, CodecError, OSError) as reason:
            self._loop.call_soon(self._refuse, effect.number, str(reason))

    def _program(self, effect: do.Prepare) -> dict[str, Any]:
        """What a worker process needs. Raises RefusedError and CodecError."""
        if why := unlike(self._software, effect.opened.software):
            raise RefusedError(why)
        told = self._codec.decode(effect.opened.header, self._buffers(effect))
        if not isinstance(told, dict) or not isinstance(told.get("captured"), list):
            raise RefusedError("what was sent is no step")
        own = effect.leader == self._me
        offer, owners = self._registry.offer, self._registry.owners
        controllers = {owners["type Int"]: None}
        calls, types = _named_in(told.get("task"))
        for name, form in calls:
            activity = offer.activities.get(name)
            if activity is None or not 0 <= form < len(activity.forms):
                raise RefusedError(f"has no activity {name[:80]}")
            if activity.missing:
                raise RefusedError(f"{name} needs something that is not installed: {activity.missing}")
            if activity.control or (activity.local and not own):
                raise RefusedError(f"{name} runs on the device that leads a job alone")
            self._activities.setdefault(effect.number, name)
            controllers[owners[activity.name]] = None
            known = activity.forms[form]
            types |= {*(parameter.type for parameter in known.parameters), known.returns or "Object"}
        for kind in sorted(types):
            owner = owners.get(f"type {kind}") or owners.get(f"type {kind.removesuffix('Collection')}")
            if owner is not None:
                controllers[owner] = None
        any_function = own and effect.opened.any_function
        return {
            "controllers": list(controllers),
            "task": told["task"],
            "captured": told["captured"],
            "roots": effect.opened.roots if own else [],
            "functions": None if any_function else self._functions,
            "pickles": any_function or self._pickles,
        }

    def _buffers(self, effect: do.Prepare) -> list[Buffer]:
        """All buffers of a step, those that are shared read from where they lie. Raises RefusedError and OSError."""
        shared = effect.opened.shared
        count = len(shared) + len(effect.buffers)
        if any(not 0 <= place < count for place in shared):
            raise RefusedError("what was sent is no step")
        rest = iter(effect.buffers)
        return [self._bytes_of(shared[place][0]) if place in shared else next(rest) for place in range(count)]

    def _refuse(self, number: int, why: str) -> None:
        self._perform(self.host.refuse(number, why, self._loop.time()))

    def _submit(self, effect: do.Submit) -> None:
        waited = self._unprepared.pop(effect.step, None)
        if waited is not None:
            self._prepare(waited)
        numbers = effect.batch.items.numbers
        self._left[effect.number] = len(numbers)
        self._step_of[effect.number] = effect.step
        items = EncodedItems(effect.batch.header, effect.buffers, len(numbers))
        batch = Batch(effect.step, effect.number, items, numbers)
        try:
            self._pool.submit(batch, self._results, self._begun)
        except ValueError as reason:  # a step that the pool did not take
            self._forget(effect.number)
            self._loop.call_soon(self._refuse, effect.step, str(reason))

    def _begun(self, number: int) -> None:
        self._perform(self.host.begun(number))

    def _results(self, results: BatchResults) -> None:
        unstartable = [each for each in results.failures.values() if each.kind == "unstartable"]
        if unstartable:
            # That is this device's fault and no item's: others may have none.
            cause = unstartable[0].traceback.strip().rpartition("\n")[2]
            step = self.host.number_of(results.batch_id)
            self._refuse(step, ": ".join(filter(None, [unstartable[0].message, cause])))
        elif results.numbers:
            header, buffers = results.encoded or (b"", [])
            done = Done(
                0,
                span(results.numbers),
                header,
                array.array("f", results.seconds).tobytes(),
                results.worker,
                results.failures,
                {number: text[-2000:] for number, text in results.outputs.items()},
                list(results.blobs),
            )
            self._perform(self.host.done(results.batch_id, done, buffers))
        self._ended(results.batch_id, len(results.numbers), over=results.finished)
        self.feed()

    def _ended(self, number: int, count: int, *, over: bool = False) -> None:
        left = self._left.get(number, 0) - count
        if over or left <= 0:
            self._forget(number)
            self.host.batch_ended(number, self._loop.time())
        else:
            self._left[number] = left

    def _recall(self, effect: do.Recall) -> None:
        """One after another: a leader may ask twice in a row."""
        task = self._spawn(self._taken_back(effect, self._recalls.get(effect.step)))
        self._recalls[effect.step] = task
        task.add_done_callback(partial(self._recalled, effect.step))

    def _recalled(self, step: int, task: asyncio.Task[None]) -> None:
        if self._recalls.get(step) is task:
            del self._recalls[step]

    async def _taken_back(self, effect: do.Recall, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        back = list(effect.queued)
        wanted = set(effect.items)
        for number in effect.batches if wanted else ():
            if number in self._left:
                taken = await self._pool.take_back(number, wanted)
                self.host.taken_back(number, taken)
                self._ended(number, len(taken))
                back += taken
        self._perform(self.host.recalled(effect.step, back, self._loop.time()))
        self.feed()

    async def _fetch_blobs(self, effect: do.Fetch) -> None:
        why = await self._fetch(effect.blobs, effect.holders)
        self._perform(self.host.fetched(effect.key, why, self._loop.time()))
        self.feed()

    def _forget(self, batch: int) -> None:
        self._left.pop(batch, None)
        self._step_of.pop(batch, None)

    def _end(self, number: int, *, cancel: bool) -> None:
        self._activities.pop(number, None)
        for batch in [batch for batch, step in self._step_of.items() if step == number]:
            self._forget(batch)  # the pool says nothing more of it
        if self._unprepared.pop(number, None) is not None:
            return
        if cancel:
            self._pool.cancel(number)
        else:
            # The pool closes the last batch only after it has delivered it.
            self._loop.call_soon(partial(_release, self._pool, number))

    def _warm_soon(self) -> None:
        if self._warming is None:
            self._warming = self._loop.call_later(WARM_AFTER_S, self._warm)

    def _warm(self) -> None:
        self._warming = None
        self._pool.warm()

    def _worker_died(self, worker: int, cause: str, step: int) -> None:
        owner = self.host.step_of(step)
        if owner is not None:
            leader, number = owner
            self._say(leader, Died(number, worker, cause))


def _release(pool: Pool, number: int) -> None:
    try:
        pool.release(number)
    except ValueError:
        pool.cancel(number)  # a batch of it was never finished


def _named_in(packed: object) -> tuple[list[tuple[str, int]], set[str]]:
    """The activities and forms that a packed task calls, and the types that it names. Raises RefusedError.

    Knows the very shapes that `lang.task` reads, and refuses all others: what it passed over, a worker might run.
    """
    calls: list[tuple[str, int]] = []
    types: set[str] = set()
    pending = [packed]
    while pending:
        node = pending.pop()
        named: tuple[object, ...] = ()
        match node if isinstance(node, list | tuple) else None:
            case ["constant", _, kind] | ["load", _, kind, _]:
                named = (kind,)
            case ["convert", inner, kind]:
                pending.append(inner)
                named = (kind,)
            case ["member", inner, _, of, kind]:
                pending.append(inner)
                named = (of, kind)
            case ["operate", _, left, right, kind, sides]:
                pending += [right] if left is None else [left, right]
                named = (kind, *(sides if isinstance(sides, list | tuple) else ()))
            case ["logic", _, left, right]:
                pending += [left, right]
            case ["item", left, right, of, kind]:
                pending += [left, right]
                named = (of, kind)
            case ["array", list(parts), kind]:
                pending += parts
                named = (kind,)
            case ["invoke", str(name), int(form), list(parts), kind]:
                calls.append((name, form))
                pending += parts
                named = (kind,)
            case _:
                raise RefusedError("what was sent is no task")
        types.update(each for each in named if isinstance(each, str))
    return calls, types
