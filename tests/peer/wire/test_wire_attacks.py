"""Attacks on a listening peer over real sockets: none gets in, none takes its places for long, none ends its links."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_mesh import ListedAuthority, TestPeer, key, peers, run, write_tls

from meshwit.peer.trust.keys import verify
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.frames import Channel, frame_header
from meshwit.peer.wire.handshake import ClientHandshake, PeerInfo, Proved, SendPayload
from meshwit.peer.wire.links import Links, LinkSettings
from meshwit.peer.wire.streams import TlsStreams
from meshwit.peer.wire.tls import client_context, server_certificate, server_context, server_key


def frame(channel: int, payload: bytes) -> bytes:
    return frame_header(channel, len(payload)) + payload


class Stranger:
    """A TLS client that says what it likes."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.context = context or client_context()

    async def __aenter__(self) -> Stranger:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context)
        return self

    async def __aexit__(self, *_) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def read_frame(self) -> tuple[int, bytes]:
        header = await self.reader.readexactly(5)
        return header[4], await self.reader.readexactly(int.from_bytes(header[:4], "big") - 1)

    async def is_shown_out(self) -> None:
        """Reads until the other side closes; whatever it says is not an answer of a later step."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(4096):
                pass

    def handshake(self, device, authority=None) -> ClientHandshake:
        tls = self.writer.get_extra_info("ssl_object")
        return ClientHandshake(
            authority=authority or ListedAuthority(device), verify=verify,
            about=PeerInfo(id=device.id, key=device.public_key), certificate=server_certificate(tls),
            server_key=server_key(tls), nonce=b"n" * 32,
        )  # fmt: skip

    async def prove(self, device) -> Proved:
        """Goes the right way through the handshake, as a member."""
        core = self.handshake(device)
        effects = core.start()
        while True:
            for effect in effects:
                if isinstance(effect, SendPayload):
                    self.writer.write(frame(Channel.HANDSHAKE, effect.payload))
                elif isinstance(effect, Proved):
                    return effect
            effects = core.receive((await self.read_frame())[1])


async def still_works(a: TestPeer, b: TestPeer) -> None:
    link = await b.links.connect(a.id, [a.address])
    link.send(Channel.JOB, b"still here")
    await a.until(lambda: a.got)
    link.close()
    await a.until(lambda: not a.links.connection_count)


def nobody_came(peer: TestPeer) -> bool:
    return peer.events == [] and peer.got == []


def test_attack_downgrade_to_tls_1_2(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.minimum_version = ssl.TLSVersion.TLSv1_2
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                async with Stranger(a.port, old):
                    pass
            await still_works(a, b)

    run(main)


def test_attack_server_of_tls_1_2(tmp_path):
    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*write_tls(tmp_path, key("b")))
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
        async with server, peers(tmp_path, "a") as (a,):
            with pytest.raises(LinkError) as caught:
                await a.links.connect(None, [server.sockets[0].getsockname()])
            assert caught.value.kind in ("protocol", "unreachable")

    run(main)


def test_tls_shows_the_device_key_and_issues_no_tickets(tmp_path):
    async def main():
        async with peers(tmp_path, "a") as (a,), Stranger(a.port) as stranger:
            tls = stranger.writer.get_extra_info("ssl_object")
            assert tls.version() == "TLSv1.3"
            assert server_key(tls) == a.key.public_key
            assert tls.session is None or not tls.session.has_ticket

    run(main)


def test_a_certificate_of_another_key_is_noticed_at_the_start(tmp_path):
    certfile, keyfile = write_tls(tmp_path, key("other"))
    with pytest.raises(ValueError, match="not the certificate of this device"):
        Links(key("a"), TlsStreams(certfile, keyfile), ListedAuthority(key("a")), lambda: None)
    with pytest.raises(ssl.SSLError):
        TlsStreams(certfile, write_tls(tmp_path, key("a"))[1])


@pytest.mark.parametrize("channel", [channel for channel in Channel if channel is not Channel.HANDSHAKE])
def test_attack_anything_before_the_handshake(tmp_path, channel):
    """No byte of one who has proved nothing reaches a parser beyond the handshake."""

    async def main():
        async with peers(tmp_path, "a") as (a,), Stranger(a.port) as stranger:
            stranger.writer.write(frame(channel, b"x"))
            await stranger.is_shown_out()
            assert nobody_came(a)

    run(main)


def test_attack_oversize_handshake(tmp_path):
    async def main():
        async with peers(tmp_path, "a") as (a,), Stranger(a.port) as stranger:
            stranger.writer.write((16 * 1024 + 2).to_bytes(4, "big") + b"\0")
            await stranger.is_shown_out()
            assert nobody_came(a)

    run(main)


def test_attack_recorded_proof_on_another_connection(tmp_path):
    """Byte for byte what a member sent before, to the same server."""

    async def main():
        async with peers(tmp_path, "a") as (a,):
            async with Stranger(a.port) as member:
                core = member.handshake(key("b"))
                hello = core.start()[0].payload
                member.writer.write(frame(0, hello))
                proof = core.receive((await member.read_frame())[1])[0].payload
            async with Stranger(a.port) as thief:
                thief.writer.write(frame(0, hello))
                await thief.read_frame()
                thief.writer.write(frame(0, proof) + frame(Channel.JOB, b"mine"))
                refusal = msgspec.msgpack.decode((await thief.read_frame())[1])
                assert (refusal["type"], refusal["code"]) == ("refusal", "identity")
                await thief.is_shown_out()
            assert nobody_came(a)

    run(main)


def test_attack_machine_in_the_middle(tmp_path):
    """It ends TLS with a key of its own and passes every frame on, both ways: both ends refuse."""

    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            tasks = set()

            async def between(reader, writer):
                tasks.add(asyncio.current_task())
                async with Stranger(b.port) as onward:

                    async def pump(source, target):
                        with contextlib.suppress(ConnectionError):
                            while data := await source.read(4096):
                                target.write(data)

                    pumps = [
                        asyncio.create_task(pump(reader, onward.writer)),
                        asyncio.create_task(pump(onward.reader, writer)),
                    ]
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    for each in pumps:
                        each.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
                    writer.transport.abort()

            context = server_context(*write_tls(tmp_path, key("mallory")))
            server = await asyncio.start_server(between, "127.0.0.1", 0, ssl=context)
            async with server:
                port = server.sockets[0].getsockname()[1]
                for peer in (None, b.id):
                    with pytest.raises(LinkError) as caught:
                        await a.links.connect(peer, [("127.0.0.1", port)])
                    assert caught.value.kind == "identity"
                await asyncio.gather(*tasks, return_exceptions=True)
            assert nobody_came(a) and nobody_came(b)

    run(main)


def test_attack_slow_loris(tmp_path):
    """Connections that say nothing, at each stage, are shown out when their time is over; others come in meanwhile."""

    async def main():
        a = TestPeer(tmp_path, "a", settings=LinkSettings(handshake_s=0.4))
        await a.start()
        async with peers(tmp_path, "b") as (b,):
            with socket.create_connection(("127.0.0.1", a.port)):  # not even TLS
                async with Stranger(a.port) as silent, Stranger(a.port) as slow:
                    slow.writer.write(b"\0\0")
                    link = await b.links.connect(a.id, [a.address])
                    await silent.is_shown_out()
                    await slow.is_shown_out()
                    await a.until(lambda: a.links.unproven == 0)
                    link.send(Channel.JOB, b"x")
                    await a.until(lambda: a.got)
        await a.links.close()

    run(main)


@pytest.mark.parametrize("limits", [{"unproven_max": 6}, {"unproven_per_host_max": 6}])
def test_attack_connection_flood(tmp_path, limits):
    """Above the limit connections are closed unread; members come in again as soon as the flood's time is over."""

    async def main():
        a = TestPeer(tmp_path, "a", settings=LinkSettings(handshake_s=0.5, **limits))
        await a.start()
        flood = [socket.create_connection(("127.0.0.1", a.port)) for _ in range(40)]
        await a.until(lambda: a.links.turned_away >= 34)
        assert a.links.unproven == 6
        async with peers(tmp_path, "b") as (b,):
            b.links.keep(a.id, [a.address])
            await b.until(lambda: b.ups() == 1)
        for each in flood:
            each.close()
        await a.links.close()

    run(main)


