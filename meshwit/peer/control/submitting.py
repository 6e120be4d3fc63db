"""Jobs that a running peer of this device leads: given to it, left to it, planned by it, followed again.

Both the command line and Python ask through here. Which peer is asked, what is done where none can, and how a job's
parameters are bound is theirs; what they ask for is a `Submit`, made by `submission`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from meshwit.codec import Codec, CodecError
from meshwit.lang.program import Program
from meshwit.peer.control import job_client
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.following import FindClient, WatchedJob
from meshwit.peer.control.job_messages import Attach, Plan, Submit


class Onlooker(msgspec.Struct, frozen=True):
    """Who looks on while a job runs, and how it is found again.

    Attributes:
        find_client: gives peers that may know the job, once the one that told of it is gone.
        say: tells the person about that search.
        on_event: see `RemoteJob`, as `on_not_done`.
    """

    find_client: FindClient
    say: Callable[[str], None]
    on_event: job_client.OnEvent | None = None
    on_not_done: job_client.OnNotDone | None = None


def submission(program: Program, job: str, arguments: Sequence[object], codec: Codec, **more: Any) -> Submit:
    """What is asked for: a job of a program. `arguments` are bound already, `more` as `asked_of` takes it.

    Raises:
        ArgumentsRefusedError: an argument cannot cross.
    """
    try:
        return job_client.asked_of(
            Submit, text=program.text, filename=program.filename, job=job, arguments=arguments, codec=codec, **more
        )  # fmt: skip
    except CodecError as reason:
        raise job_client.ArgumentsRefusedError(str(reason)) from None


def start(client: ControlClient, asked: Submit, codec: Codec, onlooker: Onlooker) -> WatchedJob:
    """The job, led by that peer and followed wherever it goes. Raises what `start_job` raises."""
    started = job_client.start_job(client, asked, codec, onlooker.on_event, onlooker.on_not_done)
    return _followed(started, asked.only, codec, onlooker)


def leave(client: ControlClient, asked: Submit, codec: Codec) -> str:
    """The id of the job, which that peer leads and nobody follows. Raises what `start_job` raises."""
    with job_client.start_job(client, asked, codec) as started:
        return started.id


def plan(client: ControlClient, asked: Submit) -> list[str]:
    """How that peer would share the job out, for people. Raises what `start_job` raises."""
    return job_client.plan_job(client, Plan(**{name: getattr(asked, name) for name in Plan.__struct_fields__}))


def attach(
    client: ControlClient, job: str, codec: Codec, onlooker: Onlooker, only: list[str] | None = None
) -> WatchedJob:
    """A job of the mesh, by its id, told by that peer first. Raises what `attach_job` raises."""
    return _followed(_attached(client, Attach(job=job, only=only), codec, onlooker), only, codec, onlooker)


def _attached(client: ControlClient, asked: Attach, codec: Codec, onlooker: Onlooker) -> job_client.RemoteJob:
    return job_client.attach_job(client, asked, codec, onlooker.on_event, onlooker.on_not_done)


def _followed(job: job_client.RemoteJob, only: list[str] | None, codec: Codec, onlooker: Onlooker) -> WatchedJob:
    asked = Attach(job=job.id, only=only)
    return WatchedJob(job, lambda client: _attached(client, asked, codec, onlooker), onlooker.find_client, onlooker.say)
