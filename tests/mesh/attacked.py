"""Whole peers in one process, on the loopback interface, and those who attack them.

An `Attacker` has keys and certificates of its own choosing and speaks the wire as it likes; the peers are real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from meshwit.bench.cache import History
from meshwit.bench.fingerprint import hardware
from meshwit.bench.scores import Measured
from meshwit.gossip.messages import News, encode, to_wire
from meshwit.ids import PeerId
from meshwit.peer.control import runtime_file
from meshwit.peer.control.options import UpOptions
from meshwit.peer.mesh.conversation import Conversation
from meshwit.peer.mesh.keeper import hash_of_mesh
from meshwit.peer.mesh.node import MeshPeer
from meshwit.peer.mesh.profile import MEMBER, MemberProfile
from meshwit.peer.trust.certificates import Chain, encode_chain, issue
from meshwit.peer.trust.join_effects import Effect, Joined, JoinRefused
from meshwit.peer.trust.joiner import Joiner
from meshwit.peer.trust.keys import DeviceKey, verify
from meshwit.peer.trust.membership import MeshSecret
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.frames import Channel, frame_header
from meshwit.peer.wire.handshake import ClientHandshake, HandshakeFailed, PeerInfo, Proved, SendPayload, ServerHandshake
from meshwit.peer.wire.links import JoinStream, Links
from meshwit.peer.wire.sealing import Sealer
from meshwit.peer.wire.streams import TlsStreams
from meshwit.peer.wire.tls import client_context, self_signed, server_certificate, server_context, server_key
from meshwit.records import Record, signed_record

PATIENCE_S = 30.0
HOST = "127.0.0.1"
ELSEWHERE = "127.0.0.2"
"""From there an attacker comes, where what matters is how many connections one host may have."""


@pytest.fixture
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the homes of peers that see no network but loopback, on a device that was measured before."""
    cache = tmp_path / "cache" / "meshwit" / "bench"
    cache.mkdir(parents=True)
    history: History = {hardware().fingerprint: [Measured(350.0, 700.0, 20.0, 1000.0, 0.0, 2, time.time(), 1.0)]}
    (cache / "scores.json").write_bytes(msgspec.json.encode(history))
    monkeypatch.setattr("meshwit.peer.mesh.measuring.default_folder", lambda: cache)
    loopback = [name for name, found in psutil.net_if_addrs().items() if any(each.address == HOST for each in found)]
    monkeypatch.setenv("MESHWIT_INTERFACES", ",".join(loopback))
    monkeypatch.delenv("MESHWIT_HOME", raising=False)
    return tmp_path


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(limited())


