"""Using meshwit from Python: compile a script, run it, get its outcome.

`run` has the running peer of this device lead the job, which has the mesh. Where none runs, one local peer per Python
process does it alone, started on first need; its worker processes end when idle. A `Session` is such a peer of one's
own, with settings.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio.to_thread

from meshwit.events import JobEvent
from meshwit.lang.checker import compile_script
from meshwit.lang.item_calls import item_call
from meshwit.lang.program import Program
from meshwit.lazy import lazy_module
from meshwit.local_streams import LocalStream
from meshwit.outcome import Outcome
from meshwit.parameters import bind_parameters, named_job
from meshwit.peer.engine import Engine, PeerSettings
from meshwit.peer.running_job import RunningJob
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry
from meshwit.streams import Stream

if TYPE_CHECKING:
    from meshwit import mesh_jobs
else:
    mesh_jobs = lazy_module("meshwit.mesh_jobs")

T = TypeVar("T")
WAIT_SLICE_S = 0.5
"""On Windows a wait without an end cannot be interrupted from the keyboard."""


def compile(text: str, filename: str = "script.wit", registry: Registry | None = None) -> Program:
    """Check a script against the installed controllers, or those of `registry`.

    Raises:
        ScriptError: with `.diagnostics`, every fault of the script.
    """
    return compile_script(text, (registry or installed()).offer, filename)


class Handle(Protocol):
    """A job that runs, here or in the mesh."""

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """The outcome, or None if the job still runs after `timeout_s`."""
        ...

    def cancel(self) -> None:
        """End the job within a second; results so far stay."""
        ...


class JobHandle:
    """A job that runs in a session."""

    def __init__(self, session: Session, job: RunningJob) -> None:
        self._session = session
        self._job = job
        self._done = threading.Event()
        self._outcome: Outcome | None = None

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """The outcome, or None if the job still runs after `timeout_s`."""
        if timeout_s is not None:
            self._done.wait(timeout_s)
        else:
            while not self._done.wait(WAIT_SLICE_S):
                pass
        return self._outcome

    def result(self) -> Outcome:
        """The outcome, once there is one."""
        outcome = self.wait()
        assert outcome is not None
        return outcome

    def pause(self) -> None:
        """Start no new task until `resume`; what runs ends."""
        self._session._post(lambda peer: peer.leading.pause(self._job))

    def resume(self) -> None:
        """Start tasks again."""
        self._session._post(lambda peer: peer.leading.resume(self._job))

    def cancel(self) -> None:
        """End the job within a second; results so far stay."""
        self._session._post(lambda peer: peer.leading.cancel(self._job))

    def kill(self) -> None:
        """The same, for whoever has no patience: nothing is waited for."""
        self.cancel()

    def _ended(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._done.set()


class Session:
    """A local peer in this process, on a thread of its own.

    Args:
        workers: worker processes; by default one per usable core.
        roots: folders that activities may read and write.
        task_time_limit_s: limit for one task, in seconds.
        task_memory_max_bytes: limit for the worker process of a task.
        idle_s: worker processes end after so long without work.
        registry: the controllers that scripts may use; by default all that are installed.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        roots: Sequence[Path] | None = None,
        task_time_limit_s: float | None = None,
        task_memory_max_bytes: int | None = None,
        idle_s: float = 60.0,
        registry: Registry | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"at least one worker is needed, not {workers}")
        self._settings = PeerSettings(
            workers=workers,
            roots=tuple(roots) if roots is not None else (Path.cwd(),),
            task_time_limit_s=task_time_limit_s,
            task_memory_max_bytes=task_memory_max_bytes,
            idle_s=idle_s,
        )
        self._registry = registry
        self._ready: Future[Engine] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="meshwit", daemon=True)
        self._closed = False
        self._leading = 0
        """Jobs whose handles have no outcome yet."""

    def __enter__(self) -> Session:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what runs and end the worker processes."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def start(
        self,
        program: Program,
        job: str | None = None,
        args: Sequence[object] = (),
        params: Mapping[str, object] | None = None,
        on_event: Callable[[JobEvent], None] | None = None,
    ) -> JobHandle:
        """Start a job.

        Args:
            program: compiled.
            job: its name; the first one by default.
            args: values of its parameters by place.
            params: values by name.
            on_event: called from another thread with every event; must not block.

        Raises:
            ParameterError: a parameter is missing, unknown or wrong, or there is no such job.
        """
        checked = named_job(program, job)
        if self._closed:
            raise RuntimeError("the session is closed")
        peer = self._ready.result()
        arguments = bind_parameters(checked, args, params or {}, program.offer, peer.blobs)
        handle: Future[JobHandle] = Future()

        async def lead() -> None:
            try:
                if self._stop is None or self._stop.is_set():
                    raise RuntimeError("the session is closed")
                running = peer.start(program, checked.name, arguments, on_event)
                made = JobHandle(self, running)
                handle.set_result(made)
            except BaseException as reason:
                handle.set_exception(reason)
                return
            self._leading += 1
            try:
                await running.ended.wait()
                made._ended(peer.leading.outcome(running))
            finally:
                self._leading -= 1

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(lead(), self._loop)
        return handle.result()

    def run(self, script: str | Path | Program, *args: object, job: str | None = None, **params: object) -> Outcome:
        """Run a script to its end. Raises ScriptError and ParameterError."""
        return self.start(load_program(script, self._registry), job, args, params).result()

    def stream(self, activity: str, *, arguments: int | None = None, requires: str = "", retries: int = 0) -> Stream:
        """Call one activity with items as they come.

        Args:
            activity: its name.
            arguments: how many parts each item, a tuple, has for the activity's arguments; 0 for an item that is the
                one argument. By default as many as the activity needs.
            requires: what a peer must have besides.
            retries: of a failed task.

        Raises:
            ValueError: there is no such activity, it cannot be called so, or the requirement is none.
        """
        if self._closed:
            raise RuntimeError("the session is closed")
        peer = self._ready.result()
        task = item_call(peer.registry.offer, activity, arguments)
        made: Future[Stream] = Future()

        async def lead() -> None:
            try:
                if self._stop is None or self._stop.is_set():
                    raise RuntimeError("the session is closed")
                stream = LocalStream(peer, task, requires, retries)
                made.set_result(stream)
            except BaseException as reason:
                made.set_exception(reason)
                return
            self._leading += 1
            try:
                await stream.lead()
            finally:
                self._leading -= 1

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(lead(), self._loop)
        return made.result()

    def warm(self) -> None:
        """Start the worker processes now, not when the first task needs them."""
        self._post(lambda peer: peer.warm())

    def _post(self, call: Callable[[Engine], object]) -> None:
        peer = self._ready.result()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, peer)

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with Engine(self._registry or installed(), self._settings) as peer:
                self._ready.set_result(peer)
                await self._stop.wait()
            while self._leading:
                await asyncio.sleep(0)
        except BaseException as reason:
            if not self._ready.done():
                self._ready.set_exception(reason)
                return
            raise


