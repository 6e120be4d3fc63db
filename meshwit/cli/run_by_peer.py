"""Running a job by the peer of this device, where one runs: it has the mesh, this process only watches.

Where none runs and this device is a member of a mesh, this process is a peer itself while it needs one. On a device
that is in no mesh, or whose peer leads no jobs for others, nothing is done here and the caller runs the job itself.
What only a peer needs is imported once there is one.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from meshwit.cli.compiling import installed_registry
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.own_peer import ensure_peer, to_stderr
from meshwit.cli.run_options import RunOptions
from meshwit.cli.terminal import harmless
from meshwit.cli.watching import Watcher
from meshwit.codec import Codec
from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.program import CheckedJob, Program
from meshwit.lazy import lazy_module
from meshwit.parameters import ParameterError, bind_parameters
from meshwit.peer.blobs.store import BlobStore, user_folder
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.notice import first_running

if TYPE_CHECKING:
    from meshwit.peer.control import client as control_client
    from meshwit.peer.control import following, job_client, submitting
    from meshwit.peer.control.client import ControlClient
    from meshwit.peer.control.following import WatchedJob
    from meshwit.peer.control.job_messages import Submit
else:
    control_client, following, job_client, submitting = (
        lazy_module(f"meshwit.peer.control.{name}") for name in ("client", "following", "job_client", "submitting")
    )

T = TypeVar("T")
OWN_PEER_AFTER_S = 5.0
"""A peer that is gone may be started again by the system."""
OTHERS = "the peer of this device has other controllers than are installed here: restart it, or run with --here"


def start_by_peer(
    program: Program, job: CheckedJob, params: Mapping[str, object], options: RunOptions, watching: Watcher
) -> WatchedJob | None:
    """The job, led by the first running peer; None where none can lead it.

    Raises:
        ParameterError: a parameter is wrong, or the peer finds one wrong.
        ScriptError: the peer finds errors in the script.
        PeerError: it refuses, or is gone before it has answered.
    """

    def start(client: ControlClient, asked: Submit, codec: Codec) -> WatchedJob:
        return submitting.start(client, asked, codec, _onlooker(watching))

    return _asked(program, job, params, options, start)


def leave_to_peer(program: Program, job: CheckedJob, params: Mapping[str, object], options: RunOptions) -> str | None:
    """The id of the job, which a running peer leads and nobody follows. Gives and raises as `start_by_peer`."""
    return _asked(program, job, params, options, lambda client, asked, codec: submitting.leave(client, asked, codec))


def plan_by_peer(
    program: Program, job: CheckedJob, params: Mapping[str, object], options: RunOptions
) -> list[str] | None:
    """How the first running peer would share the job out; None where none can lead it. Raises as `start_by_peer`."""
    return _asked(program, job, params, options, lambda client, asked, _codec: submitting.plan(client, asked))


def attach_by_peer(
    client: ControlClient, job: str, only: tuple[str, ...], watching: Watcher, home: Path | None = None
) -> WatchedJob:
    """A job of the mesh, by its id, told by a peer. Raises PeerError."""
    codec = installed_registry().codec(_shared_blobs().wire_type())
    return submitting.attach(client, job, codec, _onlooker(watching, home), list(only) or None)


def _onlooker(watching: Watcher, home: Path | None = None) -> submitting.Onlooker:
    def not_done(message: str, hint: str) -> None:
        watching.say(harmless(f"{message} ({hint})" if hint else message))

    return submitting.Onlooker(_finder(watching, home), watching.say, watching, not_done)


def _finder(watching: Watcher, home: Path | None) -> Callable[[], ControlClient | None]:
    """Peers of this device; after a while without one this process is a peer itself, unless that was tried."""
    running = following.RunningPeers(home)
    own_from: float | None = None if home is None else math.inf

    def find() -> ControlClient | None:
        nonlocal own_from
        client = running()
        if own_from is None:
            own_from = time.monotonic() + OWN_PEER_AFTER_S
        if client is not None or time.monotonic() < own_from:
            return client
        own_from = math.inf
        return ensure_peer(watching.say)

    return find


def _asked(
    program: Program,
    job: CheckedJob,
    params: Mapping[str, object],
    options: RunOptions,
    ask: Callable[[ControlClient, Submit, Codec], T],
) -> T | None:
    client = _leading_peer(options)
    if client is None:
        return None
    blobs = _shared_blobs()
    codec = installed_registry().codec(blobs.wire_type())
    arguments = bind_parameters(job, (), params, program.offer, blobs)
    try:
        submission = submitting.submission(
            program, job.name, arguments, codec, roots=options.roots, time_limit_s=options.time_limit_s,
            memory_max_bytes=options.memory_limit_bytes, keep_s=options.keep_s, standbys=options.standbys,
            only=list(options.only) or None,
        )  # fmt: skip
        return ask(client, submission, codec)
    except control_client.NoAnswerError:
        return None
    except control_client.OtherVersionError as error:
        if not options.quiet:
            print(f"{error.message}: this process does it alone ({error.hint})", file=sys.stderr)
        return None
    except job_client.ArgumentsRefusedError as error:
        raise ParameterError(error.message) from None
    except ScriptError:
        print(OTHERS, file=sys.stderr)  # here the script has none
        raise


def _leading_peer(options: RunOptions) -> ControlClient | None:
    """The first peer of this device that answers, else one of this process; None if this device is in no mesh."""
    if first_running() is not None and (client := control_client.first_peer()) is not None:
        return client
    return ensure_peer() if options.quiet else ensure_peer(to_stderr)


def bound(program: Program, job: CheckedJob, params: Mapping[str, object]) -> list[Any]:
    """The values of the parameters. Raises ParameterError."""
    return bind_parameters(job, (), params, program.offer, _shared_blobs())


def _shared_blobs() -> BlobStore:
    try:
        return BlobStore(user_folder())
    except OSError as reason:
        raise CommandError(f"cannot work on this device: {reason}", code=ExitCode.FAILED) from None


@contextmanager
def peer_told() -> Iterator[None]:
    """Makes what the peer refuses, and that it is gone, an error of the command."""
    try:
        yield
    except PeerError as error:
        raise CommandError(harmless(error.message), harmless(error.hint), ExitCode.FAILED) from None
