"""Which peer a command about jobs asks: any of the mesh knows them all, so the first of this device will do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from meshwit.cli.own_peer import ensure_peer, own_peer, to_stderr
from meshwit.cli.reach import reach
from meshwit.peer.control.client import ControlClient, find_all


@contextlib.contextmanager
def peer_for_jobs(home: Path | None, on: str) -> Iterator[ControlClient]:
    """The peer to ask; where none runs, and the device is a member, one that lives as long as the block.

    Args:
        home: the folder of the configuration.
        on: which peer, where it matters who; empty for any.

    Raises:
        CommandError: there is none.
    """
    with own_peer():
        running, _ = find_all(home)
        if running and not on:
            yield running[0].client
            return
        client = ensure_peer(to_stderr) if not running and not on and home is None else None
        yield client if client is not None else reach(home, on).client
