"""Running a job by the peer of this device, where one runs: it has the mesh, this process only watches.

Without a peer, or with one that leads no jobs for others, nothing is done here and the caller runs the job itself. What
only a peer needs is imported once there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from meshwit.cli.compiling import installed_registry
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.run_options import RunOptions
from meshwit.cli.terminal import harmless
from meshwit.cli.watching import Watcher
from meshwit.codec import Codec, CodecError
from meshwit.lang.diagnostics import ScriptError
from meshwit.lang.program import CheckedJob, Program
from meshwit.lazy import lazy_module
from meshwit.parameters import ParameterError, bind_parameters
from meshwit.peer.blobs.store import BlobStore
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.notice import first_running

if TYPE_CHECKING:
    from meshwit.peer.control import client as control_client
    from meshwit.peer.control import job_client, job_messages
    from meshwit.peer.control.client import ControlClient
    from meshwit.peer.control.job_client import RemoteJob
else:
    control_client, job_client, job_messages = (
        lazy_module(f"meshwit.peer.control.{name}") for name in ("client", "job_client", "job_messages")
    )

T = TypeVar("T")
OTHERS = "the peer of this device has other controllers than are installed here: restart it, or run with --here"


def start_by_peer(
    program: Program, job: CheckedJob, params: Mapping[str, object], options: RunOptions, watching: Watcher
) -> RemoteJob | None:
    """The job, led by the first running peer; None where none can lead it.

    Raises:
        ParameterError: a parameter is wrong, or the peer finds one wrong.
        ScriptError: the peer finds errors in the script.
        PeerError: it refuses, or is gone before it has answered.
    """

    def start(client: ControlClient, codec: Codec, fields: dict[str, Any]) -> RemoteJob:
        asked = job_client.asked_of(job_messages.Submit, codec=codec, **fields)
        return job_client.start_job(client, asked, codec, watching)

    return _asked(program, job, params, options, start)


def plan_by_peer(
    program: Program, job: CheckedJob, params: Mapping[str, object], options: RunOptions
) -> list[str] | None:
    """How the first running peer would share the job out; None where none can lead it. Raises as `start_by_peer`."""

    def plan(client: ControlClient, codec: Codec, fields: dict[str, Any]) -> list[str]:
        return job_client.plan_job(client, job_client.asked_of(job_messages.Plan, codec=codec, **fields))

    return _asked(program, job, params, options, plan)


def _asked(
    program: Program,
    job: CheckedJob,
    params: Mapping[str, object],
    options: RunOptions,
    ask: Callable[[ControlClient, Codec, dict[str, Any]], T],
) -> T | None:
    if first_running() is None:
        return None
    running, _ = control_client.find_all()
    if not running:
        return None
    blobs = _shared_blobs()
    codec = Codec([*installed_registry().wire_types(), blobs.wire_type()])
    fields = {
        "text": program.text,
        "filename": program.filename,
        "job": job.name,
        "arguments": bind_parameters(job, (), params, program.offer, blobs),
        "roots": options.roots,
        "time_limit_s": options.time_limit_s,
        "memory_max_bytes": options.memory_limit_bytes,
    }
    try:
        return ask(running[0].client, codec, fields)
    except control_client.NoAnswerError:
        return None
    except control_client.OtherVersionError as error:
        if not options.quiet:
            print(f"{error.message}: this process does it alone ({error.hint})", file=sys.stderr)
        return None
    except job_client.ArgumentsRefusedError as error:
        raise ParameterError(error.message) from None
    except CodecError as reason:
        raise ParameterError(str(reason)) from None
    except ScriptError:
        print(OTHERS, file=sys.stderr)  # here the script has none
        raise


def bound(program: Program, job: CheckedJob, params: Mapping[str, object]) -> list[Any]:
    """The values of the parameters. Raises ParameterError."""
    return bind_parameters(job, (), params, program.offer, _shared_blobs())


def _shared_blobs() -> BlobStore:
    try:
        return BlobStore(job_client.shared_blobs_folder())
    except OSError as reason:
        raise CommandError(f"cannot work on this device: {reason}", code=ExitCode.FAILED) from None


@contextmanager
def peer_told() -> Iterator[None]:
    """Makes what the peer refuses, and that it is gone, an error of the command."""
    try:
        yield
    except PeerError as error:
        raise CommandError(harmless(error.message), harmless(error.hint), ExitCode.FAILED) from None