async def until(true: Callable[[], Any], what: str) -> Any:
    """Waits until something is so."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < limit, f"it never came to this: {what}"
        await asyncio.sleep(0.01)
    return found


# --- peers -------------------------------------------------------------------------------------------------------


class Person:
    """Whoever sits in front of a device that is no member yet.

    Args:
        codes: what is typed, one after the other.
        agrees: the answer to whether the words are the same.
    """

    def __init__(self, *codes: str, agrees: bool = True) -> None:
        self.codes = list(codes)
        self.agrees = agrees
        self.seen: list[str] = []
        self.asked: list[str] = []
        self.wrong: list[str] = []

    def found(self, mesh_names: list[str]) -> None:
        self.seen += mesh_names

    def words(self, words: str, name: str) -> None:
        self.seen.append(words)

    async def code(self) -> str:
        if self.codes:
            return self.codes.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def confirm(self, words: str, name: str) -> bool:
        self.asked.append(words)
        return self.agrees

    def wrong_code(self, message: str) -> None:
        self.wrong.append(message)

    def say(self, text: str) -> None:
        self.seen.append(text)


class Runs:
    """One peer that runs, in a home of its own."""

    def __init__(self, folder: Path, name: str, person: Person | None = None, **options: Any) -> None:
        self.name = name
        self.home = folder / name
        self.person = person or Person()
        self.peer = MeshPeer(UpOptions(home=self.home, name=name, **options), self.person)
        self.ready = asyncio.Event()
        self.fault: BaseException | None = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.peer.run(lambda _: self.ready.set())
        except Exception as error:
            self.fault = error
        self.ready.set()

    async def stop(self) -> None:
        if not self.ready.is_set():
            self._task.cancel()
        self.peer.end()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def over(self) -> bool:
        return self._task.done()

    @property
    def parts(self):
        return self.peer.parts

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.parts.port

    @property
    def id(self) -> PeerId:
        return self.parts.me

    @property
    def membership(self):
        return self.parts.keeper.membership

    @property
    def key(self) -> DeviceKey:
        """Its private key, for whoever has stolen it, or for the owner who changes his program."""
        return self.parts.keeper.signer

    def alive(self) -> set[str]:
        return {each.name for each in self.peer.peers() if each.state == "alive"}

    def profile_folder(self) -> Path:
        return self.home / "peers" / "1"

    async def ask(self, text: str) -> tuple[int, Any]:
        """What its control socket answers to a request as it stands."""
        control = runtime_file.read(self.profile_folder())
        assert control is not None
        reader, writer = await asyncio.open_connection(HOST, control.port)
        try:
            writer.write(text.replace("PORT", str(control.port)).replace("TOKEN", control.token).encode())
            answer = await reader.read()
        finally:
            writer.transport.abort()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"access-control" not in head.lower()
        return int(head.split(b" ")[1]), json.loads(body)


GET_MESH = "GET /v1/mesh HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer TOKEN\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def running(folder: Path, name: str, person: Person | None = None, **options: Any) -> AsyncIterator[Runs]:
    """A peer that runs; a member when this begins."""
    one = Runs(folder, name, person, **options)
    try:
        await one.ready.wait()
        if one.fault is not None:
            raise one.fault
        yield one
    finally:
        await one.stop()


@contextlib.asynccontextmanager
async def founded(folder: Path, name: str = "ada", **options: Any) -> AsyncIterator[Runs]:
    """A peer with a mesh of its own."""
    async with running(folder, name, new=True, **options) as one:
        yield one


@contextlib.asynccontextmanager
async def joined(folder: Path, name: str, member: Runs) -> AsyncIterator[Runs]:
    """A further member, which both know."""
    token = (await member.peer.invite("token", 1.0)).text
    async with running(folder, name, invite=token, peers=(member.address,)) as one:
        await until(lambda: name in member.alive() and member.name in one.alive(), f"{name} is a member")
        yield one


async def unharmed(folder: Path, attacked: Runs) -> None:
    """It answers its owner, and somebody who may come in does."""
    assert not attacked.over, attacked.fault
    status, answer = await attacked.ask(GET_MESH)
    assert (status, answer["me"]["name"]) == (200, attacked.name)
    async with joined(folder, "newcomer", attacked):
        pass
    await until(lambda: "newcomer" not in attacked.alive(), "it says goodbye")


# --- attackers ---------------------------------------------------------------------------------------------------


class Attacker:
    """A device that holds whatever it was given, and asks nobody whether that is right.

    Args:
        key: of the device.
        mesh: the id that it claims to know.
        chain: the certificates that it shows.
    """

    def __init__(self, key: DeviceKey | None = None, mesh: str = "", chain: Chain = ()) -> None:
        self.key = key or DeviceKey(os.urandom(32))
        self.mesh = mesh
        self.certificates = chain

    @classmethod
    def member(cls, by: Runs, name: str = "mallory") -> Attacker:
        """A member that lies: let in by another."""
        key = DeviceKey(os.urandom(32))
        chain = (*by.membership.chain, issue(by.key, by.membership.mesh, key.public_key, name, time.time()))
        return cls(key, by.membership.mesh, chain)

    def lets_in(self, name: str = "puppet") -> Attacker:
        """A further device, with a certificate by this one."""
        key = DeviceKey(os.urandom(32))
        certificate = issue(self.key, self.certificates[0].mesh, key.public_key, name, time.time())
        return Attacker(key, self.mesh, (*self.certificates, certificate))

    # What it is to the handshake.

    @property
    def signer(self) -> DeviceKey:
        return self.key

    @property
    def chain(self) -> bytes:
        return encode_chain(self.certificates)

    def mesh_hash(self, nonce: bytes) -> bytes:
        return hash_of_mesh(self.mesh, nonce)  # type: ignore[arg-type]

    def admits(self, chain: bytes, key: bytes) -> str:
        return ""

    # What it does.

    def files(self, folder: Path) -> tuple[Path, Path]:
        certfile, keyfile = folder / f"{self.key.id}.crt", folder / f"{self.key.id}.pem"
        keyfile.write_bytes(self.key.private_pem())
        certfile.write_bytes(self_signed(self.key.private_pem()))
        return certfile, keyfile

    def about(self) -> PeerInfo:
        return PeerInfo(id=self.key.id, key=self.key.public_key, name="mallory")

    async def join(self, folder: Path, address: tuple[str, int], **ways: Any) -> Joined | JoinRefused:
        """Asks to be let in, by the real machine."""
        links = Links(self.key, TlsStreams(*self.files(folder)), self, self.about)
        try:
            stream: JoinStream = await links.open_join(address)
            ending: list[Effect] = []
            joiner = Joiner(self.key, stream.peer_key, "mallory", os.urandom, **ways)
            with contextlib.suppress(LinkError):
                await Conversation(joiner, stream, ending.append).run(joiner.start(time.time()))
            assert isinstance(ending[-1], Joined | JoinRefused), ending
            return ending[-1]
        finally:
            await links.close()

    def record(self, topic: str, payload: bytes, version: int = 0) -> Record:
        return signed_record(self.key, topic, version or time.time_ns() // 1_000_000, payload)

    def profile(self, **said: Any) -> Record:
        """What makes it a member in the gossip of others."""
        fields = {"name": "mallory", "chain": self.chain, "addresses": (HOST,), "port": 9} | said
        return self.record(MEMBER, msgspec.msgpack.encode(MemberProfile(**fields)))


def news(*records: Record) -> bytes:
    """A gossip message that carries them."""
    return encode(News(records=[to_wire(each) for each in records]))


def sealer(sender: PeerId, *secrets: MeshSecret) -> Sealer:
    """Seals as that sender; whoever has a secret can."""
    return Sealer(sender, lambda: secrets, time.time_ns() // 1000, os.urandom(4))


class Wire:
    """A TLS connection over which anything can be said."""

    def __init__(self, address: tuple[str, int], local: str = HOST) -> None:
        self.address = address
        self.local = local
        self.heard: list[tuple[int, bytes]] = []

    async def __aenter__(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection(
            *self.address, ssl=client_context(), local_addr=(self.local, 0)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def say(self, channel: int, payload: bytes) -> None:
        self.writer.write(frame_header(channel, len(payload)) + payload)

    async def hear(self) -> tuple[int, bytes]:
        """The next frame. Raises IncompleteReadError at the end."""
        header = await self.reader.readexactly(5)
        frame = header[4], await self.reader.readexactly(int.from_bytes(header[:4], "big") - 1)
        self.heard.append(frame)
        return frame

    async def hear_out(self) -> None:
        """Everything, until the other side closes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                await self.hear()

    def on(self, channel: int) -> list[bytes]:
        return [payload for each, payload in self.heard if each == channel]

    async def shake_hands(self, who: Attacker, purpose: str = "member") -> Proved | HandshakeFailed:
        """The handshake, as the program does it."""
        tls = self.writer.get_extra_info("ssl_object")
        core = ClientHandshake(
            authority=who, verify=verify, about=who.about(), certificate=server_certificate(tls),
            server_key=server_key(tls), nonce=os.urandom(32), purpose=purpose,  # type: ignore[arg-type]
        )  # fmt: skip
        effects = core.start()
        while True:
            for effect in effects:
                if isinstance(effect, SendPayload):
                    self.say(Channel.HANDSHAKE, effect.payload)
                else:
                    return effect
            effects = core.receive((await self.hear())[1])


