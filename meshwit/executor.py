"""Python functions and activities on the mesh, as `concurrent.futures` knows them.

    with meshwit.Executor() as executor:
        futures = [executor.submit(numpy.linalg.norm, row) for row in rows]

A function crosses by its name and is imported where it runs, never as code. The peer of this device spreads the calls
over its mesh; without one, or with `here`, a peer in this process runs them. Others run functions only of packages that
their owners allow, and take arguments that need pickle only where their owners allow that; in this process everything
goes.
"""

from __future__ import annotations

import importlib
import itertools
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as FuturesExecutor
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from meshwit import client, remote_streams
from meshwit.bench.allowances import needed_for
from meshwit.codec import CodecError
from meshwit.peer.blobs.store import BlobStore, user_folder
from meshwit.peer.control.client import first_peer
from meshwit.peer.control.job_messages import OpenStream
from meshwit.plugins.discovery import installed
from meshwit.plugins.python import pickled
from meshwit.streams import Stream, TaskError

AHEAD_MAX: Final = 4096
"""Results that `map` computes ahead of whoever takes them."""
CHUNK: Final = 64
CHUNK_MAX: Final = 1024
NO_PICKLE: Final = (
    "values of types that are not native to meshwit need pickle, which runs any code of the sender and is off by "
    "default: allow it with `meshwit up --allow-pickle`, or use meshwit.Executor(here=True)"
)
NO_FUNCTION: Final = (
    "peers run functions only of packages that their owners allow, with `meshwit up --functions {package}`; "
    "meshwit.Executor(here=True) runs all in this process"
)
Function = str | Callable[..., Any]
_Call = tuple[tuple[Any, ...], dict[str, Any]]
_Key = tuple[str, str, int]


