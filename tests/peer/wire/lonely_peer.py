"""A peer in a process of its own, to be killed: `lonely_peer.py FOLDER NAME` prints its port and waits."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from wire_mesh import TestPeer


async def main(folder: str, name: str) -> None:
    peer = TestPeer(Path(folder), name)
    await peer.start()
    print(peer.port, flush=True)
    await asyncio.sleep(60)


asyncio.run(main(*sys.argv[1:]))