def test_attack_connections_one_after_the_other(tmp_path):
    """So many per second of one host, however short they are."""

    async def main():
        a = TestPeer(tmp_path, "a", settings=LinkSettings(accepts_per_host_s=1.0))
        await a.start()
        for _ in range(30):
            socket.create_connection(("127.0.0.1", a.port)).close()
            await asyncio.sleep(0)
        await a.until(lambda: a.links.turned_away >= 20)
        await a.links.close()

    run(main)


def test_an_established_link_survives_a_flood(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await b.links.connect(a.id, [a.address])
            flood = [socket.create_connection(("127.0.0.1", a.port)) for _ in range(100)]
            link.send(Channel.JOB, b"x")
            await a.until(lambda: a.got)
            for each in flood:
                each.close()
            assert not a.downs()

    run(main)


@pytest.mark.parametrize(
    "breach",
    [
        (1024 * 1024 + 2).to_bytes(4, "big") + b"\x05",
        bytes(4) + b"\x05",
        frame(Channel.HANDSHAKE, b"hello again"),
        frame(Channel.JOIN, b"let me in"),
        frame(Channel.SESSION, b"\xff\xff"),
        frame(Channel.SESSION, msgspec.msgpack.encode({"type": "ping", "number": "x"})),
        frame(Channel.SESSION, msgspec.msgpack.encode({"type": "over"})) * 2,
    ],
)
def test_attack_by_a_member_that_breaks_the_rules(tmp_path, breach):
    """Its link ends; its frames before that counted, those after do not."""

    async def main():
        async with peers(tmp_path, "a") as (a,), Stranger(a.port) as member:
            await member.prove(key("b"))
            member.writer.write(frame(Channel.JOB, b"good") + breach + frame(Channel.JOB, b"bad"))
            await a.until(lambda: a.downs())
            assert [payload for _, payload in a.got] == [b"good"]
            assert a.downs()[0].kind in ("protocol", "closed")
            await member.is_shown_out()

    run(main)


def test_messages_that_are_not_known_are_ignored(tmp_path):
    """A newer member has more channels and more session messages."""

    async def main():
        async with peers(tmp_path, "a") as (a,), Stranger(a.port) as member:
            await member.prove(key("b"))
            newer = msgspec.msgpack.encode({"type": "compress", "by": "zstd"})
            member.writer.write(frame(Channel.SESSION, newer) + frame(99, b"?") + frame(Channel.JOB, b"good"))
            await a.until(lambda: a.got)
            assert not a.downs()

    run(main)


def test_an_expelled_member_does_not_come_back(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await b.links.connect(a.id, [a.address])
            await a.until(lambda: a.ups() == 1)
            a.authority.expelled.add(b.key.public_key)
            a.links.links[b.id].close("expelled")
            await b.until(lambda: link.ended is not None)
            with pytest.raises(LinkError) as caught:
                await b.links.connect(a.id, [a.address])
            assert caught.value.kind == "expelled"
            with pytest.raises(LinkError) as caught:
                await a.links.connect(b.id, [b.address])
            assert caught.value.kind == "expelled"

    run(main)


def test_another_mesh_is_told_apart_from_both_sides(tmp_path):
    async def main():
        async with peers(tmp_path, "a") as (a,), peers(tmp_path, "c", mesh="other") as (c,):
            for one, other in ((a, c), (c, a)):
                with pytest.raises(LinkError) as caught:
                    await one.links.connect(None, [other.address])
                assert caught.value.kind == "wrong_mesh"
            assert nobody_came(a) and nobody_came(c)

    run(main)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=4), st.booleans())
