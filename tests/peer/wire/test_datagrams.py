"""Datagrams over real sockets: both families, what is dropped and why, and errors of the network that end nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest
from test_sealing import FOREIGN, NEW, sealer
from wire_mesh import key, run

from meshwit.peer.wire.datagrams import DatagramKind, Datagrams

A, B = key("a").id, key("b").id


class Inbox:
    """Datagrams of one peer and what they brought."""

    def __init__(self, me, *secrets, expelled=()) -> None:
        self.got: list[tuple] = []
        self.sealer = sealer(me, *secrets)
        self.datagrams = Datagrams(self.sealer, lambda peer: peer in expelled)
        self.datagrams.on_datagram(DatagramKind.GOSSIP, lambda *what: self.got.append(what))

    async def until(self, condition) -> None:
        while not condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def two(*secrets, hosts=("127.0.0.1",), **more):
    one, other = Inbox(A, *secrets), Inbox(B, **more)
    ports = [await each.datagrams.start(hosts) for each in (one, other)]
    try:
        yield one, other, [("127.0.0.1", port) for port in ports]
    finally:
        one.datagrams.close()
        other.datagrams.close()
        await asyncio.sleep(0)


def test_datagrams_arrive_with_sender_and_address():
    async def main():
        async with two() as (one, other, (here, there)):
            assert one.datagrams.send(there, DatagramKind.GOSSIP, b"ping")
            await other.until(lambda: other.got)
            assert other.got == [(A, here, b"ping")]
            assert other.datagrams.stats().bytes_in == one.datagrams.stats().bytes_out == 58 + 4
            assert (other.datagrams.stats().messages_in, one.datagrams.stats().messages_out) == (1, 1)

    run(main)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_both_families_on_one_port():
    async def main():
        async with two(hosts=("127.0.0.1", "::1")) as (one, other, (here, there)):
            assert one.datagrams.send(("::1", there[1]), DatagramKind.GOSSIP, b"six")
            assert one.datagrams.send(there, DatagramKind.GOSSIP, b"four")
            await other.until(lambda: len(other.got) == 2)
            assert {address for _, address, _ in other.got} == {here, ("::1", here[1])}

    run(main)


def test_a_port_that_is_taken_gives_another():
    async def main():
        one, other = Inbox(A), Inbox(B)
        port = await one.datagrams.start(("127.0.0.1",))
        assert await other.datagrams.start(("127.0.0.1",), port) not in (0, port)
        one.datagrams.close()
        other.datagrams.close()
        await asyncio.sleep(0)

    run(main)


def test_attack_what_is_not_of_the_mesh_is_dropped_and_counted():
    async def main():
        async with two(FOREIGN) as (one, other, (_, there)):
            one.datagrams.send(there, DatagramKind.GOSSIP, b"of another mesh")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
                good = sealer(A, NEW).seal(DatagramKind.GOSSIP, b"good")
                for datagram in (b"", b"junk", os.urandom(1400), os.urandom(1500), good[:-1] + b"\0", good, good):
                    raw.sendto(datagram, there)
            await other.until(lambda: other.datagrams.stats().messages_in == 8)
            assert [payload for _, _, payload in other.got] == [b"good"]
            rejected = other.datagrams.rejected
            assert (rejected["secret"], rejected["short"], rejected["long"]) == (1, 2, 1)
            assert (rejected["forged"], rejected["replay"]) == (1, 1)

    run(main)


def test_attack_expelled_sender():
    async def main():
        async with two(expelled={A}) as (one, other, (_, there)):
            one.datagrams.send(there, DatagramKind.GOSSIP, b"let me back in")
            await other.until(lambda: other.datagrams.rejected["expelled"])
            assert other.got == []

    run(main)


def test_attack_flood_of_forgeries_is_dropped_unread():
    """After its budget is spent, a host's datagrams are not even decrypted, until it rests."""

    async def main():
        async with two() as (_, other, (_, there)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
                for _ in range(10):
                    for _ in range(60):
                        raw.sendto(b"\x01" + os.urandom(99), there)
                    await asyncio.sleep(0.001)
            await other.until(lambda: other.datagrams.rejected["flood"] > 100)

    run(main)


def test_kinds_that_nobody_reads_are_dropped():
    async def main():
        async with two() as (one, other, (_, there)):
            one.datagrams.send(there, 77, b"of a newer peer")
            await other.until(lambda: other.datagrams.rejected["unknown kind"])

    run(main)


def test_nobody_at_the_other_end_ends_nothing():
    """ICMP says so to the socket; it goes on."""

    async def main():
        async with two() as (one, other, (_, there)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.bind(("127.0.0.1", 0))
                nowhere = gone.getsockname()
            for _ in range(5):
                one.datagrams.send(nowhere, DatagramKind.GOSSIP, b"anybody?")
                await asyncio.sleep(0.002)
            one.datagrams.send(("255.255.255.255", 9), DatagramKind.GOSSIP, b"not allowed")
            one.datagrams.send(("not a number", 9), DatagramKind.GOSSIP, b"not possible")
            assert not one.datagrams.send(("::1", 9), DatagramKind.GOSSIP, b"no such family")
            one.datagrams.send(there, DatagramKind.GOSSIP, b"ping")
            await other.until(lambda: other.got)
            one.datagrams.close()
            assert not one.datagrams.send(there, DatagramKind.GOSSIP, b"closed")

    run(main)
