"""`meshwit run` tells the peer of this device what its job uses, and runs as ever where that is of no use."""

from __future__ import annotations

import pytest

from meshwit.cli.exit_codes import ExitCode
from meshwit.cli.run import run_script
from meshwit.cli.run_options import RunOptions
from meshwit.peer.control import notice
from tests.fake_peer import FakePeer, ServedPeer

SCRIPT = """
Job:Main()
{
    String:text = Text.Join("-", ["a", "b"]);
}

Job:Other()
{
    Int:number = 1 + 2;
}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run("Main")` runs that job."""
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(notice, "LIMIT_S", 20.0)  # however slow this machine is
    script = tmp_path / "job.wit"
    script.write_text(SCRIPT)
    options = RunOptions(
        script=str(script), job="", params=None, only=(), out=tmp_path, as_json=False, watch=False, quiet=True,
        workers=1, roots=(tmp_path,), time_limit_s=None, memory_limit_bytes=None, arguments=(),
    )  # fmt: skip
    return lambda job: run_script(options._replace(job=job))


def test_the_peer_of_this_device_hears_what_the_job_uses(run, tmp_path):
    peer = FakePeer()
    with ServedPeer(tmp_path / "home", peer):
        assert run("Main") is ExitCode.COMPLETED
        assert run("Other") is ExitCode.COMPLETED

    assert peer.asked == ["need Text.Join"]


def test_without_one_the_job_runs(run):
    assert run("Main") is ExitCode.COMPLETED


def test_a_peer_that_refuses_is_no_hindrance(run, tmp_path, monkeypatch):
    peer = FakePeer()

    async def fails(activities):
        raise ZeroDivisionError("as a bug would")

    monkeypatch.setattr(peer, "need", fails)
    with ServedPeer(tmp_path / "home", peer):
        assert run("Main") is ExitCode.COMPLETED
