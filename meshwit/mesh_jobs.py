"""Jobs from Python that the running peer of this device leads: it has the mesh, this process only waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from meshwit.lang.program import Program
from meshwit.parameters import ParameterError, bind_parameters, named_job
from meshwit.peer.blobs.store import BlobStore, user_folder
from meshwit.peer.control import submitting
from meshwit.peer.control.client import NoAnswerError, OtherVersionError, first_peer
from meshwit.peer.control.following import RunningPeers, WatchedJob
from meshwit.peer.control.job_client import ArgumentsRefusedError
from meshwit.plugins.discovery import installed

_log = logging.getLogger(__name__)


def start(program: Program, job: str | None, args: Sequence[object], params: Mapping[str, object]) -> WatchedJob | None:
    """Have the first running peer of this device lead a job; None where none runs that could.

    Args:
        program: compiled for the installed controllers.
        job: its name; the first one by default.
        args: values of its parameters by place.
        params: values by name.

    Raises:
        ParameterError: a parameter is missing, unknown or wrong, or there is no such job.
        ScriptError: the peer has other controllers than are installed here.
        PeerError: it refuses, or is gone before it has answered.
    """
    peer = first_peer()
    if peer is None:
        return None
    checked = named_job(program, job)
    blobs = BlobStore(user_folder())
    codec = installed().codec(blobs.wire_type())
    arguments = bind_parameters(checked, args, params, program.offer, blobs)
    try:
        asked = submitting.submission(program, checked.name, arguments, codec, roots=[Path.cwd()])
        return submitting.start(peer, asked, codec, submitting.Onlooker(RunningPeers(), _log.warning))
    except (NoAnswerError, OtherVersionError) as reason:
        _log.info("a peer of this process runs the job: %s", reason)
        return None
    except ArgumentsRefusedError as reason:
        raise ParameterError(reason.message) from None
