"""To whom peers are linked: to all in a small mesh, in a large one to so many that all are reached in a few hops."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwit.ids import id_text
from meshwit.peer.mesh.neighbours import LINKS_MAX, wanted_links


def ids(count: int, seed: str = "ids") -> list:
    chance = random.Random(seed)
    return [id_text(chance.randbytes(20)) for _ in range(count)]


def graph(peers, views=None, links_max: int = LINKS_MAX) -> dict:
    """Who is linked to whom, if each keeps the links that it wants."""
    linked = {peer: set() for peer in peers}
    for peer in peers:
        for other in wanted_links(peer, views[peer] if views else peers, links_max):
            linked[peer].add(other)
            linked[other].add(peer)
    return linked


def hops(linked: dict, start) -> dict:
    """How far everybody is who can be reached."""
    found, waiting = {start: 0}, deque([start])
    while waiting:
        peer = waiting.popleft()
        for other in linked[peer]:
            if other not in found:
                found[other] = found[peer] + 1
                waiting.append(other)
    return found


@pytest.mark.parametrize("count", [1, 2, 10, LINKS_MAX, LINKS_MAX + 1])
def test_in_a_small_mesh_everybody_is_linked_to_everybody(count):
    peers = ids(count)
    for peer in peers:
        assert wanted_links(peer, peers) == set(peers) - {peer}


@given(st.integers(0, 200), st.integers(2, 60), st.integers())
@settings(max_examples=30, deadline=None)
def test_never_too_many_never_oneself_never_a_stranger(count, links_max, seed):
    me, *others = ids(count + 1, str(seed))
    wanted = wanted_links(me, [me, *others], links_max)
    assert len(wanted) == min(count, links_max) and wanted <= set(others)


def test_the_order_in_which_peers_are_known_does_not_matter():
    me, *others = ids(300)
    wanted = wanted_links(me, others)
    random.Random(1).shuffle(others)
    assert wanted_links(me, others) == wanted


def test_one_who_comes_or_goes_changes_few_links():
    me, *others = ids(300)
    before = wanted_links(me, others)
    for gone in others[:50]:
        assert len(before ^ wanted_links(me, [each for each in others if each != gone])) <= 3


def test_a_thousand_peers_are_one_graph_of_small_diameter_and_bounded_degree():
    peers = ids(1000)
    linked = graph(peers)
    assert max(max(hops(linked, start).values()) for start in peers[::50]) <= 7, "about log2 of 1,000 / 48, and 2"
    assert all(len(hops(linked, start)) == 1000 for start in peers[:3])
    degrees = sorted(len(each) for each in linked.values())
    assert degrees[-1] <= 4 * LINKS_MAX


def test_most_links_are_wanted_from_both_ends():
    peers = ids(1000)
    wanted = {peer: wanted_links(peer, peers) for peer in peers}
    mutual = sum(peer in wanted[other] for peer in peers for other in wanted[peer])
    assert mutual / sum(map(len, wanted.values())) > 0.6


def test_views_of_a_quarter_of_the_mesh_still_make_one_graph():
    """As gossip has it in a wide mesh: of each peer's view half are its nearest, half a sample."""
    peers = ids(1000)
    chance = random.Random("views")
    number = {peer: int.from_bytes(peer.encode()) for peer in peers}
    views = {}
    for peer in peers:
        near = sorted(peers, key=lambda other, peer=peer: number[peer] ^ number[other])[1:129]
        views[peer] = {*near, *chance.sample(peers, 128)} - {peer}
    linked = graph(peers, views)
    assert all(len(hops(linked, start)) == 1000 for start in peers[:3])


def test_a_mesh_that_lost_a_third_at_once_is_still_connected():
    """Before anybody chooses anew."""
    peers = ids(600)
    linked = graph(peers)
    gone = set(random.Random("gone").sample(peers, 200))
    left = {peer: others - gone for peer, others in linked.items() if peer not in gone}
    assert len(hops(left, next(iter(left)))) == 400
