"""One job over one WebSocket: told to whoever holds the other end.

Reads what the client wants of its job and writes what happens, at the same time. When the connection ends before the
job, for whatever reason (closed, reset, silent, too slow, or the server stops), nothing more is told, and the job goes
on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from meshwit.codec import CodecError
from meshwit.lang.diagnostics import ScriptError
from meshwit.peer.control.api import JobRun, JobsApi, PeerError, Submission
from meshwit.peer.control.guard import Receive, Scope, Send
from meshwit.peer.control.job_messages import (
    Accepted,
    Asked,
    Attach,
    Cancel,
    NotDone,
    OpenStream,
    Pause,
    Plan,
    Planned,
    Refused,
    Resume,
    Submit,
    ToPeer,
    decode_to_peer,
    encode,
    outcome_messages,
    wanted,
)
from meshwit.peer.control.job_outbox import Outbox, ReaderTooSlow
from meshwit.peer.control.job_script import JobScript
from meshwit.peer.control.stream_socket import StreamMisused, Told, serve_stream

_log = logging.getLogger(__name__)

ENDED: Final = 1000
NOT_UNDERSTOOD: Final = 1007
NOT_NOW: Final = 1008
BUG: Final = 1011

STEER_TIMEOUT_S: Final = 15.0
"""For the peer that leads the job, elsewhere perhaps, to do what it is asked to."""
KEEP_MAX_S: Final = 366 * 86400.0
STANDBYS_MAX: Final = 16


class SocketLimits(Protocol):
    """What one client may cost; see `ControlLimits`."""

    @property
    def message_timeout_s(self) -> float:
        """For the first message."""

    @property
    def waiting_bytes_max(self) -> int:
        """Of events."""

    @property
    def send_timeout_s(self) -> float:
        """For the reader to take something."""


class _Gone(Exception):  # noqa: N818  it is an ending
    """The client is no longer there."""


class _Wrong(Exception):  # noqa: N818  it is an answer
    """What the client said is nothing that it may say; the connection is closed with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class _Telling(NamedTuple):
    """A job on its way to a client: with what it runs where that is to be told, and the results that it wants."""

    job: JobRun
    outbox: Outbox
    script: JobScript | None
    only: list[str] | None


