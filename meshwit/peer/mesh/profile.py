"""What a peer tells of itself, topic by topic: the payloads of its gossiped records.

`score` is in `meshwit.bench.scores`, `rates` in `meshwit.peer.rates`; the others are here.

Every payload is a MessagePack map, so that older and newer peers read what they know of each other's. What another
peer sent is checked here once: texts are cut, numbers kept in range.
"""

from __future__ import annotations

from math import isfinite
from typing import Final, TypeVar

import msgspec

from meshwit.bench.requirements import is_name
from meshwit.peer.trust.certificates import clean_name

MEMBER: Final = "member"
SCORE: Final = "score"
LOAD: Final = "load"
RATES: Final = "rates"
PENDING: Final = "pending"

TEXT_LENGTH_MAX: Final = 200
CAPABILITIES_MAX: Final = 200
CONTROLLERS_MAX: Final = 200
ADDRESSES_MAX: Final = 16
PENDING_MAX: Final = 16

P = TypeVar("P", bound=msgspec.Struct)


class MemberProfile(msgspec.Struct, frozen=True):
    """Topic `member`: who the peer is, why it belongs, what its device can do.

    Attributes:
        chain: its certificates, as `meshwit.peer.trust.certificates` encodes them.
        device: the same for all peers of one user on one device.
        addresses: of its device, as texts; the port is the same for all.
        protocols: the lowest and the highest that it speaks.
        system: for people: `Linux 6.1, x86_64`.
        slots: tasks that it runs at the same time.
        when: `always`, `idle` or `plugged-in`: when its owner lets it work for others.
    """

    name: str
    chain: bytes
    device: str = ""
    addresses: tuple[str, ...] = ()
    port: int = 0
    meshwit: str = ""
    protocols: tuple[int, int] = (1, 1)
    system: str = ""
    capabilities: dict[str, bool | int | float | str] = {}
    controllers: dict[str, str] = {}
    slots: int = 0
    when: str = "always"
    open: bool = False


class LoadProfile(msgspec.Struct, frozen=True):
    """Topic `load`: how busy its device is. What a system does not tell is None."""

    free_slots: int = 0
    busy_cores: float = 0.0
    memory_free: int = 0
    battery: float | None = None
    plugged_in: bool | None = None
    temperature_c: float | None = None
    jobs: int = 0
    resting: str = ""
    """Why its owner lets it do no work now; empty while it works."""


class PendingProfile(msgspec.Struct, frozen=True):
    """Topic `pending`: who asked this peer to be let in and waits: id, name and the two words shown."""

    waiting: tuple[tuple[str, str, str], ...] = ()


def encode(profile: msgspec.Struct) -> bytes:
    """The payload."""
    return msgspec.msgpack.encode(profile)


def decode(payload: bytes, form: type[P]) -> P | None:
    """What a payload says, cut to what is sane; None if it says nothing of that form."""
    try:
        profile = msgspec.msgpack.decode(payload, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    match profile:
        case MemberProfile():
            return _member(profile)  # type: ignore[return-value]
        case LoadProfile():
            numbers = (profile.free_slots, profile.busy_cores, profile.memory_free, profile.jobs)
            if not all(0 <= value < 2**62 for value in numbers):
                return None
            return msgspec.structs.replace(
                profile,
                battery=_within(profile.battery, 0.0, 1.0),
                temperature_c=_within(profile.temperature_c, -273.0, 1000.0),
                resting=plain(profile.resting),
            )
        case PendingProfile():
            waiting = tuple(
                (plain(each), plain(name, 64), plain(words, 64)) for each, name, words in profile.waiting[:PENDING_MAX]
            )
            return PendingProfile(waiting)  # type: ignore[return-value]
    return profile


def plain(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """A text of others fit for a terminal: no control characters, not too long."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:length_max])
    return shown if len(text) <= length_max else f"{shown[:-1]}…"


def _within(value: float | None, least: float, most: float) -> float | None:
    """A number that can be so; what is none, or not a number, was not told."""
    return value if value is not None and least <= value <= most else None


def _member(profile: MemberProfile) -> MemberProfile | None:
    if not 0 <= profile.port < 65536 or not profile.name or not 0 <= profile.slots < 100_000:
        return None
    capabilities = {
        name: plain(value) if isinstance(value, str) else value
        for name, value in list(profile.capabilities.items())[:CAPABILITIES_MAX]
        if len(name) <= TEXT_LENGTH_MAX and is_name(name) and not (isinstance(value, float) and not isfinite(value))
    }
    controllers = {
        plain(name): plain(version, 50) for name, version in list(profile.controllers.items())[:CONTROLLERS_MAX]
    }
    return msgspec.structs.replace(
        profile,
        name=clean_name(profile.name),
        device=plain(profile.device, 64),
        addresses=tuple(plain(each, 64) for each in profile.addresses[:ADDRESSES_MAX]),
        meshwit=plain(profile.meshwit, 50),
        system=plain(profile.system),
        capabilities=capabilities,
        controllers=controllers,
        when=plain(profile.when, 20),
    )