@contextlib.asynccontextmanager
async def linked(who: Attacker, to: Runs, local: str = HOST) -> AsyncIterator[Wire]:
    """A link of a member that lies; the peer holds it for one of its links."""
    async with Wire(to.address, local) as wire:
        assert isinstance(await wire.shake_hands(who), Proved)
        await until(lambda: who.key.id in to.parts.links.links, "it is linked")
        yield wire


class FalseServer:
    """A member that lies and listens: it says `Ready` when it likes."""

    def __init__(self, who: Attacker, folder: Path) -> None:
        self.who = who
        self.folder = folder
        self.proved = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.over = asyncio.Event()
        self.heard: list[tuple[int, bytes]] = []

    async def __aenter__(self) -> FalseServer:
        certfile, keyfile = self.who.files(self.folder)
        self.certificate = ssl.PEM_cert_to_DER_cert(certfile.read_text())
        self.server = await asyncio.start_server(self._serve, HOST, 0, ssl=server_context(certfile, keyfile))
        self.address = self.server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = ServerHandshake(
            authority=self.who, verify=verify, about=self.who.about(), certificate=self.certificate,
            nonce=os.urandom(32),
        )  # fmt: skip
        try:
            while True:
                header = await reader.readexactly(5)
                payload = await reader.readexactly(int.from_bytes(header[:4], "big") - 1)
                self.heard.append((header[4], payload))
                if header[4] != Channel.HANDSHAKE:
                    continue
                effects = core.receive(payload)
                if any(isinstance(each, Proved) for each in effects):
                    self.proved.set()
                    await self.may_go_on.wait()
                for effect in effects:
                    if isinstance(effect, SendPayload):
                        writer.write(frame_header(Channel.HANDSHAKE, len(effect.payload)) + effect.payload)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()
            self.over.set()


@contextlib.asynccontextmanager
async def tapped(address: tuple[str, int]) -> AsyncIterator[tuple[tuple[str, int], dict[str, bytearray]]]:
    """A way to an address on which somebody records everything: where it begins, and what crossed `in` and `out`."""
    crossed = {"in": bytearray(), "out": bytearray()}
    tasks: set[asyncio.Future[Any]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, into: bytearray) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                into += piece
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*address)
        both = copy(reader, far_writer, crossed["in"]), copy(far_reader, writer, crossed["out"])
        task = asyncio.gather(*both)
        tasks.add(task)
        await task

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[:2], crossed
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
