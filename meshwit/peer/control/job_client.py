"""A job that the peer of this device leads, seen from the program that wants it: started, followed, steered.

A thread reads what the peer tells. Whatever ends the connection before the job has ended is told as PeerLostError;
nothing waits for ever for a peer that is gone. The job of a program that is gone goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from meshwit.codec import Codec
from meshwit.events import JobEvent
from meshwit.lang.diagnostics import ScriptError
from meshwit.outcome import Outcome
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.client import ControlClient, NoAnswerError, OtherVersionError
from meshwit.peer.control.job_messages import (
    MESSAGE_BYTES_MAX,
    Accepted,
    Asked,
    Attach,
    Cancel,
    Ended,
    Happened,
    NotDone,
    OpenStream,
    Pause,
    Piece,
    Plan,
    Planned,
    Refused,
    Resume,
    Submit,
    ToClient,
    ToPeer,
    decode_to_client,
    encode,
    event_of,
    outcome_of,
)

A = TypeVar("A", bound=Asked)
OnEvent = Callable[[JobEvent], None]
OnNotDone = Callable[[str, str], None]
"""Gets why something was not done with a job, and a hint."""

OPEN_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 60.0
"""Until a job is accepted: the script is compiled first, by a peer that may be busy."""
ATTACH_TIMEOUT_S: Final = 20.0
"""Until a job is found in the mesh."""
PING_S: Final = 20.0
PONG_TIMEOUT_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 1.0
WAIT_SLICE_S: Final = 0.5
"""On Windows a wait without an end cannot be interrupted from the keyboard."""

_log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)


class PeerLostError(PeerError):
    """The peer that told of the job is lost, or what it tells is of no use."""


class PeerGoneError(PeerLostError):
    """It is gone: another one may know the job."""


class ArgumentsRefusedError(PeerError, ValueError):
    """The peer finds a parameter wrong."""


class RemoteJob:
    """A job that a peer tells of. `close` it, or leave its block: then nothing more is told, and the job goes on.

    Args:
        connection: just after `accepted` has come.
        accepted: which job it is.
        codec: reads the outcome.
        on_event: called from another thread with every event.
        on_not_done: called from there when the job is not paused, resumed or cancelled as it should be.
    """

    def __init__(
        self,
        connection: ClientConnection,
        accepted: Accepted,
        codec: Codec,
        on_event: OnEvent | None = None,
        on_not_done: OnNotDone | None = None,
    ) -> None:
        self.id = accepted.job_id
        self.script = accepted.script
        """What it runs; None for one that was submitted here."""
        self._connection = connection
        self._codec = codec
        self._on_event = on_event
        self._on_not_done = on_not_done
        self._done = threading.Event()
        self._outcome: Outcome | None = None
        self._lost: PeerError | None = None
        self._reader = threading.Thread(target=self._read, name="meshwit job", daemon=True)
        self._reader.start()

    def __enter__(self) -> RemoteJob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """The outcome, or None if the job still runs after `timeout_s`.

        Raises:
            PeerGoneError: the peer is; the job may go on.
            PeerLostError: what it tells cannot be read.
            PeerError: nobody has the outcome any more.
        """
        if timeout_s is not None:
            self._done.wait(timeout_s)
        else:
            while not self._done.wait(WAIT_SLICE_S):
                pass
        if self._lost is not None:
            raise self._lost
        return self._outcome

    def result(self) -> Outcome:
        """The outcome, once there is one. Raises what `wait` raises."""
        outcome = self.wait()
        assert outcome is not None
        return outcome

    def pause(self) -> None:
        """Start no new task until `resume`; what runs ends."""
        self._say(Pause())

    def resume(self) -> None:
        """Start tasks again."""
        self._say(Resume())

    def cancel(self) -> None:
        """End the job within a second; results so far stay."""
        self._say(Cancel())

    def kill(self) -> None:
        """The same, for whoever has no patience: the peer ends the worker processes in either case."""
        self.cancel()

    def close(self) -> None:
        """Close the connection; the job goes on. `wait` then raises, unless the job had ended."""
        self._connection.close()
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def _say(self, message: ToPeer) -> None:
        with contextlib.suppress(ConnectionClosed):  # `wait` tells that
            self._connection.send(encode(message))

    # --- the thread ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            self._outcome = self._followed()
        except ConnectionClosed as closed:
            self._lost = lost(closed)
        except PeerError as reason:
            self._lost = reason
        except Exception as bug:  # the values are of no type that is known here, or there is a fault on either side
            hint = "the peer may be of another version: restart it"
            self._lost = PeerLostError(f"what the peer tells of the job cannot be read: {bug}", hint)
        finally:
            self._done.set()
            self._connection.close()

    def _followed(self) -> Outcome:
        blocks: list[bytearray] = []
        is_whole = True
        while True:
            message = received(self._connection)
            match message:
                case Happened():
                    self._tell(event_of(message))
                case Piece(data=data, last=last):
                    if is_whole:
                        blocks.append(bytearray())
                    blocks[-1] += data
                    is_whole = last
                case NotDone():
                    self._tell_not_done(message)
                case Ended():
                    return outcome_of(message, blocks, self._codec)
                case Refused():
                    raise PeerError(message.message, message.hint)
                case _:
                    raise ValueError(f"{type(message).__name__} in the middle of a job")

    def _tell(self, event: JobEvent | None) -> None:
        if event is None or self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            self._on_event = None  # its fault is not the job's
            _log.exception("a watcher of a job failed and is told nothing more")

    def _tell_not_done(self, told: NotDone) -> None:
        try:
            if self._on_not_done is not None:
                self._on_not_done(told.message, told.hint)
        except Exception:
            self._on_not_done = None
            _log.exception("a watcher of a job failed and is told nothing more")


def start_job(
    client: ControlClient,
    submission: Submit,
    codec: Codec,
    on_event: OnEvent | None = None,
    on_not_done: OnNotDone | None = None,
) -> RemoteJob:
    """Have a peer lead a job.

    Args:
        client: of the peer.
        submission: see `asked_of`.
        codec: reads the outcome.
        on_event: see `RemoteJob`.
        on_not_done: see `RemoteJob`.

    Raises:
        OtherVersionError: the peer leads no jobs; nothing was started.
        NoAnswerError: it is not there; nothing was started.
        ScriptError: it finds errors in the script: other controllers are installed there.
        PeerError: it refuses.
        PeerLostError: it is gone before it has answered.
    """
    return _accepted(client, submission, codec, on_event, on_not_done)


def attach_job(
    client: ControlClient,
    attach: Attach,
    codec: Codec,
    on_event: OnEvent | None = None,
    on_not_done: OnNotDone | None = None,
) -> RemoteJob:
    """Follow a job of the mesh, by a peer that need not lead it. Arguments and what is raised as for `start_job`."""
    return _accepted(client, attach, codec, on_event, on_not_done)


def _accepted(
    client: ControlClient,
    asked: Submit | Attach,
    codec: Codec,
    on_event: OnEvent | None,
    on_not_done: OnNotDone | None,
) -> RemoteJob:
    connection = opened(client)
    try:
        told = answer(connection, asked)
        if not isinstance(told, Accepted):
            raise refused(told, asked)
        return RemoteJob(connection, told, codec, on_event, on_not_done)
    except BaseException:
        connection.close()
        raise


def plan_job(client: ControlClient, plan: Plan) -> list[str]:
    """How a peer would share a job out, for people. Raises what `start_job` raises."""
    connection = opened(client)
    try:
        told = answer(connection, plan)
    finally:
        connection.close()
    if not isinstance(told, Planned):
        raise refused(told, plan)
    return told.lines


def asked_of(
    kind: type[A], *, arguments: Sequence[object], codec: Codec, roots: Sequence[Path] = (), **fields: Any
) -> A:
    """The first message. `arguments` are bound already; relative `roots` are of this process' folder; `fields` are the
    others of `kind`, as it has them.

    Raises:
        CodecError: an argument cannot cross.
    """
    header, buffers = codec.encode(list(arguments))
    crossing = [bytes(each) for each in buffers]
    return kind(arguments=header, buffers=crossing, roots=[str(root.absolute()) for root in roots], **fields)


# --- the connection ----------------------------------------------------------------------------------------------


def opened(client: ControlClient) -> ClientConnection:
    """A connection to a peer. Raises NoAnswerError, OtherVersionError and PeerError."""
    port = client.runtime.port
    try:
        opening = connect(
            f"ws://127.0.0.1:{port}/v1/jobs/run",
            additional_headers={"Authorization": f"Bearer {client.runtime.token}"},
            user_agent_header=None,
            compression=None,
            proxy=None,  # the token is for this device alone
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=PONG_TIMEOUT_S,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=None,  # a watcher that is slow here must not look like a client that has hung
            logger=_quiet,
        )
        return opening.__enter__()  # what it opens is ours to close: it outlives any block here
    except InvalidStatus as refusal:
        raise _not_opened(refusal) from None
    except TimeoutError:
        raise NoAnswerError(f"the peer does not answer within {OPEN_TIMEOUT_S:g} s") from None
    except (OSError, EOFError, InvalidHandshake, ConnectionClosed) as error:
        raise NoAnswerError("the peer does not answer any more", str(error)) from None


def _not_opened(refusal: InvalidStatus) -> PeerError:
    status = refusal.response.status_code
    try:
        error = json.loads(refusal.response.body or b"")["error"]
        message, hint = str(error["message"]), str(error["hint"])
    except (ValueError, LookupError, TypeError):
        return NoAnswerError(f"what listens there is no peer of ours: it answers {status}")
    if status == 404:
        return OtherVersionError("the peer of this device leads no jobs for others", "restart it: it is older")
    return NoAnswerError(message, hint) if status == 401 else PeerError(message, hint)


def answer(connection: ClientConnection, asked: Submit | Attach | Plan | OpenStream) -> ToClient:
    """What the peer says to the first message. Raises PeerLostError and ArgumentsRefusedError."""
    message = encode(asked)
    if len(message) > MESSAGE_BYTES_MAX:
        hint = "give what is large as a file"
        raise ArgumentsRefusedError(f"the parameters take {len(message):,} bytes, at most {MESSAGE_BYTES_MAX:,}", hint)
    done, timeout_s = ("found", ATTACH_TIMEOUT_S) if isinstance(asked, Attach) else ("started", ANSWER_TIMEOUT_S)
    try:
        connection.send(message)
        return received(connection, timeout_s)
    except TimeoutError:
        hint = "it may be very busy"
        raise PeerLostError(f"the peer has not {done} the job within {timeout_s:g} s", hint) from None
    except ConnectionClosed as closed:
        raise lost(closed) from None


def received(connection: ClientConnection, timeout_s: float | None = None) -> ToClient:
    """The next message. Raises ConnectionClosed, TimeoutError, and ValueError for what is none."""
    data = connection.recv(timeout_s)
    if isinstance(data, str):
        raise ValueError("a text instead of a message")
    try:
        return decode_to_client(data)
    except msgspec.MsgspecError as reason:
        raise ValueError(str(reason)) from None


def refused(told: ToClient, asked: Submit | Attach | Plan | None = None) -> Exception:
    """What to raise where the peer did not accept."""
    match told:
        case Refused(reason="script", diagnostics=[_, *_] as diagnostics) if isinstance(asked, Asked):
            return ScriptError(diagnostics, asked.text, asked.filename)
        case Refused(message=message, hint=hint, reason="parameter"):
            return ArgumentsRefusedError(message, hint)
        case Refused(message=message, hint=hint):
            return PeerError(message, hint)
    return PeerLostError(f"the peer answers {type(told).__name__}", "it may be of another version: restart it")


def lost(closed: ConnectionClosed) -> PeerLostError:
    """Why a connection ended before it should."""
    told = closed.rcvd
    if closed.sent is not None and closed.sent.code == 1011 and closed.rcvd_then_sent is not True:
        return PeerGoneError("the peer of this device does not answer any more", "see whether it runs: meshwit doctor")
    if told is not None and told.code in (1007, 1008, 1009, 1011) and told.reason:
        return PeerLostError(f"the peer broke it off: {told.reason}")
    return PeerGoneError("the peer of this device has stopped", "start it again: meshwit up")
