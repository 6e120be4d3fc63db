"""Activity rates: which are needed, how many calls make one, where they are kept, what others are told."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import meshwit
from meshwit.peer import rates
from meshwit.peer.rates import (
    CALLS_MAX,
    ENOUGH_S,
    FILE,
    LONG_S,
    RATES_MAX,
    Benchmark,
    Rate,
    RateBook,
    RateError,
    Trial,
    benchmark_of,
    controller_versions,
    decode_rates,
    encode_rates,
    has_benchmark,
    rate_of,
    rates_needed,
)
from meshwit.plugins import Controller, Int, String, activity, requires_memory
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Special
from meshwit.plugins.variables import Variables
from meshwit.records import RECORD_BYTES_MAX

GIB = 2**30


def broken():
    raise ZeroDivisionError("no arguments")


class Bench(Controller):
    """Has benchmarks."""

    @activity(aliases=("Bench.Go",), work=lambda frames: 10.0 * frames, benchmark=lambda: [24])
    def Run(self, frames: Int) -> Int:
        """Estimates its work."""
        return frames

    @activity(benchmark=lambda: ["text"])
    def Read(self, text: String) -> Int:
        """Does not."""
        return len(text)

    @activity(work=lambda number: 1 / 0, benchmark=lambda: [0])
    def Odd(self, number: Int) -> Int:
        """Has an estimate that fails."""
        return number

    @activity(benchmark=broken)
    def Broken(self, number: Int) -> Int:
        """Has a benchmark that fails."""
        return number

    @requires_memory("8GiB")
    @activity(benchmark=lambda: [1])
    def Heavy(self, number: Int) -> Int:
        """Not for every device."""
        return number

    @activity
    def Plain(self, number: Int) -> Int:
        """Has none."""
        return number


class Absent(Controller):
    """Cannot run here."""

    modules = ("no_such_module_at_all",)

    @activity(benchmark=lambda: [1])
    def Run(self, number: Int) -> Int:
        """Cannot run."""
        return number


REGISTRY = Registry([Variables(), Special(), Bench(), Absent()])
REFERENCE = REGISTRY.offer.activities["Bench.Run"].controller
VERSIONS = {REFERENCE: "1.0"}
SMALL = {"memory": 4 * GIB}


def a_rate(name="Bench.Run", version="1.0", per_s=5.0, at=1.0):
    return Rate(name, version, per_s, "tasks/s", at)


# --- benchmarks ------------------------------------------------------------------------------------------------


def test_the_benchmark_of_an_activity():
    assert benchmark_of(REGISTRY, "Bench.Run") == Benchmark("Bench.Run", 0, (24,), 240.0)
    assert benchmark_of(REGISTRY, "Bench.Go") == Benchmark("Bench.Run", 0, (24,), 240.0)
    assert benchmark_of(REGISTRY, "Bench.Read") == Benchmark("Bench.Read", 0, ("text",), None)
    assert benchmark_of(REGISTRY, "Bench.Odd") == Benchmark("Bench.Odd", 0, (0,), None)
    assert benchmark_of(REGISTRY, "Bench.Plain") is None
    assert benchmark_of(REGISTRY, "While") is None
    assert benchmark_of(REGISTRY, "Nobody.Has") is None


def test_a_benchmark_that_cannot_be_made_says_why():
    with pytest.raises(RateError, match=r"`Bench\.Broken` cannot be made: ZeroDivisionError: no arguments"):
        benchmark_of(REGISTRY, "Bench.Broken")


def test_a_rate_counts_work_where_it_is_estimated_and_calls_where_not():
    assert Benchmark("A", 0, (), 240.0).rate(2.0, "1", 9.0) == Rate("A", "1", 120.0, "work/s", 9.0)
    assert Benchmark("A", 0, (), None).rate(2.0, "1", 9.0) == Rate("A", "1", 0.5, "tasks/s", 9.0)


# --- how many calls --------------------------------------------------------------------------------------------


def calls_of(*seconds):
    """Run a benchmark whose calls take so long, the last for ever; the rate per second, and how many were made."""
    made = []

    def run(activity, arguments):
        assert (activity, arguments) == ("Bench.Read", ("text",))
        made.append(seconds[min(len(made), len(seconds) - 1)])
        return made[-1]

    rate = rate_of(benchmark_of(REGISTRY, "Bench.Read"), "1.0", run, clock=lambda: 7.0)
    assert (rate.activity, rate.version, rate.unit, rate.measured_at) == ("Bench.Read", "1.0", "tasks/s", 7.0)
    return rate.per_s, len(made)


def test_the_first_call_warms_up():
    per_s, made = calls_of(1.0, 0.1)
    assert per_s == pytest.approx(10)
    assert made == 1 + round(ENOUGH_S / 0.1)


def test_a_long_first_call_is_the_measurement():
    assert calls_of(LONG_S, 1.0) == (1 / LONG_S, 1)


def test_a_call_of_no_time_is_made_often_but_not_for_ever():
    per_s, made = calls_of(0.0)
    assert made == 1 + CALLS_MAX
    assert per_s > 1e6


def test_one_slow_call_does_not_count():
    per_s, _ = calls_of(0.1, 0.05, 0.05, 0.3, 0.05)
    assert per_s == pytest.approx(20)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_every_trial_ends(seconds):
    trial, at = Trial(), 0
    while count := trial.wants():
        for _ in range(count):
            trial.took(seconds[at % len(seconds)])
            at += 1
    assert 1 <= at <= 1 + CALLS_MAX


# --- which are needed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "known", "needed"),
    [
        (["Bench.Run", "Bench.Read"], [], ["Bench.Run", "Bench.Read"]),
        (["Bench.Go", "Bench.Run"], [], ["Bench.Run"]),
        (["Bench.Run"], [a_rate()], []),
        (["Bench.Run"], [a_rate(version="0.9")], ["Bench.Run"]),
        (["Bench.Plain", "While", "Nobody.Has", "Absent.Run"], [], []),
        (["Bench.Heavy"], [], []),
    ],
)
def test_which_benchmarks_are_needed(names, known, needed):
    by_name = {rate.activity: rate for rate in known}
    assert rates_needed(REGISTRY, names, by_name, VERSIONS, SMALL) == needed


def test_what_this_device_can_run_is_measured():
    assert rates_needed(REGISTRY, ["Bench.Heavy"], {}, VERSIONS, {"memory": 8 * GIB}) == ["Bench.Heavy"]
    assert has_benchmark(REGISTRY, "Bench.Go")
    assert not has_benchmark(REGISTRY, "Bench.Plain")


def test_controllers_have_versions():
    assert set(controller_versions(REGISTRY)) == set(REGISTRY.controllers)
    own = REGISTRY.offer.activities["NewGuid"].controller
    assert controller_versions(REGISTRY)[own] == meshwit.__version__


def test_a_controller_has_the_version_of_its_distribution(monkeypatch):
    """Also where the entry point names it in another module than the one that defines it."""
    package = Bench.__module__.partition(".")[0]
    point = SimpleNamespace(value=f"{package}:Bench", dist=SimpleNamespace(version="3.2.1"))
    monkeypatch.setattr(rates.importlib.metadata, "entry_points", lambda group: [point])
    assert controller_versions(REGISTRY)[REFERENCE] == "3.2.1"


# --- the book --------------------------------------------------------------------------------------------------


def test_rates_are_kept_by_hardware(tmp_path):
    book = RateBook(tmp_path, "here", REGISTRY)
    assert book.needed(["Bench.Run"], SMALL) == ["Bench.Run"]
    rate = a_rate(version=book.version_of("Bench.Go"))
    book.add(rate)
    assert book.needed(["Bench.Run"], SMALL) == []
    assert RateBook(tmp_path, "here", REGISTRY).rates == {"Bench.Run": rate}
    assert RateBook(tmp_path, "there", REGISTRY).rates == {}


def test_two_peers_of_one_device_keep_their_rates_together(tmp_path):
    one, other = (RateBook(tmp_path, "here", REGISTRY) for _ in range(2))
    version = one.version_of("Bench.Run")
    one.add(a_rate("Bench.Run", version))
    other.add(a_rate("Bench.Read", version))
    RateBook(tmp_path, "there", REGISTRY).add(a_rate("Bench.Odd", version))
    assert set(RateBook(tmp_path, "here", REGISTRY).rates) == {"Bench.Run", "Bench.Read"}


def test_a_rate_of_another_version_says_nothing(tmp_path):
    RateBook(tmp_path, "here", REGISTRY).add(a_rate(version="0.0.1"))
    assert RateBook(tmp_path, "here", REGISTRY).rates == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"here": [{}]}', b"[" * 100_000], ids=range(6))
def test_a_broken_file_is_empty(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    book = RateBook(tmp_path, "here", REGISTRY)
    assert book.rates == {}
    book.add(a_rate(version=book.version_of("Bench.Run")))
    assert set(RateBook(tmp_path, "here", REGISTRY).rates) == {"Bench.Run"}


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path):
    (tmp_path / "file").touch()
    book = RateBook(tmp_path / "file", "here", REGISTRY)
    book.add(a_rate())
    assert set(book.rates) == {"Bench.Run"}


def test_the_file_does_not_grow_without_end(tmp_path):
    for number in range(20):
        RateBook(tmp_path, f"f{number}", REGISTRY).add(a_rate())
    kept = msgspec.json.decode((tmp_path / FILE).read_bytes())
    assert list(kept) == [f"f{number}" for number in range(12, 20)]


# --- gossip ----------------------------------------------------------------------------------------------------


def test_rates_in_gossip():
    told = encode_rates([a_rate(), Rate("Bench.Read", "1", 2e6, "work/s", 2.0)])
    assert decode_rates(told) == {"Bench.Run": (5.0, "tasks/s"), "Bench.Read": (2e6, "work/s")}
    assert decode_rates(encode_rates([])) == {}


def test_many_rates_fit_into_a_record_the_newest_first():
    told = [a_rate(f"Bench.{'x' * 100}{number:03d}", at=float(number)) for number in range(2 * RATES_MAX)]
    payload = encode_rates(told)
    assert len(payload) <= RECORD_BYTES_MAX
    known = decode_rates(payload)
    assert told[-1].activity in known
    assert told[0].activity not in known


@pytest.mark.parametrize(
    "said",
    [None, [], {"A": 5.0}, {"A": [5.0]}, {"A": [5.0, "miles/s"]}, {"A": ["x", "work/s"]}, {1: [5.0, "work/s"]}],
)
def test_what_cannot_be_read_is_nothing(said):
    assert decode_rates(msgspec.msgpack.encode(said)) == {}


def test_what_cannot_be_so_is_left_out():
    said = {"A": (5.0, "work/s"), "B": (-1.0, "work/s"), "C": (float("inf"), "work/s"), "D": (float("nan"), "work/s"),
            "": (1.0, "work/s"), "E" * 1000: (1.0, "work/s")}  # fmt: skip
    assert decode_rates(msgspec.msgpack.encode(said)) == {"A": (5.0, "work/s")}
    many = {f"A{number}": (1.0, "work/s") for number in range(3 * RATES_MAX)}
    assert len(decode_rates(msgspec.msgpack.encode(many))) == RATES_MAX


@given(st.binary())
def test_no_bytes_from_others_raise(payload):
    decode_rates(payload)
