"""Who leads a job is told in the directory only where members are not all linked, and found there by those who look."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec

from meshwit.ids import PeerId
from meshwit.peer.mesh.job_directory import JobDirectory

ME, OTHER = PeerId("me"), PeerId("other")


class Shelf:
    """What is told, by name, as the directory keeps it."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[PeerId, bytes]]] = {}

    async def publish(self, kind: str, name: str, payload: bytes, ttl_s: int) -> int:
        assert kind == "job"
        self.told.setdefault(name, []).append((ME, payload))
        return 1

    async def withdraw(self, kind: str, name: str) -> None:
        self.told[name] = [each for each in self.told.get(name, []) if each[0] != ME]

    async def find(self, kind: str, name: str) -> list[Any]:
        return [SimpleNamespace(owner=owner, payload=payload) for owner, payload in self.told.get(name, [])]


def made(shelf: Shelf, needed: bool = True) -> tuple[JobDirectory, list[PeerId]]:
    reached: list[PeerId] = []

    async def reach(peer: PeerId) -> None:
        reached.append(peer)

    def now(work: Any) -> None:
        asyncio.get_event_loop().run_until_complete(work)

    return JobDirectory(ME, shelf, now, reach, lambda: needed), reached  # type: ignore[arg-type]


def test_a_leader_tells_it_and_takes_it_back_when_it_leads_no_more():
    shelf = Shelf()
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        directory, _ = made(shelf)
        directory.led_by("job", ME, 3)
        assert shelf.told == {"job": [(ME, msgspec.msgpack.encode(3))]}
        directory.led_by("job", OTHER, 4)
        assert shelf.told == {"job": []}


def test_where_all_are_linked_nothing_is_told():
    shelf = Shelf()
    directory, reached = made(shelf, needed=False)
    directory.led_by("job", ME, 1)
    asyncio.run(directory.find("job"))
    assert (shelf.told, reached) == ({}, [])


def test_of_several_who_say_so_the_one_of_the_latest_epoch_is_sought():
    shelf = Shelf()
    shelf.told["job"] = [(OTHER, msgspec.msgpack.encode(2)), (PeerId("old"), msgspec.msgpack.encode(1)),
                         (PeerId("liar"), b"nonsense")]  # fmt: skip
    directory, reached = made(shelf)
    asyncio.run(directory.find("job"))
    assert reached == [OTHER]
