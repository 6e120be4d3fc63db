"""Streams: an open-ended number of items, the same call for each, and a future for each outcome.

A stream sends no more items than keep the peers busy; the others wait here, where they can still be cancelled. How many
that are follows what comes back: the window doubles while items return within `EARLY_S` of being sent, and halves where
they take longer than `LATE_S`. Where the items go is for subclasses to know: to a peer in this process, or to the one
that runs on this device.
"""

from __future__ import annotations

import abc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, NamedTuple

from meshwit.peer.job.steps import TaskFault

WINDOW_MAX: Final = 4096
WINDOW_PER_SLOT: Final = 4
EARLY_S: Final = 0.2
LATE_S: Final = 2.0
WAIT_SLICE_S: Final = 0.5
"""On Windows a wait without an end cannot be interrupted from the keyboard."""


class TaskError(Exception):
    """A task has no value.

    Attributes:
        message: why.
        traceback: its last lines where it ran; may be empty.
        kind: `raised` by the activity, `killed`, over its `timeout` or `memory`, `unencodable` and so on.
        peer: the name of the peer where it ran.
    """

    def __init__(self, message: str, traceback: str = "", kind: str = "raised", peer: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback
        self.kind = kind
        self.peer = peer

    def __str__(self) -> str:
        return f"{self.message}\n{self.traceback}".rstrip()


class StreamEndedError(Exception):
    """The stream has ended before the task did: cancelled, or nobody runs it any more."""


class Entry(NamedTuple):
    """An item and its future; `sent` is when it left."""

    future: Future[Any]
    item: Any
    sent: float = 0.0


class Stream(abc.ABC):
    """See the module. Every method may be called from any thread; use it as a block, or `close` it.

    Leaving the block waits for all outcomes; if it is left by an exception, the stream is cancelled instead.
    """

    def __init__(self, slots: int) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._flying: dict[int, Entry] = {}
        self._taken = 0
        """Items on their way into `_flying`."""
        self._next = 0
        self.convert: Callable[[Any], Any] = lambda value: value
        """Makes the result of a future from a value that came, or raises what the future is to raise."""
        self.hint = ""
        """For whoever asks why the stream has ended without an outcome."""
        self._window = self._window_min = max(1, slots) * WINDOW_PER_SLOT
        self._closed = False
        self._cancelled = False
        self._woken = False
        self._over: Exception | None = None
        self._done = threading.Event()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.cancel()
        self.wait()

    def submit(self, item: Any) -> Future[Any]:
        """Have the call made with an item. Raises RuntimeError if the stream is closed or has ended."""
        return self.submit_many([item])[0]

    def submit_many(self, items: Iterable[Any]) -> list[Future[Any]]:
        """The same for many at once, which costs little more than one. Raises RuntimeError."""
        entries = [Entry(Future(), item) for item in items]
        with self._lock:
            if self._closed:
                raise RuntimeError("the stream is closed")
            if self._over is not None:
                raise RuntimeError(f"the stream has ended: {self._over}")
            self._waiting += entries
        self._want()
        return [entry.future for entry in entries]

    @property
    def pending(self) -> int:
        """Items without an outcome."""
        with self._lock:
            return len(self._waiting) + self._taken + len(self._flying)

    @property
    def slots(self) -> int:
        """Tasks that can run at the same time, as far as is known."""
        return self._window_min // WINDOW_PER_SLOT

    def close(self) -> None:
        """No more items will come; those that came are still run."""
        with self._lock:
            self._closed = True
        self._want()

    def cancel(self) -> None:
        """End now: what waits is cancelled, what runs is killed."""
        with self._lock:
            self._closed = self._cancelled = True
        self.cancel_waiting()
        self._want()

    def cancel_waiting(self) -> None:
        """Cancel the items that have not left yet."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            entry.future.cancel()
            entry.future.set_running_or_notify_cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of a closed stream; whether it came."""
        if timeout_s is not None:
            return self._done.wait(timeout_s)
        while not self._done.wait(WAIT_SLICE_S):
            pass
        return True

    # --- for subclasses ------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _wake(self) -> None:
        """Have `_take` called soon by whoever sends."""

    def _want(self) -> None:
        with self._lock:
            if self._woken:
                return
            self._woken = True
        self._wake()

    def _take(self, count_max: int = WINDOW_MAX) -> list[Entry]:
        """Items that may leave now; they can be cancelled no more."""
        found: list[Entry] = []
        with self._lock:
            self._woken = False
            room = min(count_max, self._window - len(self._flying) - self._taken)
            while self._waiting and len(found) < room:
                entry = self._waiting.popleft()
                if entry.future.set_running_or_notify_cancel():
                    found.append(entry)
            self._taken += len(found)
        return found

    def _launch(self, entries: Sequence[Entry]) -> int:
        """These items leave: they get the numbers from the one that is returned on."""
        now = time.monotonic()
        with self._lock:
            first = self._next
            self._next += len(entries)
            self._taken -= len(entries)
            for number, entry in enumerate(entries, start=first):
                self._flying[number] = Entry(entry.future, None, now)
        return first

    def _reject(self, entry: Entry, reason: Exception) -> None:
        """An item that was taken cannot leave."""
        with self._lock:
            self._taken -= 1
        entry.future.set_exception(reason)

    def _all_left(self) -> bool:
        """Whether the last item has left, and no more will come."""
        with self._lock:
            return self._closed and not self._waiting and not self._taken

    def _came(self, outcomes: Iterable[tuple[int, Any | TaskFault]], slots: int = 0) -> None:
        """Outcomes are here."""
        oldest: float | None = None
        found: list[tuple[Future[Any], Any]] = []
        with self._lock:
            for number, value in outcomes:
                entry = self._flying.pop(number, None)
                if entry is not None:
                    oldest = entry.sent if oldest is None else min(oldest, entry.sent)
                    found.append((entry.future, value))
            if slots:
                self._window_min = slots * WINDOW_PER_SLOT
            if oldest is not None:
                took_s = time.monotonic() - oldest
                factor = 2.0 if took_s < EARLY_S else 0.5 if took_s > LATE_S else 1.0
                window = int(self._window * factor) if self._waiting or factor < 1 else self._window
                self._window = max(self._window_min, min(WINDOW_MAX, window))
            more = bool(self._waiting)
        if more:
            self._want()
        for future, value in found:
            if isinstance(value, TaskFault):
                future.set_exception(TaskError(value.message, value.traceback, value.kind, value.peer))
                continue
            try:
                result = self.convert(value)
            except BaseException as raised:
                future.set_exception(raised)
            else:
                future.set_result(result)

    def _ended(self, reason: Exception | None) -> None:
        """It is over; `reason` is why items are left without an outcome."""
        if isinstance(reason, StreamEndedError) and self.hint:
            reason = StreamEndedError(f"{reason}: {self.hint}")
        with self._lock:
            self._over = reason or StreamEndedError("the stream has ended")
            self._closed = True
            flying, self._flying = list(self._flying.values()), {}
        if self._cancelled:
            self.cancel_waiting()
        with self._lock:
            flying += [entry for entry in self._waiting if entry.future.set_running_or_notify_cancel()]
            self._waiting.clear()
        for entry in flying:
            entry.future.set_exception(self._over)
        self._done.set()