class Executor(FuturesExecutor):
    """See the module. Safe for threads; use it as a block, or call `shutdown`.

    A future is running from when its task leaves for a peer; until then it can be cancelled. A future whose function
    raised has that exception, with the end of the traceback as a note, where exceptions can cross; otherwise a
    `TaskError` that says the same.

    Args:
        here: use a peer in this process even if one runs on this device.
        requires: what a peer must have besides: `"memory >= 8GiB"`.
        retries: of a failed task.
    """

    def __init__(self, *, here: bool = False, requires: str = "", retries: int = 0) -> None:
        self._requires = requires
        self._retries = retries
        self._lock = threading.Lock()
        self._streams: dict[_Key, Stream] = {}
        self._down = False
        self._peer = None if here else first_peer()
        self._codec = installed().codec(BlobStore(user_folder()).wire_type())

    @property
    def here(self) -> bool:
        """Whether a peer in this process runs everything."""
        return self._peer is None

    def submit(self, fn: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call made.

        Args:
            fn: the name of an activity, or a function that can be imported by its name where it runs.
            args: of the call.
            kwargs: of the call; an activity takes none.

        Raises:
            TypeError: `fn` is a lambda, defined inside a function or in `__main__`, or no function.
            ValueError: there is no such activity, or it cannot be called with so many arguments.
            RuntimeError: after `shutdown`.
        """
        return self._submit(fn, [(args, kwargs)])[0]

    def map(
        self, fn: Function, /, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """Results in order, as they are taken; at most `AHEAD_MAX` are computed ahead, so inputs may be endless.

        Args:
            fn: as of `submit`.
            iterables: of arguments, read by the thread that takes results.
            timeout: seconds to wait for any one result.
            chunksize: passed over: how many tasks go at once is decided by how long they take.
        """
        calls: Iterator[_Call] = ((each, {}) for each in zip(*iterables, strict=False))
        ahead: deque[Future[Any]] = deque()
        self._fill(fn, calls, ahead, CHUNK)
        return self._results(fn, calls, ahead, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `cancel_futures` those that have not left are cancelled."""
        with self._lock:
            self._down = True
            streams = list(self._streams.values())
        for stream in streams:
            if cancel_futures:
                stream.cancel_waiting()
            stream.close()
        for stream in streams if wait else ():
            stream.wait()

    def cancel(self) -> None:
        """Take no more calls and end all that wait or run."""
        with self._lock:
            self._down = True
            streams = list(self._streams.values())
        for stream in streams:
            stream.cancel()

    @property
    def slots(self) -> int:
        """How many pickled calls can run at the same time."""
        return self._pickled().slots

    def submit_pickled(self, call: bytes, buffers: list[memoryview]) -> Future[Any]:
        """Have a call made that is pickled already, see `plugins.python.pickled`: function, arguments, named ones."""
        return self._pickled().submit((call, buffers))

    # --- inside --------------------------------------------------------------------------------------------------

    def _submit(self, fn: Function, calls: list[_Call]) -> list[Future[Any]]:
        if isinstance(fn, str):
            return self._submit_activity(fn, calls)
        name = import_name(fn)
        if self._peer is None:
            return self._pickled().submit_many([pickled((fn, *call)) for call in calls])
        items = [(name, list(args), named or None) for args, named in calls]
        try:
            self._codec.encode(items)
        except CodecError:
            return self._pickled().submit_many([pickled((fn, *call)) for call in calls])
        module = name.partition(":")[0]
        hint = NO_FUNCTION.format(package=module.partition(".")[0])
        return self._stream("Python.Call", module, 3, hint=hint).submit_many(items)

    def _submit_activity(self, name: str, calls: list[_Call]) -> list[Future[Any]]:
        if any(named for _, named in calls):
            raise TypeError(f"the activity `{name}` takes arguments by place only")
        counts = {len(args) for args, _ in calls}
        if len(counts) != 1 or 0 in counts:
            raise ValueError(f"`{name}` cannot be called without an argument here")
        count = counts.pop()
        items = [args[0] if count == 1 else args for args, _ in calls]
        return self._stream(name, "", 0 if count == 1 else count).submit_many(items)

    def _pickled(self) -> Stream:
        return self._stream("Python.CallPickled", "", 2, convert=_unpickled, hint=NO_PICKLE)

    def _stream(
        self,
        activity: str,
        module: str,
        arguments: int,
        *,
        convert: Callable[[Any], Any] | None = None,
        hint: str = "",
    ) -> Stream:
        with self._lock:
            if self._down:
                raise RuntimeError("the executor has been shut down")
            stream = self._streams.get((activity, module, arguments))
            if stream is None:
                stream = self._open(activity, arguments, needed_for(module) if module else "")
                if convert is not None:
                    stream.convert = convert
                stream.hint = hint
                self._streams[activity, module, arguments] = stream
            return stream

    def _open(self, activity: str, arguments: int, needs: str) -> Stream:
        requires = " and ".join(f"({each})" for each in (self._requires, needs) if each)
        if self._peer is None:
            return client.stream(activity, arguments=arguments, requires=self._requires, retries=self._retries)
        asked = OpenStream(activity=activity, arguments=arguments, requires=requires, retries=self._retries)
        return remote_streams.open_stream(self._peer, asked, self._codec)

    def _fill(
        self,
        fn: Function,
        calls: Iterator[_Call],
        ahead: deque[Future[Any]],
        count: int,
    ) -> None:
        while count > 0 and (some := list(itertools.islice(calls, min(count, CHUNK_MAX)))):
            ahead += self._submit(fn, some)
            count -= len(some)

    def _results(
        self,
        fn: Function,
        calls: Iterator[_Call],
        ahead: deque[Future[Any]],
        timeout: float | None,
    ) -> Iterator[Any]:
        look_ahead = CHUNK
        try:
            while ahead:
                if len(ahead) <= look_ahead // 2:
                    if ahead[0].done():  # results come faster than they are taken care of
                        look_ahead = min(AHEAD_MAX, look_ahead * 2)
                    self._fill(fn, calls, ahead, look_ahead - len(ahead))
                future = ahead.popleft()
                yield client.waited(future, timeout)
        finally:
            for future in ahead:
                future.cancel()


def map(fn: Function, /, *iterables: Iterable[Any], timeout: float | None = None, here: bool = False) -> Iterator[Any]:
    """The results of a function or activity over items, in order, computed on the mesh as they are taken.

    Args:
        fn: the name of an activity, or a function that can be imported by its name where it runs.
        iterables: of arguments; may be endless.
        timeout: seconds to wait for any one result.
        here: use a peer in this process even if one runs on this device.

    Raises:
        TypeError, ValueError: as `Executor.submit`.
    """
    executor = Executor(here=here)
    return _mapped(executor, executor.map(fn, *iterables, timeout=timeout))


def _mapped(executor: Executor, results: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from results
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def import_name(fn: object) -> str:
    """`module:qualname`, by which a function is imported where it runs. Raises TypeError where it cannot be."""
    if isinstance(fn, partial):
        raise TypeError("a partial cannot cross by its name: give its arguments to `submit` or `map`")
    if not callable(fn):
        raise TypeError(f"{type(fn).__name__} is no function")
    qualname = str(getattr(fn, "__qualname__", None) or getattr(fn, "__name__", ""))
    module = getattr(fn, "__module__", None) or type(fn).__module__
    told = f"{module}.{qualname or type(fn).__name__}"
    if "<lambda>" in qualname:
        raise TypeError("a lambda has no name to import it by: define a function in a module")
    if "<locals>" in qualname:
        raise TypeError(f"{told} is defined inside a function: other processes cannot import it")
    if module == "__main__":
        raise TypeError(f"{told} is defined in the program itself: put it into a module, which peers can import")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        found = None
    if found is not fn and found != fn:
        raise TypeError(f"{told} cannot be imported by that name")
    return f"{module}:{qualname}"


def _unpickled(outcome: Any) -> Any:
    """The value of a pickled call. Raises what the function raised."""
    good, head, buffers = outcome
    value = pickle.loads(head, buffers=buffers)
    if good:
        return value
    reason, lines = value
    if reason is None:
        raise TaskError(lines.rpartition("\n")[2], lines)
    reason.add_note(f"where it ran:\n{lines}")
    raise reason
