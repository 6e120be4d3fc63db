"""The engine: order, time, chance by name, and a hash that tells runs apart."""

from __future__ import annotations

import io

import pytest

from simulations.engine import Simulation, SimulationStuckError


def test_events_happen_by_time_and_then_as_planned():
    simulation, seen = Simulation(1), []
    simulation.at(2.0, seen.append, "late")
    for each in ("first", "second", "third"):
        simulation.at(1.0, seen.append, each)
    simulation.run(until=3.0)
    assert seen == ["first", "second", "third", "late"]
    assert simulation.now == 3.0


def test_nothing_past_the_end_happens_until_the_run_goes_on():
    simulation, seen = Simulation(1), []
    simulation.at(5.0, seen.append, 5)
    simulation.run(until=4.0)
    assert seen == []
    simulation.run(until=5.0)
    assert seen == [5]


def test_the_past_cannot_be_planned():
    simulation = Simulation(1)
    simulation.run(until=2.0)
    for time in (1.0, float("nan")):
        with pytest.raises(ValueError, match="nothing can be planned"):
            simulation.at(time, print)


def test_every_keeps_its_period():
    simulation, seen = Simulation(1), []
    simulation.every(0.5, lambda: seen.append(simulation.now))
    simulation.run(until=2.0)
    assert seen == [0.5, 1.0, 1.5, 2.0]


def test_what_plans_itself_without_time_moving_ends_the_run(monkeypatch):
    monkeypatch.setattr("simulations.engine.STANDSTILL_EVENTS_MAX", 100)
    simulation = Simulation(1)

    def again() -> None:
        simulation.after(0.0, again)

    simulation.after(1.0, again)
    with pytest.raises(SimulationStuckError):
        simulation.run(until=2.0)


def test_chance_is_by_seed_and_name_alone():
    one, other = Simulation(7), Simulation(7)
    other.rng("something else").random()
    assert one.rng("network").random() == other.rng("network").random()
    assert one.rng("network").random() != one.rng("peers").random()
    assert one.rng("network").random() != Simulation(8).rng("network").random()


def test_the_hash_stands_for_notes_and_times():
    def digest(*notes: tuple[float, str]) -> str:
        simulation = Simulation(1)
        for time, text in notes:
            simulation.at(time, simulation.note, text)
        simulation.run(until=9.0)
        return simulation.digest()

    assert digest((1.0, "a"), (2.0, "b")) == digest((1.0, "a"), (2.0, "b"))
    assert digest((1.0, "a"), (2.0, "b")) != digest((1.0, "a"), (2.5, "b"))
    assert digest((1.0, "a"), (2.0, "b")) != digest((1.0, "b"), (2.0, "a"))


def test_the_trace_can_be_read():
    written = io.StringIO()
    simulation = Simulation(1, written)
    simulation.at(1.5, simulation.note, "something happened")
    simulation.run(until=2.0)
    simulation.digest()
    assert written.getvalue() == "1.5 something happened\n"


def test_run_until_stops_at_its_condition_or_at_its_limit():
    simulation, seen = Simulation(1), []
    simulation.at(1.0, seen.append, 1)
    assert simulation.run_until(lambda: bool(seen), limit=5.0)
    assert 1.0 <= simulation.now < 1.1
    assert not simulation.run_until(lambda: len(seen) > 1, limit=5.0)
    assert simulation.now == 5.0
