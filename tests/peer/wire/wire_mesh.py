"""Peers of a mesh for tests of the wire: real keys, real TLS, real sockets; membership is a list."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path

from meshwit.ids import PeerId
from meshwit.peer.trust.keys import DeviceKey, verify
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.handshake import PeerInfo
from meshwit.peer.wire.links import Link, LinkEnd, LinkError, Links, LinkSettings
from meshwit.peer.wire.streams import TlsStreams
from meshwit.peer.wire.tls import self_signed

LOOPBACK = ("127.0.0.1",)


def key(name: str) -> DeviceKey:
    """The same key for the same name, every time."""
    return DeviceKey(hashlib.sha256(name.encode()).digest())


class ListedAuthority:
    """Admits those whose chain names the mesh and who are not expelled."""

    def __init__(self, device: DeviceKey, mesh: str = "mesh") -> None:
        self.signer = device
        self.mesh = mesh
        self.chain = b"member of " + mesh.encode()
        self.expelled: set[bytes] = set()

    def mesh_hash(self, nonce: bytes) -> bytes:
        return hashlib.sha256(nonce + self.mesh.encode()).digest()

    def admits(self, chain: bytes, public_key: bytes) -> str:
        if public_key in self.expelled:
            return "that device was expelled"
        return "" if chain == b"member of " + self.mesh.encode() else "its certificate is not of this mesh"


class TestPeer:
    """A peer with its links, and what happened to it."""

    __test__ = False

    def __init__(self, folder: Path, name: str, mesh: str = "mesh", settings: LinkSettings | None = None) -> None:
        self.key = key(name)
        self.id = self.key.id
        self.name = name
        self.authority = ListedAuthority(self.key, mesh)
        self.certfile, self.keyfile = write_tls(folder, self.key)
        self.settings = settings or LinkSettings()
        self.port = 0
        self.events: list[tuple] = []
        self.got: list[tuple[PeerId, bytes]] = []
        self.failed: list[LinkError] = []
        self.happened = asyncio.Event()
        self.links = Links(
            self.key,
            TlsStreams(self.certfile, self.keyfile),
            self.authority,
            self._info,
            self.settings,
            verify=verify,
        )
        self.links.on_up = lambda link: self._note("up", link.peer)
        self.links.on_down = lambda peer, end: self._note("down", peer, end)
        self.links.on_dial_failed = self._dial_failed
        self.links.on_message(Channel.JOB, self._message)

    @property
    def address(self):
        return "127.0.0.1", self.port

    async def start(self, hosts=LOOPBACK) -> None:
        self.port = await self.links.start(hosts)

    def ups(self) -> int:
        return sum(1 for each in self.events if each[0] == "up")

    def downs(self) -> list[LinkEnd]:
        return [each[2] for each in self.events if each[0] == "down"]

    async def until(self, condition) -> None:
        """Waits for something to become true; every event asks again."""
        while not condition():
            self.happened.clear()
            if condition():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.002):
                    await self.happened.wait()

    def _info(self) -> PeerInfo:
        return PeerInfo(
            id=self.id, key=self.key.public_key, name=self.name, version="0.1.0", controllers={"grid": "1"},
            addresses=(("127.0.0.1", self.port),) if self.port else (),
        )  # fmt: skip

    def _note(self, *event) -> None:
        self.events.append(event)
        self.happened.set()

    def _message(self, link: Link, payload: bytes) -> None:
        self.got.append((link.peer, payload))
        self.happened.set()

    def _dial_failed(self, peer: PeerId, error: LinkError) -> None:
        self.failed.append(error)
        self.happened.set()


def write_tls(folder: Path, device: DeviceKey) -> tuple[Path, Path]:
    """The files of a device's TLS side."""
    certfile, keyfile = folder / f"{device.id}.crt", folder / f"{device.id}.key"
    if not certfile.exists():
        keyfile.write_bytes(device.private_pem())
        certfile.write_bytes(self_signed(device.private_pem()))
    return certfile, keyfile


@contextlib.asynccontextmanager
async def peers(folder: Path, *names: str, settings: LinkSettings | None = None, mesh: str = "mesh"):
    """Peers that listen on loopback, closed at the end."""
    made = [TestPeer(folder, name, mesh, settings) for name in names]
    try:
        for each in made:
            await each.start()
        yield made
    finally:
        for each in made:
            await each.links.close()


def run(main, limit_s: float = 20) -> None:
    """Runs a test's coroutine; what hangs fails."""

    async def limited() -> None:
        async with asyncio.timeout(limit_s):
            await main()

    asyncio.run(limited())
