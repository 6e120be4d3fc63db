"""What a peer says in the directory, and how it is found there. Shell over a pure choice.

In a mesh that gossip knows whole nothing has to be looked up: only where a peer is and what few have (GPUs) is said.
In a wider one its activities and its class of speed are said too, so that a leader finds workers beyond its view.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from meshwit.dht.directory import Directory
from meshwit.ids import PeerId
from meshwit.peer.wire.addresses import Address, normalised

RARE: Final = ("gpu", "gpu.cuda", "gpu.metal", "gpu.opencl")
"""Capabilities that are said in any mesh."""
WIDE: Final = 128
"""Members from which on everything is said: well before gossip stops to know all, so that it is there by then."""
LOOK_EVERY_S: Final = 60.0
LOOKED_AT_FIRST_S: Final = 5.0
TTL_S: Final = 3600
ACTIVITY_TTL_S: Final = 12 * 3600
"""What a device can run seldom changes, and there are a hundred activities: renewed twice a day."""
SCORE_CLASSES_MAX: Final = 24


def offers(capabilities: Mapping[str, object], activities: Iterable[str], score: float, members: int) -> dict[str, int]:
    """What to say in a mesh of that many members: names, each with how many seconds it is good for."""
    said = {name: TTL_S for name in RARE if capabilities.get(name)}
    if members >= WIDE:
        said |= dict.fromkeys(activities, ACTIVITY_TTL_S)
        said[score_class(score)] = TTL_S
    return said


def score_class(score: float) -> str:
    """The class of speed: `score:7` for 128 to 255, twice as fast from class to class."""
    return f"score:{min(SCORE_CLASSES_MAX, max(0, int(math.log2(score)) if score >= 1 else 0))}"


class Advertiser:
    """Keeps the directory told about one peer.

    Args:
        where: the addresses at which it listens.
        wanted: what it offers now, by `offers`.
    """

    def __init__(
        self,
        me: PeerId,
        directory: Directory,
        where: Callable[[], Sequence[Address]],
        wanted: Callable[[], Mapping[str, int]],
    ) -> None:
        self._me = me
        self._directory = directory
        self._where = where
        self._wanted = wanted
        self._said: dict[str, bytes] = {}

    async def run(self) -> None:
        """For ever: what is new is said, what is no longer so is withdrawn."""
        await self._directory.join([])
        await asyncio.sleep(LOOKED_AT_FIRST_S)
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        where = msgspec.msgpack.encode(tuple(self._where())[:8])
        wanted = dict(self._wanted())
        if self._said.get("") != where:
            self._said[""] = where
            await self._directory.publish("peer", self._me, where, TTL_S)
        for name, ttl_s in wanted.items():
            if self._said.get(name) != where:
                self._said[name] = where
                await self._directory.publish("capability", name, where, ttl_s)
        for name in [each for each in self._said if each and each not in wanted]:
            del self._said[name]
            await self._directory.withdraw("capability", name)


def addresses_in(payload: bytes) -> list[Address]:
    """The addresses that a record of the directory tells; those that are none are left out. Never raises."""
    try:
        told = msgspec.msgpack.decode(payload, type=tuple[tuple[str, int], ...])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    found = []
    for host, port in told[:8]:
        try:
            found.append(normalised(host, port))
        except ValueError:
            continue
    return found
