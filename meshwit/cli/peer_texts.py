"""A peer in words and numbers for people: the cells of its row, in the table and wherever else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from meshwit.bench.sizes import rough_size
from meshwit.cli.columns import laid_out
from meshwit.cli.peer_names import shown
from meshwit.cli.terminal import count_text, duration_text, one_line
from meshwit.peer.control.api import MeshView, PeerView

HEADERS = ("name", "score", "share", "cores", "memory", "GPU", "load", "round trip", "seen", "note")
RIGHT = ("score", "share", "cores", "memory", "load", "round trip")
DROPPABLE = ("GPU", "round trip", "memory", "share", "cores", "note", "score")
NOTE_CHARS_MAX = 160
NOW_S = 5.0
"""Who was heard within that time is there now."""
_MAKERS = ("NVIDIA ", "AMD ", "Intel(R) ", "Apple ")


def peer_lines(peers: Sequence[PeerView], width: int | None = None, *, keep: str = "") -> list[str]:
    """The table of peers: a line of headers, then one line each, living ones first.

    Args:
        peers: in any order.
        width: cells of a line; None for as many as needed.
        keep: a column that is there however narrow the table has to be.
    """
    rows = [peer_cells(peer) for peer in in_order(peers)]
    droppable = [name for name in DROPPABLE if name != keep]
    return laid_out(HEADERS, rows, right=RIGHT, width=width, droppable=droppable)


def in_order(peers: Sequence[PeerView]) -> list[PeerView]:
    """This one, then who is there, the fastest first, then who is gone."""
    return sorted(peers, key=lambda peer: (not peer.me, peer.state not in ("alive", "suspect"), -peer.score, peer.name))


def peer_cells(peer: PeerView) -> tuple[str, ...]:
    """The texts of a peer's row, in the order of HEADERS. What is not known is `-`."""
    here = peer.state in ("alive", "suspect")
    return (
        shown(peer.name),
        f"{peer.score:,.0f}" if peer.score else "-",
        f"{peer.share:.0%}" if here and peer.share else "-",
        str(peer.cores or "-"),
        rough_size(peer.memory) if peer.memory else "-",
        gpu_text(peer.gpus),
        load_text(peer) if here else "-",
        round_trip_text(peer) if here else "-",
        seen_text(peer),
        one_line(peer.note, NOTE_CHARS_MAX),
    )


def gpu_text(gpus: Sequence[str]) -> str:
    """`2 x GeForce RTX 4090`; empty without."""
    counted = Counter(one_line(name, 60) for name in gpus)
    names = []
    for name, count in counted.items():
        for maker in _MAKERS:
            name = name.removeprefix(maker)
        names.append(f"{count} x {name}" if count > 1 else name)
    return ", ".join(names)


def load_text(peer: PeerView) -> str:
    """How much of its cores is busy, with whatever."""
    return f"{min(peer.busy_cores / peer.cores, 1):.0%}" if peer.cores else "-"


def round_trip_text(peer: PeerView) -> str:
    """`2.1 ms`."""
    if peer.me or peer.round_trip_s is None:
        return "-"
    millis = peer.round_trip_s * 1000
    return f"{millis:.1f} ms" if millis < 10 else f"{millis:,.0f} ms"


def seen_text(peer: PeerView) -> str:
    """Whether the peer is there, and since when it is not."""
    if peer.me:
        return "this peer"
    since = "" if peer.seen_s is None else f"{duration_text(peer.seen_s)} ago"
    if peer.state != "alive":
        return f"{one_line(peer.state, 12)}, {since}" if since else one_line(peer.state, 12)
    return "now" if peer.seen_s is None or peer.seen_s < NOW_S else since


def mesh_text(mesh: MeshView) -> str:
    """What a table of peers is headed with."""
    alive = f"{mesh.peers_alive:,} of {count_text(mesh.peers_known, 'peer')} alive"
    return f"{shown(mesh.name)}: {alive}, this is {shown(mesh.me.name)}"


def power_text(peer: PeerView) -> str:
    """`80 %, on battery`; empty where the device tells nothing."""
    parts = [] if peer.battery is None else [f"{peer.battery:.0%}"]
    if peer.plugged_in is not None:
        parts.append("plugged in" if peer.plugged_in else "on battery")
    return ", ".join(parts)
