"""The view: who is kept of a mesh too large to know whole, and who is probed when."""

from __future__ import annotations

import random

from meshwit.gossip.members import MemberTable, Pool, State
from meshwit.ids import PeerId, id_bytes, peer_id

IDS = [peer_id(number.to_bytes(32, "big")) for number in range(4000)]


def table(view_max: int, crowd: list[PeerId], me: PeerId = IDS[0]) -> MemberTable:
    made = MemberTable(me, random.Random(1), view_max, 100)
    for each in crowd:
        if each != me and made.wants(id_bytes(each)):
            made.add(each, id_bytes(each), 1, 0.0)
            for other in made.crowded_out():
                made.remove(other.id)
    return made


def test_a_small_mesh_is_known_whole():
    made = table(256, IDS[:100])
    assert len(made) == 99 and made.known_count() == 100


def test_the_nearest_are_always_in_view():
    made = table(64, IDS)
    assert len(made) <= 64
    raw = id_bytes(IDS[0])
    nearest = sorted(IDS[1:], key=lambda each: made.distance(id_bytes(each)))[:32]
    assert all(each in made.members for each in nearest)
    assert [each.id for each in made.nearest(raw, 5)] == nearest[:5]


def test_the_view_does_not_depend_on_the_order_of_arrival():
    shuffled = IDS[1:]
    random.Random(5).shuffle(shuffled)
    assert set(table(64, IDS).members) == set(table(64, shuffled).members)


def test_the_size_of_the_mesh_is_estimated():
    counts = [table(256, IDS, me).known_count() for me in IDS[:4]]
    assert all(2800 < count < 5600 for count in counts), counts


def test_linked_members_are_kept():
    made = table(16, IDS[:17])
    for each in made.members.values():
        each.linked = True
    for each in IDS[17:200]:
        made.add(each, id_bytes(each), 1, 0.0)
        for other in made.crowded_out():
            made.remove(other.id)
    assert all(each in made.members for each in IDS[1:17])


def test_everybody_is_probed_once_a_round():
    made = table(256, IDS[:50])
    made.next_to_probe()
    made = table(256, IDS[:50])
    for _ in range(5):
        assert len({made.next_to_probe().id for _ in range(49)}) == 49


def test_the_dead_are_not_probed():
    made = table(256, IDS[:10])
    for each in IDS[1:9]:
        made.set_state(made.members[each], State.DEAD)
    assert {made.next_to_probe().id for _ in range(5)} == {IDS[9]}
    made.set_state(made.members[IDS[9]], State.LEFT)
    assert made.next_to_probe() is None
    assert len(made.dead) == 8 and len(made.absent) == 9


def test_a_pool_draws_different_ones():
    pool, rng = Pool(), random.Random(2)
    for each in IDS[:30]:
        pool.add(each)
        pool.add(each)
    pool.discard(IDS[3])
    pool.discard(IDS[3])
    for _ in range(50):
        drawn = pool.draw(rng, 3, but=IDS[7])
        assert len(set(drawn)) == 3 and IDS[7] not in drawn and IDS[3] not in drawn
    assert sorted(pool.draw(rng, 100)) == sorted(pool.listed())
