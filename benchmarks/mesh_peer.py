"""One peer of `benchmarks.mesh`: runs the real thing and tells what happens to it as lines of JSON on stdout.

`python -m benchmarks.mesh_peer NAME [--open] [--invite TOKEN]`, its home from MESHWIT_HOME. What `meshwit up` loads is
loaded here too. Lines on stdin: `expel NAME`, and `refuses ID`, which is answered when that peer is expelled here and
no link leads to it any more. It stops when stdin ends: with the benchmark, however that ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import threading
import time

from meshwit.cli.app import main as command_line
from meshwit.cli.up_join import PlainPrompt
from meshwit.ids import PeerId
from meshwit.peer.control.options import RunnablePeer, UpOptions
from meshwit.peer.mesh.node import MeshPeer

assert command_line
LOOK_EVERY_S = 0.01


def tell(kind: str, peer: str = "", at: float = 0.0, **more: object) -> None:
    print(json.dumps({"kind": kind, "peer": peer, "time": at or time.time(), **more}), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--invite", default="")
    arguments = parser.parse_args()
    peer = MeshPeer(UpOptions(name=arguments.name, open=arguments.open, invite=arguments.invite), PlainPrompt())
    loop = asyncio.get_running_loop()
    tasks = {asyncio.create_task(_follow(peer))}
    await asyncio.sleep(0)
    run = asyncio.ensure_future(peer.run(lambda running: _ready(running)))
    loop.add_signal_handler(signal.SIGTERM, run.cancel)

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(_do, peer, line.split(), tasks)
        with contextlib.suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(run.cancel)

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _ready(peer: RunnablePeer) -> None:
    tell("ready", peer.mesh().me.id)


async def _follow(peer: MeshPeer) -> None:
    async for event in peer.subscribe():
        tell(event.kind, event.peer, event.time, text=event.text)


def _do(peer: MeshPeer, words: list[str], tasks: set[asyncio.Task[None]]) -> None:
    match words:
        case ["expel", name]:
            tasks.add(asyncio.create_task(_expel(peer, name)))
        case ["refuses", other]:
            tasks.add(asyncio.create_task(_refuse(peer, PeerId(other))))


async def _expel(peer: MeshPeer, name: str) -> None:
    tell("asked")
    await peer.expel(name)


async def _refuse(peer: MeshPeer, other: PeerId) -> None:
    while not peer.parts.keeper.is_expelled(other) or other in peer.parts.links.links:
        await asyncio.sleep(LOOK_EVERY_S)
    tell("refuses", other)


if __name__ == "__main__":
    asyncio.run(main())