def load_program(script: str | Path | Program, registry: Registry | None = None) -> Program:
    """A program from its text, its file or itself.

    A string is the path of a file if it ends in `.wit` or there is such a file; any other is a text. Raises
    ScriptError and OSError.
    """
    if isinstance(script, Program):
        return script
    if isinstance(script, str) and ("{" in script or "\n" in script or not _is_path(script)):
        return compile(script, registry=registry)
    path = Path(script)
    return compile(path.read_text(encoding="utf-8"), str(path), registry)


def _is_path(text: str) -> bool:
    try:
        return text.endswith(".wit") or Path(text).is_file()
    except (OSError, ValueError):
        return False


_shared: Session | None = None
_shared_lock = threading.Lock()


def _shared_session() -> Session:
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Session()
            _shared.__enter__()
            atexit.register(_shared.close)
        return _shared


def run(script: str | Path | Program, *args: object, job: str | None = None, **params: object) -> Outcome:
    """Run a script to its end, on the mesh of this device if a peer runs here; interrupted, it cancels the job.

    Args:
        script: its text, the path of its file, or a compiled program.
        args: values of the job's parameters by place.
        job: name of the job to run; the first one by default.
        params: values by name.

    Raises:
        ScriptError: the script has errors; nothing was run.
        ParameterError: a parameter is missing, unknown or wrong.
        OSError: the file cannot be read.
        PeerError: the peer refuses the job, or is gone and the job was not found again.
    """
    return _finished(_started(load_program(script), job, args, params))


def waited(future: Future[T], timeout_s: float | None = None) -> T:
    """The result of a future; can be interrupted from the keyboard everywhere. Raises what it raised."""
    if timeout_s is not None:
        return future.result(timeout_s)
    while not future.done() and not wait([future], WAIT_SLICE_S).done:
        pass
    return future.result()


def stream(activity: str, *, arguments: int | None = None, requires: str = "", retries: int = 0) -> Stream:
    """As `Session.stream`, with the local peer of this process."""
    return _shared_session().stream(activity, arguments=arguments, requires=requires, retries=retries)


async def run_async(script: str | Path | Program, *args: object, job: str | None = None, **params: object) -> Outcome:
    """The same as `run`, for asyncio and trio; cancelling it cancels the job."""
    program = load_program(script)
    handle = await anyio.to_thread.run_sync(_started, program, job, args, params)
    try:
        return await anyio.to_thread.run_sync(_finished, handle, abandon_on_cancel=True)
    except BaseException:
        handle.cancel()
        raise


def _started(program: Program, job: str | None, args: Sequence[object], params: Mapping[str, object]) -> Handle:
    return mesh_jobs.start(program, job, args, params) or _shared_session().start(program, job, args, params)


def _finished(handle: Handle) -> Outcome:
    try:
        outcome = handle.wait()
    except BaseException:
        handle.cancel()
        raise
    assert outcome is not None
    return outcome
