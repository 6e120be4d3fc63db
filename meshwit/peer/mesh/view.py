"""What is known of the peers, as people see it. Pure: from gossiped records to `PeerView`s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from meshwit.ids import PeerId, short
from meshwit.peer.control.api import PeerView
from meshwit.peer.mesh.profile import LoadProfile, MemberProfile
from meshwit.peer.rates import Unit, rate_text

STATE_ORDER: Final = ("alive", "suspect", "left", "dead")


class KnownPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer as this device knows it, this device included.

    Attributes:
        state: `alive`, `suspect`, `dead` or `left`.
        heard_s: seconds since it was last heard; None if it never was.
    """

    id: PeerId
    me: bool = False
    state: str = "alive"
    member: MemberProfile | None = None
    scores: Mapping[str, float] = {}
    load: LoadProfile | None = None
    rates: Mapping[str, tuple[float, Unit]] = {}
    round_trip_s: float | None = None
    heard_s: float | None = None
    address: str = ""
    remembered_name: str = ""
    """By the address book, for one that has not been heard yet."""


def peer_views(known: Iterable[KnownPeer], own_version: str) -> list[PeerView]:
    """One view each: this device first, then the living by score, then the others by name."""
    peers = list(known)
    working = {one.id: _throughput(one) for one in peers if one.state in ("alive", "suspect")}
    total = sum(working.values())
    own = next((one.member.controllers for one in peers if one.me and one.member), {})
    views = [_view(one, working.get(one.id, 0.0) / total if total else 0.0, own_version, own) for one in peers]
    return sorted(views, key=lambda view: (not view.me, STATE_ORDER.index(view.state), -view.score, view.name, view.id))


def named(name: str, peers: Iterable[PeerView]) -> list[PeerView]:
    """The peers that a name, id, short id or the unique beginning of one means; exact matches exclude others."""
    wanted = name.strip().lower()
    everyone = list(peers)
    # Ids first: they are nobody's choice, so nobody hides behind the id of another as a name.
    exact = [one for one in everyone if wanted in (one.id, short(one.id))]
    exact = exact or [one for one in everyone if wanted == one.name.lower()]
    if exact or not wanted:
        return exact
    begun = [one for one in everyone if one.name.lower().startswith(wanted)]
    return begun or [one for one in everyone if len(wanted) >= 4 and one.id.startswith(wanted.replace("-", ""))]


def _throughput(one: KnownPeer) -> float:
    """What a peer adds to the whole: its score, by the part of its cores that its owner gives."""
    if one.member is None or (one.load is not None and one.load.resting):
        return 0.0
    cores = _whole(one.member.capabilities.get("cpu.cores"))
    given = min(1.0, one.member.slots / cores) if cores else 1.0
    return one.scores.get("score", 0.0) * given


def _view(one: KnownPeer, share: float, own_version: str, own_controllers: Mapping[str, str]) -> PeerView:
    view = PeerView(
        id=one.id, name=one.remembered_name or short(one.id), me=one.me, state=one.state, share=share,
        round_trip_s=one.round_trip_s, seen_s=one.heard_s, address=one.address,
        rates={activity: rate_text(*rate) for activity, rate in sorted(one.rates.items())},
    )  # fmt: skip
    if one.member is not None:
        view = _with_member(view, one.member)
    if one.scores:
        classes = {name: value for name, value in one.scores.items() if name != "score"}
        view = msgspec.structs.replace(view, score=one.scores.get("score", 0.0), scores=classes)
    if one.load is not None:
        load = one.load
        view = msgspec.structs.replace(
            view, free_slots=load.free_slots, busy_cores=load.busy_cores, battery=load.battery,
            plugged_in=load.plugged_in, temperature_c=load.temperature_c, jobs=load.jobs,
        )  # fmt: skip
    return msgspec.structs.replace(view, note=_note(one, view, own_version, own_controllers))


def _with_member(view: PeerView, member: MemberProfile) -> PeerView:
    capabilities = member.capabilities
    count = _whole(capabilities.get("gpu.count"))
    name = capabilities.get("gpu.name")
    times = f"{count} x " if count > 1 else ""
    return msgspec.structs.replace(
        view,
        name=member.name,
        cores=_whole(capabilities.get("cpu.cores")),
        memory=_whole(capabilities.get("memory")),
        gpus=[f"{times}{name}"] if isinstance(name, str) else [],
        slots=member.slots,
        version=member.meshwit,
        system=member.system,
        capabilities=dict(capabilities),
        controllers=dict(member.controllers),
    )


def _whole(value: object) -> int:
    """A count as a peer tells it of itself; 0 if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _note(one: KnownPeer, view: PeerView, own_version: str, own_controllers: Mapping[str, str]) -> str:
    notes = []
    if one.load is not None and one.load.resting and one.state in ("alive", "suspect"):
        notes.append(one.load.resting)
    if view.version and own_version and view.version != own_version:
        notes.append(f"runs meshwit {view.version}: pip install -U meshwit makes the versions the same")
    else:
        others = [
            f"{name} {version}"
            for name, version in view.controllers.items()
            if version != own_controllers.get(name, version)
        ]
        if others:
            notes.append(f"has {', '.join(others[:3])}, other versions than here")
    if one.member is not None and one.member.open:
        notes.append("lets everybody in")
    return "; ".join(notes)
