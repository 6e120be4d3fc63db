"""The asyncio loop of one simulated process: what its shells await and plan happens on the event heap, by its clock.

So shells run as they are, and stand still, leap and end with their process. There are no sockets in it; a thread that
is handed work (`run_in_executor`) is one that does it after so long, in order.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeVar, TypeVarTuple

from simulations.jobs.clock import Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Context = contextvars.Context | None
LAST_TURNS_MAX: Final = 64
"""For what is called off at the end to end: what it begins meanwhile is called off too."""


class Running:
    """A loop is the running one; may be nested."""

    __slots__ = ("_before", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._before: list[asyncio.AbstractEventLoop | None] = []

    def __enter__(self) -> None:
        self._before.append(asyncio._get_running_loop())
        asyncio._set_running_loop(self._loop)

    def __exit__(self, *error: object) -> None:
        asyncio._set_running_loop(self._before.pop())


class DeviceLoop(asyncio.AbstractEventLoop):
    """See the module. What a callback or a task raises ends the run.

    Args:
        thread_s: how long from now until work that is handed to a thread now is done.
    """

    def __init__(self, clock: Clock, thread_s: Callable[[], float]) -> None:
        self._clock = clock
        self._thread_s = thread_s
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._alarm = clock.alarm(self._wake)
        self._starting = False
        self._running = Running(self)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        clock.simulation.at_end(self._end)

    def running(self) -> Running:
        """While something happens that may ask for the running loop: `with` it."""
        return self._running

    def start(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end in no time: what a process does before anybody can reach it."""
        task = self.create_task(work)
        self._starting = True
        try:
            while not task.done():
                if not self._ready:
                    raise RuntimeError(f"{work!r} waits for what takes time")
                self._turn()
        finally:
            self._starting = False
        if self._ready:
            self._clock.soon(self._turn)
        return task.result()

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds, by the clock of the process."""
        return self._clock.now

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: _Context = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._ready and not self._starting:
            self._clock.soon(self._turn)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: _Context = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: _Context = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        if self._alarm.due is None or when < self._alarm.due:
            self._alarm.set(when)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: _Context = None,
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        done: asyncio.Future[T] = asyncio.Future(loop=self)
        if self._starting:
            _do(done, func, args)
        else:
            self._clock.later(self._thread_s(), _do, done, func, args)
        return done

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return not self._clock.lives

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What a callback raised, or a task that nobody asked. A process that was killed leaves tasks: no error."""
        if isinstance(context.get("exception"), BaseException):
            simulation = self._clock.simulation
            simulation.at(simulation.now, _raise, context["exception"])

    def _end(self) -> None:
        """What still waits will wait for ever: it is called off here, not when its memory is given back."""
        self._starting = True  # in no time
        for _ in range(LAST_TURNS_MAX):
            for task in list(self._tasks):
                task.cancel()
            if not self._ready:
                break
            self._turn()
        self._timers.clear()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        ready, self._ready = self._ready, deque()
        with self.running():
            for handle in ready:
                if not handle.cancelled():
                    handle._run()

    def _wake(self, _late: float) -> None:
        now = self.time()
        with self.running():
            while self._timers and (self._timers[0][0] <= now or self._timers[0][2].cancelled()):
                handle = heapq.heappop(self._timers)[2]
                if not handle.cancelled():
                    handle._run()
        self._alarm.set(self._timers[0][0] if self._timers else None)


def _do(done: asyncio.Future[T], func: Callable[[*Ts], T], args: tuple[*Ts]) -> None:
    try:
        result = func(*args)
    except Exception as reason:  # it belongs to whoever waits
        if not done.done():
            done.set_exception(reason)
        return
    if not done.done():
        done.set_result(result)


def _raise(problem: BaseException) -> None:
    raise problem
