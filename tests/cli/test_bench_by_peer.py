"""`meshwit bench` where a peer runs: that one measures and tells the mesh, the output is the same."""

from __future__ import annotations

import json

import msgspec
import pytest
from typer.testing import CliRunner

from meshwit.bench import cache
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import CLASSES, Measured
from meshwit.cli import bench as module
from meshwit.cli.exit_codes import CommandError
from meshwit.peer.control.api import PeerError, PeerView
from tests.fake_peer import DEN, FakePeer, ServedPeer

KNOWN = Measured(500.0, 1000.0, 20.0, 1000.0, 0.0, 4, 1.7e9, 2.0)
BETTER = msgspec.structs.replace(KNOWN, all_per_s=2000.0, measured_at=1.7e9 + 60)


class Measuring(FakePeer):
    """Writes what it measures into the cache, as a peer of this user does."""

    def __init__(self, folder) -> None:
        super().__init__()
        self.folder = folder
        self.fails = ""

    async def bench(self) -> PeerView:
        self.asked.append("bench")
        if self.fails:
            raise PeerError(self.fails, "try later")
        if self.folder is not None:
            write(self.folder, KNOWN, BETTER)
        return DEN


def write(folder, *history):
    cache.write_whole(folder / cache.FILE, msgspec.json.encode({hardware().fingerprint: list(history)}))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache in which this device was measured before; measuring here instead fails the test."""
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "default_folder", lambda: tmp_path)
    write(tmp_path, KNOWN)
    return tmp_path


@pytest.fixture
def peer(folder):
    running = Measuring(folder)
    with ServedPeer(folder / "home", running):
        yield running


def bench(*arguments):
    return CliRunner().invoke(module.app, arguments)


def test_the_peer_measures_and_the_output_is_that_of_a_measurement(peer):
    done = bench()

    assert peer.asked == ["bench"]
    assert "score 100:" in done.stdout
    assert done.stderr.splitlines() == [f"measured {name}" for name in CLASSES]


def test_in_json_nothing_differs_from_a_measurement_here(peer):
    found = json.loads(bench("--json").stdout)

    assert (found["score"], found["cached"], found["measured_at"]) == (100.0, False, BETTER.measured_at)


def test_what_is_known_needs_no_peer(peer):
    assert json.loads(bench("--cached", "--json").stdout)["score"] == 50.0
    assert peer.asked == []


def test_what_is_not_known_yet_the_peer_measures(peer, folder):
    (folder / cache.FILE).unlink()

    assert json.loads(bench("--cached", "--json").stdout)["score"] == 100.0
    assert peer.asked == ["bench"]


def test_a_peer_that_keeps_its_measurements_elsewhere_leaves_it_to_us(peer, folder, monkeypatch):
    """It was started in another environment."""
    peer.folder = None
    monkeypatch.setattr(module, "scores", lambda folder, refresh, live, *, fingerprint: cache.scores(folder))

    assert json.loads(bench("--json").stdout)["score"] == 50.0


def test_what_the_peer_refuses_is_told(peer):
    peer.fails = "the peer is stopping"
    error = bench().exception

    assert isinstance(error, CommandError)
    assert (error.message, error.hint) == ("the peer is stopping", "try later")


def test_the_rate_of_an_activity_comes_from_the_peer_too(peer):
    done = bench("--activity", "GustavsonMultiply", "--json")

    assert json.loads(done.stdout) == {
        "activity": "GustavsonMultiply", "rate": 520.5, "unit": "work/s", "version": "0.1.0", "measured_at": 1.7e9,
    }  # fmt: skip
    assert bench("--activity", "GustavsonMultiply").stdout == "GustavsonMultiply  520 work/s  by one worker process\n"
    assert peer.asked == ["rate GustavsonMultiply now"] * 2


def test_why_the_peer_has_no_rate_is_told(peer, monkeypatch):
    async def fails(activity, refresh):
        raise PeerError("the benchmark took too long")

    monkeypatch.setattr(peer, "rate", fails)
    error = bench("--activity", "GustavsonMultiply").exception

    assert isinstance(error, CommandError)
    assert error.message == "the benchmark took too long"
