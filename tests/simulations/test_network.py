"""The network: each of its faults does what it says, and the same seed gives the same run in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.engine import Simulation
from simulations.hosts import Conditions, DialFailure, Host
from simulations.network import Network
from simulations.streams import StreamEnd

ROOT = Path(__file__).parent.parent.parent
STEADY = Conditions(delay_s=0.01, jitter_s=0.0)


class Listener:
    """Remembers what it was told, and when."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.heard: list[tuple[float, str]] = []
        self.ends: list[StreamEnd] = []
        self.failures: list[DialFailure] = []

    def datagram_received(self, source: Host, payload: bytes) -> None:
        self.tell(f"{source.name}: {payload.decode()}")

    def stream_accepted(self, end: StreamEnd) -> None:
        self.ends.append(end)

    def stream_received(self, end: StreamEnd, payload: bytes) -> None:
        self.tell(f"stream: {payload.decode()}")

    def stream_closed(self, end: StreamEnd, reason: str) -> None:
        self.tell(f"ended: {reason}")

    def answered(self, what: StreamEnd | DialFailure) -> None:
        if isinstance(what, StreamEnd):
            self.ends.append(what)
            self.tell("dialed")
        else:
            self.failures.append(what)
            self.tell(what.value)

    def tell(self, text: str) -> None:
        self.heard.append((round(self.simulation.now, 6), text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.heard]


class Lab:
    """Some hosts with a listener each."""

    def __init__(self, count: int = 2, conditions: Conditions = STEADY, seed: int = 1) -> None:
        self.simulation = Simulation(seed)
        self.network = Network(self.simulation, conditions)
        self.hosts = [self.network.add_host(f"h{each}") for each in range(count)]
        self.listeners = [Listener(self.simulation) for _ in self.hosts]
        for host, listener in zip(self.hosts, self.listeners, strict=True):
            host.process = listener

    def send(self, text: str, source: int = 0, target: int = 1) -> None:
        self.network.send(self.hosts[source], self.hosts[target], text.encode())

    def dial(self, source: int = 0, target: int = 1, limit_s: float = 1.0) -> Listener:
        listener = self.listeners[source]
        self.network.dial(self.hosts[source], self.hosts[target], listener.answered, limit_s)
        return listener

    def connected(self) -> tuple[StreamEnd, StreamEnd]:
        self.dial()
        self.run(0.5)
        return self.listeners[0].ends[0], self.listeners[1].ends[0]

    def run(self, duration_s: float) -> None:
        self.simulation.run(self.simulation.now + duration_s)


# --- datagrams ---------------------------------------------------------------------------------------------------


def test_a_datagram_takes_its_delay_and_is_counted_with_its_headers():
    lab = Lab()
    lab.send("hello")
    lab.run(1)
    assert lab.listeners[1].heard == [(0.01, "h0: hello")]
    assert lab.hosts[0].traffic.bytes_out == lab.hosts[1].traffic.bytes_in == 5 + 28
    lab.network.send(lab.hosts[0], lab.hosts[1], b"sealed", size=100)
    assert lab.hosts[0].traffic.bytes_out == 33 + 128


@pytest.mark.parametrize(("loss", "low", "high"), [(0.05, 920, 975), (0.2, 760, 840)])
def test_loss_and_duplication_are_shares(loss, low, high):
    lab = Lab(conditions=Conditions(loss=loss))
    doubling = Lab(conditions=Conditions(duplication=loss))
    for each in range(1000):
        lab.send(str(each))
        doubling.send(str(each))
    lab.run(1)
    doubling.run(1)
    assert low < len(lab.listeners[1].heard) < high
    assert 1000 + low < 3000 - len(doubling.listeners[1].heard) < 1000 + high
    assert len(set(doubling.listeners[1].texts)) == 1000


def test_a_host_may_lose_more_than_its_way_does():
    lab = Lab()
    lab.hosts[1].loss = 1.0
    lab.send("lost")
    lab.run(1)
    assert lab.listeners[1].heard == []


def test_reordering_lets_later_datagrams_overtake():
    lab = Lab(conditions=Conditions(jitter_s=0.0, reordering=0.3))
    for each in range(100):
        lab.simulation.at(each / 1000, lab.send, f"{each:03}")
    lab.run(1)
    assert sorted(lab.listeners[1].texts) == [f"h0: {each:03}" for each in range(100)]
    assert lab.listeners[1].texts != sorted(lab.listeners[1].texts)


def test_a_slow_line_makes_datagrams_wait_for_each_other():
    lab = Lab(conditions=Conditions(delay_s=0.0, jitter_s=0.0, bytes_per_s=1000))
    for _ in range(3):
        lab.send("x" * 72)
    lab.run(1)
    assert [time for time, _ in lab.listeners[1].heard] == [0.1, 0.2, 0.3]


def test_a_cut_of_one_direction_leaves_the_other():
    lab = Lab()
    cut = lab.network.cut(lab.hosts[:1], lab.hosts[1:], one_way=True)
    lab.send("blocked")
    lab.send("passes", 1, 0)
    lab.run(1)
    assert (lab.listeners[0].texts, lab.listeners[1].texts) == (["h1: passes"], [])
    lab.network.heal(cut)
    lab.send("again")
    lab.run(1)
    assert lab.listeners[1].texts == ["h0: again"]


def test_sites_have_ways_of_their_own():
    lab = Lab(3)
    lab.hosts[2].site = "far"
    lab.network.connect_sites("", "far", Conditions(delay_s=0.2, jitter_s=0.0))
    lab.send("near", 0, 1)
    lab.send("far", 0, 2)
    lab.run(1)
    assert [lab.listeners[each].heard[0][0] for each in (1, 2)] == [0.01, 0.2]


def test_what_reaches_a_frozen_process_waits_and_what_reaches_an_unplugged_host_is_gone():
    lab = Lab(3)
    lab.network.freeze(lab.hosts[1], 5.0)
    lab.network.unplug(lab.hosts[2])
    lab.send("waits", 0, 1)
    lab.send("gone", 0, 2)
    lab.run(10)
    lab.network.plug(lab.hosts[2])
    lab.run(1)
    assert lab.listeners[1].heard == [(5.0, "h0: waits")]
    assert lab.listeners[2].heard == []


# --- dials and streams -------------------------------------------------------------------------------------------


def test_a_dial_takes_two_round_trips():
    lab = Lab()
    assert lab.dial().heard == []
    lab.run(1)
    assert lab.listeners[0].heard == [(0.04, "dialed")]
    assert len(lab.listeners[1].ends) == 1


def test_a_dial_is_refused_where_nobody_listens_and_unanswered_where_nobody_is():
    lab = Lab(4)
    lab.network.kill(lab.hosts[1])
    lab.network.unplug(lab.hosts[2])
    lab.network.freeze(lab.hosts[3], 9.0)
    for target in (1, 2, 3):
        lab.dial(0, target)
    lab.run(5)
    assert lab.listeners[0].heard == [(0.02, "refused"), (1.0, "unreachable"), (1.0, "unreachable")]


def test_a_dial_over_a_way_that_is_cut_is_tried_again_until_its_limit():
    lab = Lab(conditions=STEADY)
    cut = lab.network.cut([lab.hosts[0]], [lab.hosts[1]])
    listener = lab.dial(limit_s=8.0)
    lab.run(1.5)
    lab.network.heal(cut)
    lab.run(8)
    assert listener.heard == [(3.04, "dialed")]


def test_a_dial_of_a_process_that_is_gone_is_answered_to_nobody():
    lab = Lab()
    listener = lab.dial()
    lab.network.kill(lab.hosts[0])
    lab.run(2)
    assert listener.heard == []


def test_a_stream_keeps_its_order_and_loses_nothing():
    lab = Lab(conditions=Conditions(loss=0.3, jitter_s=0.02))
    lab.dial(limit_s=60.0)
    lab.run(60)
    end = lab.listeners[0].ends[0]
    for each in range(200):
        lab.simulation.after(each / 100, end.send, b"%d" % each)
    lab.run(300)
    assert lab.listeners[1].texts == [f"stream: {each}" for each in range(200)]


def test_a_killed_process_closes_its_streams_at_once():
    lab = Lab()
    ours, theirs = lab.connected()
    ours.send(b"last words")
    lab.network.kill(lab.hosts[0])
    lab.run(0.5)
    assert lab.listeners[1].texts == ["stream: last words", "ended: closed"]
    assert not theirs.open
    assert not ours.send(b"from the grave")
    assert lab.hosts[1].ends == {}


def test_a_pulled_cable_tells_nobody_and_a_short_stall_is_made_up_for():
    lab = Lab()
    ours, _ = lab.connected()
    lab.network.unplug(lab.hosts[1])
    ours.send(b"one")
    lab.run(3)
    assert lab.listeners[1].texts == []
    assert ours.open
    lab.network.plug(lab.hosts[1])
    lab.run(4)
    assert lab.listeners[1].texts == ["stream: one"]


def test_a_stream_that_stalls_for_a_quarter_of_an_hour_is_given_up():
    lab = Lab()
    ours, _ = lab.connected()
    lab.network.unplug(lab.hosts[1])
    ours.send(b"one")
    lab.run(1200)
    assert lab.listeners[0].texts == ["dialed", "ended: timeout"]


def test_a_dropped_end_is_told_to_the_other_when_it_sends():
    lab = Lab()
    ours, theirs = lab.connected()
    ours.drop()
    lab.run(1)
    assert theirs.open
    theirs.send(b"are you there")
    lab.run(1)
    assert lab.listeners[1].texts == ["ended: closed"]


def test_a_stream_has_a_limit_on_what_waits(monkeypatch):
    monkeypatch.setattr("simulations.streams.QUEUED_BYTES_MAX", 10)
    lab = Lab()
    ours, _ = lab.connected()
    lab.network.unplug(lab.hosts[1])
    assert ours.send(b"12345678")
    assert not ours.send(b"12345678")


# --- the same run twice ------------------------------------------------------------------------------------------


def chatter(seed: int) -> str:
    """The hash of a busy minute with faults of all kinds."""
    lab = Lab(6, Conditions(loss=0.1, duplication=0.1, reordering=0.1), seed)
    rng = lab.simulation.rng("chatter")

    def talk() -> None:
        source, target = rng.sample(range(6), 2)
        lab.send("hello", source, target)
        if rng.random() < 0.1:
            lab.dial(source, target)
        for end in list(lab.hosts[source].ends):
            end.send(b"more")

    lab.simulation.every(0.05, talk)
    lab.simulation.at(10.0, lab.network.unplug, lab.hosts[0])
    lab.simulation.at(20.0, lab.network.kill, lab.hosts[1])
    lab.simulation.at(30.0, lab.network.freeze, lab.hosts[2], 5.0)
    lab.simulation.at(40.0, lab.network.cut, lab.hosts[:3], lab.hosts[3:])
    lab.simulation.run(until=60.0)
    return lab.simulation.digest()


def test_the_same_seed_is_the_same_run_and_another_is_another():
    assert chatter(1) == chatter(1)
    assert len({chatter(seed) for seed in range(5)}) == 5


def test_the_run_does_not_depend_on_how_python_hashes():
    command = [sys.executable, "-c", "from tests.simulations.test_network import chatter; print(chatter(3))"]
    digests = {
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {chatter(3)}
