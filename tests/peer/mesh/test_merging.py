"""Meshes that were made at the same time become one: everybody goes in the same direction, and nobody for no reason."""

from __future__ import annotations

import random

from meshwit.peer.mesh.merging import GATHER_S, GIVE_WAY_S, NEW_S, PAUSES_S, STRANGERS_MAX, Strangers
from meshwit.peer.mesh.sightings import Sighting

LOW, MIDDLE, HIGH = (f"{digit}" * 20 for digit in "159")


def near(*hashes: str, at: float = 0.0) -> Strangers:
    strangers = Strangers()
    for each in hashes:
        strangers.seen(sighting(each), at)
    return strangers


def sighting(mesh_hash: str, port: int = 7946) -> Sighting:
    return Sighting(mesh_hash, (("10.0.0.1", port),), port, "0" * 32)


def choice(strangers: Strangers, now: float, *, alone: bool = False, new: bool = False, own: str = MIDDLE) -> str:
    found = strangers.better(own, now, alone=alone, new=new)
    return found.mesh_hash if found else ""


def test_one_that_is_alone_goes_to_the_lowest_once_it_has_looked_around():
    strangers = near(LOW)
    strangers.seen(sighting("3" * 20), 0.0)
    assert choice(strangers, GATHER_S / 2, alone=True) == ""
    assert choice(strangers, GATHER_S, alone=True) == LOW


def test_one_that_is_alone_gives_way_to_a_higher_one_only_if_that_does_not():
    strangers = near(HIGH)
    assert choice(strangers, GIVE_WAY_S - 0.1, alone=True) == ""
    assert choice(strangers, GIVE_WAY_S, alone=True) == HIGH


def test_several_go_over_together_from_a_new_mesh_and_only_downwards():
    assert choice(near(LOW, HIGH), 10.0, new=True) == LOW
    assert choice(near(HIGH), 10.0, new=True) == ""


def test_a_mesh_of_several_that_stands_for_long_stays():
    assert choice(near(LOW, HIGH), 10.0) == ""


def test_who_was_not_let_in_tries_the_next_and_that_one_again_later_and_later():
    strangers = near(LOW, "2" * 20)
    strangers.refused(LOW, 1.0)
    assert choice(strangers, 1.0, new=True) == "2" * 20
    now = 1.0
    for _ in range(10):
        strangers.refused("2" * 20, now)
        strangers.refused(LOW, now)
        assert choice(strangers, now, new=True) == ""
        now += PAUSES_S[1]
    assert choice(strangers, now, new=True) == LOW


def test_the_last_that_was_seen_of_a_mesh_is_asked():
    strangers = near(LOW)
    strangers.seen(sighting(LOW, 7950), 5.0)
    assert strangers.better(MIDDLE, 5.0, alone=True, new=False) == sighting(LOW, 7950)


def test_a_flood_of_invented_meshes_takes_no_more_than_its_place():
    strangers = near(*(f"{number:020x}" for number in range(1000)))
    assert len(strangers.sightings) == STRANGERS_MAX


def test_however_devices_meet_they_end_in_one_mesh():
    """Each sees each other some time; nobody stays behind, whatever the order."""
    for seed in range(50):
        rng = random.Random(seed)
        where = {peer: f"{rng.randrange(16**20):020x}" for peer in range(10)}
        seen = {peer: Strangers() for peer in where}
        now = 0.0
        while len(set(where.values())) > 1:
            now += 0.2 * rng.random()
            assert now < NEW_S
            one, other = rng.sample(sorted(where), 2)
            if where[one] != where[other]:
                seen[one].seen(sighting(where[other]), now)
            alone = list(where.values()).count(where[one]) == 1
            better = seen[one].better(where[one], now, alone=alone, new=not alone)
            if better is not None and better.mesh_hash in where.values():
                where[one] = better.mesh_hash
            elif better is not None:
                seen[one].refused(better.mesh_hash, now)