class JobSocket:
    """Answers `/v1/jobs/run`.

    Args:
        jobs: leads them.
        limits: what a client may cost.
        cut: closes the connection of a request at once, unsent bytes and all.
    """

    def __init__(self, jobs: JobsApi, limits: SocketLimits, cut: Callable[[Scope], None]) -> None:
        self.jobs = jobs
        self.limits = limits
        self.cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client to its end."""
        await receive()  # the opening, which the guard has looked at
        await send({"type": "websocket.accept"})
        try:
            await self._serve(receive, send)
            await _close(send, ENDED, "")
        except (_Wrong, ReaderTooSlow, _Gone, OSError) as ended:
            # It leads to the task that raised it, and so to itself: what that task saw of the job would stay.
            ended.__traceback__ = None
            match ended:
                case _Wrong():
                    await _close(send, ended.code, ended.why)
                case ReaderTooSlow() | TimeoutError():
                    self.cut(scope)

    async def _serve(self, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self.limits.message_timeout_s):
                asked = await _received(receive)
        except TimeoutError:
            raise _Wrong(NOT_NOW, "nothing was asked for") from None
        if isinstance(asked, OpenStream):
            await self._stream(asked, receive, send)
            return
        if not isinstance(asked, Asked | Attach):
            raise _Wrong(NOT_UNDERSTOOD, "first a job is submitted")
        outbox = Outbox(self.limits.waiting_bytes_max)
        try:
            job = await self._job(asked, outbox)
        except Exception as reason:
            await self._send(send, encode(_refusal(reason)))
            return
        if isinstance(job, Planned):
            await self._send(send, encode(job))
            return
        only = asked.only if isinstance(asked, Submit | Attach) else None
        script = job.script if isinstance(asked, Attach) else None
        async with self._followed(job, outbox, receive) as reading:
            await self._tell(_Telling(job, outbox, script, only), send, reading)

    async def _job(self, asked: Asked | Attach, outbox: Outbox) -> JobRun | Planned:
        """What the client wants to be told of. Raises what the peer has against it."""
        if isinstance(asked, Attach):
            return await self.jobs.attach(asked.job, outbox.put)
        if isinstance(asked, Plan):
            return Planned(self.jobs.plan(self._submission(asked)))
        return self.jobs.submit(self._submission(asked), outbox.put)

    async def _stream(self, asked: OpenStream, receive: Receive, send: Send) -> None:
        told = Told()
        try:
            stream = self.jobs.open_stream(asked, told.put)
        except Exception as reason:
            await self._send(send, encode(_refusal(reason)))
            return
        try:
            await serve_stream(
                stream, told, self.jobs.codec, partial(_received, receive), partial(self._send, send)
            )  # fmt: skip
        except StreamMisused as misused:
            raise _Wrong(NOT_UNDERSTOOD, str(misused)) from None

    def _submission(self, asked: Asked) -> Submission:
        arguments = self.jobs.codec.decode(asked.arguments, asked.buffers)
        roots = tuple(Path(root) for root in asked.roots)
        if not isinstance(arguments, list):
            raise CodecError("the arguments are no list")
        if not all(root.is_absolute() for root in roots):
            raise PeerError("the folders of a job must be absolute", f"not {', '.join(asked.roots)}")
        submission = Submission(
            text=asked.text,
            filename=asked.filename,
            job=asked.job,
            arguments=arguments,
            roots=roots,
            time_limit_s=asked.time_limit_s,
            memory_max_bytes=asked.memory_max_bytes,
        )
        if not isinstance(asked, Submit):
            return submission
        keep_s = min(max(0.0, asked.keep_s), KEEP_MAX_S)
        standbys = min(max(0, asked.standbys), STANDBYS_MAX)
        return msgspec.structs.replace(submission, keep_s=keep_s, standbys=standbys)

    @contextlib.asynccontextmanager
    async def _followed(self, job: JobRun, outbox: Outbox, receive: Receive) -> AsyncIterator[asyncio.Task[None]]:
        """Reads meanwhile what the client wants; nothing more is told of the job afterwards."""
        reading = asyncio.create_task(_obey(job, outbox, receive))
        try:
            yield reading
        finally:
            outbox.end()
            job.detach()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _tell(self, told: _Telling, send: Send, reading: asyncio.Task[None]) -> None:
        """All that happens, then the outcome. Raises what ends it before."""
        telling = asyncio.create_task(self._tell_all(told, send))
        try:
            await asyncio.wait((telling, reading), return_when=asyncio.FIRST_COMPLETED)
            # Reading ends by raising only. It may have read that the client closed after it was told everything.
            await (telling if telling.done() else reading)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell_all(self, told: _Telling, send: Send) -> None:
        await self._send(send, encode(Accepted(told.job.id, script=told.script)))
        ending = asyncio.create_task(told.job.outcome())
        ending.add_done_callback(lambda _: told.outbox.end())
        try:
            while (message := await told.outbox.next()) is not None:
                await self._send(send, message)
            messages = outcome_messages(wanted(await ending, told.only), self.jobs.codec)
            while (piece := await asyncio.to_thread(_next, messages)) is not None:
                await self._send(send, piece)
        except PeerError as reason:
            await self._send(send, encode(Refused(reason.message, reason.hint)))
        except (OSError, ReaderTooSlow, TimeoutError, asyncio.CancelledError):
            raise
        except Exception as bug:
            _log.exception("a job's outcome cannot be told")
            raise _Wrong(BUG, f"bug in meshwit: {type(bug).__name__}: {bug}") from None
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def _send(self, send: Send, message: bytes) -> None:
        """Raises TimeoutError if the reader does not take it."""
        async with asyncio.timeout(self.limits.send_timeout_s):
            await send({"type": "websocket.send", "bytes": message})


def _next(messages: Iterator[bytes]) -> bytes | None:
    """In a thread: to encode a large result takes its time, and the loop has other things to do."""
    return next(messages, None)


async def _obey(job: JobRun, outbox: Outbox, receive: Receive) -> None:
    """Do with the job what the client says; ends by raising _Gone or _Wrong."""
    while True:
        match await _received(receive):
            case Pause():
                await _steer(job.pause, outbox)
            case Resume():
                await _steer(job.resume, outbox)
            case Cancel():
                await _steer(job.cancel, outbox)
            case _:
                raise _Wrong(NOT_UNDERSTOOD, "there is a job already")


async def _steer(deed: Callable[[], Awaitable[None]], outbox: Outbox) -> None:
    """Have the job do something; what is against it is told, and ends nothing."""
    try:
        async with asyncio.timeout(STEER_TIMEOUT_S):
            await deed()
    except PeerError as reason:
        outbox.say(encode(NotDone(reason.message, reason.hint)))
    except TimeoutError:
        outbox.say(encode(NotDone("the peer that leads the job does not answer", "see who leads it: meshwit jobs")))
    except Exception as bug:
        _log.exception("a job cannot be steered")
        outbox.say(encode(NotDone(f"bug in meshwit: {type(bug).__name__}: {bug}")))


async def _received(receive: Receive) -> ToPeer:
    """The next message. Raises _Gone and _Wrong."""
    message = await receive()
    if message["type"] == "websocket.disconnect":
        raise _Gone
    data = message.get("bytes")
    if data is None:
        raise _Wrong(NOT_UNDERSTOOD, "messages are MessagePack, not text")
    try:
        return decode_to_peer(data)
    except (msgspec.MsgspecError, ValueError) as reason:
        raise _Wrong(NOT_UNDERSTOOD, f"this is no message: {reason}") from None


def _refusal(reason: Exception) -> Refused:
    match reason:
        case ScriptError():
            return Refused(str(reason), diagnostics=reason.diagnostics, reason="script")
        case PeerError():
            return Refused(reason.message, reason.hint)
        case CodecError():
            hint = "the peer may have other controllers than are installed here: restart it"
            return Refused(f"the peer cannot read the parameters: {reason}", hint)
        case ValueError():  # as a ParameterError is, which is above this part
            return Refused(str(reason), reason="parameter")
    _log.error("a job could not be started", exc_info=reason)
    return Refused(f"bug in meshwit: {type(reason).__name__}: {reason}")


async def _close(send: Send, code: int, why: str) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        await send({"type": "websocket.close", "code": code, "reason": _short(why)})


def _short(why: str) -> str:
    """A closing frame has room for 123 bytes."""
    return why.encode(errors="replace")[:123].decode(errors="ignore")
