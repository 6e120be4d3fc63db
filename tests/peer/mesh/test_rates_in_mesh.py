"""Rates and scores in a mesh of whole peers: what one knows of itself all hear, what one needs all measure."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import psutil
import pytest

from meshwit.bench import cache
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured
from meshwit.peer.control.api import PeerError, PeerView
from meshwit.peer.control.client import ControlClient
from meshwit.peer.control.notice import Notice
from meshwit.peer.control.runtime_file import read
from meshwit.peer.mesh import measuring, parts
from tests.peer.mesh import small_peers
from tests.peer.mesh.small_peers import alone_on_this_device, founded, in_a_lab

MEASURABLE = "GustavsonMultiply"


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    alone_on_this_device(monkeypatch, tmp_path)
    monkeypatch.setattr(measuring, "BUSY_PATIENCE_S", 0.0)
    monkeypatch.setattr(small_peers, "LIMIT_S", 90.0)
    monkeypatch.setattr(small_peers, "PATIENCE_S", 60.0)


def view(device, name) -> PeerView:
    return next((one for one in device.peer.peers() if one.name == name), PeerView())


def benchmarks():
    """Processes that measure for this one."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            found += [process] if "meshwit.peer.rate_process" in process.cmdline() else []
    return found


def test_what_one_peer_needs_all_measure_and_all_know(tmp_path):
    """A need told to one becomes a rate of each; on one device, only one of them measures."""

    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        await first.peer.need([MEASURABLE, "NoSuchActivity", "NewGuid"])
        for device in (first, second):
            for name in ("ada", "bob"):
                await lab.until(lambda d=device, n=name: MEASURABLE in view(d, n).rates, f"the rate of {name}")
        rates = view(second, "ada").rates
        assert list(rates) == [MEASURABLE] and rates[MEASURABLE].endswith("work/s")
        assert rates == view(second, "bob").rates, "each measured for itself"

    in_a_lab(tmp_path, test)


def test_one_word_from_a_command_suffices(tmp_path):
    """As `meshwit run` says it, over the control API: nobody waits for the measuring."""

    async def test(lab):
        device = await founded(lab, "ada")
        notice = await asyncio.to_thread(Notice, [MEASURABLE], device.home)
        assert notice.is_sent
        await lab.until(lambda: MEASURABLE in view(device, "ada").rates, "it is measured")

    in_a_lab(tmp_path, test)


def test_a_rate_that_is_known_is_told_at_the_start(tmp_path):
    """A peer that starts again tells what its device knows; asked for it, it does not measure again."""

    async def test(lab):
        device = await founded(lab, "ada")
        measured = await device.peer.rate(MEASURABLE, True)
        assert measured.per_s > 0 and measured.unit == "work/s"
        with pytest.raises(PeerError, match="no activity `Nix`"):
            await device.peer.rate("Nix", True)
        await device.down()
        await device.up()
        await lab.until(lambda: MEASURABLE in view(device, "ada").rates, "it is told")
        assert await device.peer.rate(MEASURABLE, False) == measured

    in_a_lab(tmp_path, test)


def test_a_need_heard_late_is_still_heard(tmp_path):
    """A peer that comes to a mesh in which a job runs learns what the job uses."""

    async def test(lab):
        first = await founded(lab, "ada", open=True)
        await first.peer.need([MEASURABLE])
        await lab.until(lambda: MEASURABLE in view(first, "ada").rates, "ada has measured")
        await lab.device("bob").up(first, open=True)
        await lab.until(lambda: MEASURABLE in view(first, "bob").rates, "bob too")

    in_a_lab(tmp_path, test)


def test_a_peer_that_stops_ends_the_benchmark_that_runs(tmp_path):
    """Nothing of it is left behind."""

    async def test(lab):
        device = await founded(lab, "ada")
        await device.peer.need([MEASURABLE])
        await lab.until(benchmarks, "it measures")
        await device.cancel()
        assert not benchmarks()

    in_a_lab(tmp_path, test)


def test_a_device_that_rests_measures_nothing_and_says_why(tmp_path, monkeypatch):
    """Its owner asked to be spared. All see the reason, and no part of the work is counted on; later it goes on."""
    resting = ["it runs on battery (42%)"]
    looks = []

    def may_work(when, load):
        looks.append(load)
        return resting[0] if when == "plugged-in" else ""

    for module in (parts, measuring):
        monkeypatch.setattr(module, "may_work", may_work)  # the machine of the test may have no battery
    monkeypatch.setattr(parts, "LOOK_EVERY_S", 0.02)

    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True, when="plugged-in")
        await lab.until(lambda: view(first, "bob").note.startswith(resting[0]), "ada knows why bob rests")
        bob = view(first, "bob")
        assert (bob.free_slots, bob.share) == (0, 0.0) and bob.slots > 0
        await lab.until(lambda: view(first, "ada").share == 1.0, "ada does it all")
        await second.peer.need([MEASURABLE])
        await lab.until(lambda: MEASURABLE in view(second, "ada").rates, "ada measures what bob's job needs")
        seen = len(looks)
        await lab.until(lambda: len(looks) > seen + 20, "bob has looked often enough to begin")
        assert not view(second, "bob").rates
        resting[0] = ""
        await lab.until(lambda: MEASURABLE in view(first, "bob").rates, "bob too, once it may")
        await lab.until(lambda: view(first, "bob").free_slots == view(first, "bob").slots, "bob works")
        assert "battery" not in view(first, "bob").note

    in_a_lab(tmp_path, test)


def test_old_scores_are_measured_again_when_the_device_is_idle(tmp_path, monkeypatch):
    """In the background, and all hear the new ones."""
    looked = []

    def scores(folder, refresh):
        looked.append(refresh)
        if refresh:
            write(700.0, time.time())
        return cache.scores(folder)

    def write(all_per_s, at):
        measured = Measured(350.0, all_per_s, 20.0, 1000.0, 0.0, 2, at, 1.0)
        content = msgspec.json.encode({hardware().fingerprint: [measured]})
        cache.write_whole(cache.default_folder() / cache.FILE, content)

    monkeypatch.setattr(measuring, "scores", scores)  # which takes seconds of all cores
    monkeypatch.setattr(measuring, "REFRESH_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(measuring, "IDLE_LOOKS", 1)
    monkeypatch.setattr(measuring, "is_idle", lambda load: True)  # whatever else this machine does
    write(400.0, time.time() - 2 * cache.REFRESH_AFTER_S)

    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until(lambda: view(first, "bob").score == view(second, "ada").score == 35.0, "the new scores")
        assert looked.count(True) == 1, "each measured for itself"

    in_a_lab(tmp_path, test)


def test_the_control_api_measures_and_takes_needs(tmp_path):
    """Through HTTP, as the command line asks."""

    async def test(lab):
        device = await founded(lab, "ada")
        folder = device.home / "peers" / "1"
        runtime = read(folder)
        assert runtime is not None
        client = ControlClient(folder, runtime)
        rate = await asyncio.to_thread(client.rate, MEASURABLE)
        assert rate.activity == MEASURABLE and rate.per_s > 0
        assert await asyncio.to_thread(client.rate, MEASURABLE, refresh=False) == rate
        await asyncio.to_thread(client.need, [MEASURABLE])
        with pytest.raises(PeerError, match="has no benchmark"):
            await asyncio.to_thread(client.rate, "NewGuid")

    in_a_lab(tmp_path, test)
