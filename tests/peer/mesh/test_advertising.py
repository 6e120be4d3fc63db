"""What a peer says of itself in the directory: little in a small mesh, all that it can in a wide one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.mesh.advertising import ACTIVITY_TTL_S, WIDE, Advertiser, addresses_in, offers, score_class
from tests.dht.mesh import Mesh, play

CUDA = {"gpu": True, "gpu.cuda": "12.4", "gpu.metal": False, "memory": 2**35}


def test_a_small_mesh_hears_only_of_what_few_have():
    assert set(offers(CUDA, ["Work.Add"], 100.0, WIDE - 1)) == {"gpu", "gpu.cuda"}
    assert offers({"gpu": False}, ["Work.Add"], 100.0, 3) == {}


def test_a_wide_mesh_hears_of_activities_and_speed():
    said = offers(CUDA, ["Work.Add", "Frame.Render"], 100.0, WIDE)
    assert set(said) == {"gpu", "gpu.cuda", "Work.Add", "Frame.Render", "score:6"}
    assert said["Work.Add"] == ACTIVITY_TTL_S


@pytest.mark.parametrize(("score", "name"), [(0.0, "score:0"), (1.9, "score:0"), (64, "score:6"), (1e300, "score:24")])
def test_a_class_of_speed_is_twice_the_one_below(score, name):
    assert score_class(score) == name


@given(st.binary(max_size=200))
def test_addresses_of_others_never_raise(payload):
    assert all(0 <= port < 65536 for _, port in addresses_in(payload))


def test_addresses_are_checked():
    told = msgspec.msgpack.encode((("10.0.0.7", 7723), ("no host/", 1), ("::1", 99_999)))
    assert addresses_in(told) == [("10.0.0.7", 7723)]


def test_a_peer_is_found_by_what_it_can_and_no_longer_by_what_it_cannot():
    async def story(mesh):
        *_, asking, offering = await mesh.grow(5)
        wanted = {"gpu.cuda": 3600, "score:6": 3600}
        where = [("10.0.0.7", 7723)]
        advertiser = Advertiser(offering.id, offering.directory, lambda: where, lambda: wanted)
        running = asyncio.create_task(advertiser.run())
        await asyncio.sleep(30)
        (found,) = await asking.directory.find_capable("gpu.cuda")
        assert found.owner == offering.id
        assert addresses_in(found.payload) == where
        assert (await asking.directory.find_peer(offering.id)).owner == offering.id
        del wanted["gpu.cuda"]
        where[:] = [("10.0.0.8", 7723)]
        await asyncio.sleep(130)
        assert await asking.directory.find_capable("gpu.cuda") == []
        (found,) = await asking.directory.find_capable("score:6")
        assert addresses_in(found.payload) == where
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(story, Mesh())