def test_fuzz_attack_any_bytes_after_tls(tmp_path, pieces, framed):
    """Whatever a stranger says after TLS: no error reaches the loop, nobody comes in, the place is free again."""

    async def main():
        errors: list[dict] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with peers(tmp_path, "a", settings=LinkSettings(handshake_s=0.2)) as (a,):
            async with Stranger(a.port) as stranger:
                for piece in pieces:
                    stranger.writer.write(frame(0, piece) if framed else piece)
                await stranger.is_shown_out()
            await a.until(lambda: a.links.unproven == 0 and a.links.connection_count == 0)
            assert nobody_came(a)
        assert errors == []

    run(main)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_fuzz_attack_any_bytes_of_a_server(tmp_path, said):
    """Whatever a server answers a dial: an error of the link, nothing else."""

    async def main():
        async def answer(reader, writer):
            writer.write(said)
            await reader.read(1)
            writer.close()

        context = server_context(*write_tls(tmp_path, key("mallory")))
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        limits = LinkSettings(handshake_s=0.3, connect_s=0.3)
        async with server, peers(tmp_path, "a", settings=limits) as (a,):
            with pytest.raises(LinkError) as caught:
                await a.links.connect(None, [server.sockets[0].getsockname()])
            assert caught.value.kind in ("protocol", "timeout", "unreachable")
            assert nobody_came(a)

    run(main)
