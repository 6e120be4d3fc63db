"""Jobs of peers that share a device: large values pass through memory, and come by the link where that is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_engines import Stranger, Watched, small_mesh, until

from meshwit.peer.device.passing import VARIABLE
from meshwit.peer.engine import Engine
from meshwit.peer.exec.messages import SegmentRef
from meshwit.peer.work.messages import Done, span
from meshwit.peer.work.transfer import Envelope

TWICE = "Job:Main(VectorCollection:vs) { VectorCollection:ys = Grid.ForEach(v in vs) => Lab.Twice(v); }"
ARRAYS = [np.random.default_rng(n).standard_normal(1 << 17) for n in range(24)]


def shared(one: Engine, other: Engine) -> bool:
    return one.passing.passes_to(other.me) and other.passing.passes_to(one.me)


async def twice(job: Watched) -> None:
    outcome = await job.ends()
    assert outcome.state == "completed", outcome.error
    for made, given in zip(outcome.variables["ys"], ARRAYS, strict=True):
        assert np.array_equal(np.asarray(made), given * 2)


def test_arrays_pass_through_memory_both_ways(tmp_path: Path):
    async def main() -> None:
        async with small_mesh(3, tmp_path) as mesh:
            leader, *others = mesh.engines
            for each in others:
                await until(lambda each=each: shared(leader, each), "they share memory")
            job = Watched(leader, TWICE, ARRAYS)
            await twice(job)
            assert leader.passing.passed_bytes > 0
            done = sum(count for name, count in job.peers.items() if name != leader.name)
            assert sum(each.passing.passed_bytes for each in others) >= done * ARRAYS[0].nbytes
            assert not mesh.accused

    asyncio.run(main())


def test_the_same_goes_by_links_alone_where_that_is_wished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "off")

    async def main() -> None:
        async with small_mesh(2, tmp_path) as mesh:
            await twice(Watched(mesh.engines[0], TWICE, ARRAYS))
            assert not any(each.passing.passed_bytes or each.passing.taken_bytes for each in mesh.engines)

    asyncio.run(main())


def test_a_peer_lost_in_the_middle_costs_nothing_but_time(tmp_path: Path):
    async def main() -> None:
        async with small_mesh(3, tmp_path) as mesh:
            leader, one, other = mesh.engines
            await until(lambda: shared(leader, one), "they share memory")
            job = Watched(leader, TWICE, ARRAYS)
            await until(lambda: one.passing.taken_bytes, "a batch has come through memory")
            mesh.cut(leader, one)
            await twice(job)
            mesh.link(leader, one)
            await until(lambda: shared(leader, one), "they share it again")
            await twice(Watched(leader, TWICE, ARRAYS))
            assert other.passing.passed_bytes and not mesh.accused

    asyncio.run(main())


@pytest.mark.parametrize("name", ["out-1.seg", "../secret", "secret"])
def test_attack_memory_that_is_not_shared_ends_the_link_and_nothing_is_read(tmp_path: Path, name: str):
    async def main() -> None:
        async with small_mesh(1, tmp_path) as mesh:
            stranger = Stranger(mesh.engines[0])
            done = Done(1, span([0]), b"", bytes(4), 0)
            message = Envelope(done, placed={0: SegmentRef(name, 0, 8)})
            mesh.engines[0].job_frame(stranger.me, b"\0" + msgspec.msgpack.encode(message))
            assert stranger.way.ended == "memory that is not shared"
            wrong = Envelope(done, placed={7: SegmentRef(name, 0, 8)})
            mesh.engines[0].job_frame(stranger.me, b"\0" + msgspec.msgpack.encode(wrong))
            assert [who for who, _ in mesh.accused] == [stranger.me]

    asyncio.run(main())
