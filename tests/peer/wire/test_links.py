"""Links over real sockets and real TLS: messages, ends, failures of dials, redials, joins."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from wire_mesh import TestPeer, key, peers, run

from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.links import JoinStream, LinkSettings


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def failure(dial) -> LinkError:
    with pytest.raises(LinkError) as caught:
        await dial
    return caught.value


# --- messages ----------------------------------------------------------------------------------------------------


def test_messages_arrive_both_ways_in_order(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            await b.until(lambda: b.ups() == 1)
            back = b.links.links[a.id]
            for number in range(500):
                assert link.send(Channel.JOB, b"%d" % number)
                assert back.send(Channel.JOB, b"%d" % number)
            await a.until(lambda: len(a.got) == 500)
            await b.until(lambda: len(b.got) == 500)
            assert [payload for _, payload in b.got] == [b"%d" % number for number in range(500)]
            assert [payload for _, payload in a.got] == [b"%d" % number for number in range(500)]
            assert {peer for peer, _ in b.got} == {a.id}

    run(main)


def test_each_knows_what_the_other_says_of_itself(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            await b.until(lambda: b.ups() == 1)
            back = b.links.links[a.id]
            assert (link.info.name, link.info.controllers, link.info.id) == ("b", {"grid": "1"}, b.id)
            assert (back.info.name, back.info.key) == ("a", a.key.public_key)
            assert link.address == b.address
            assert back.address == a.address, "where it can be dialled, not where it dialled from"

    run(main)


def test_who_is_there_need_not_be_known(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            assert (await a.links.connect(None, [b.address])).peer == b.id
            assert await a.links.connect(b.id, [b.address]) is a.links.links[b.id]

    run(main)


def test_large_messages_and_a_full_queue(tmp_path):
    """`send` says no instead of filling memory, `drain` waits for room, nothing is lost."""

    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            sent = 0
            while link.send(Channel.JOB, bytes([sent % 256]) * 1_000_000):
                sent += 1
            assert 4 <= sent <= 9
            assert link.queued_bytes > 4_000_000
            await link.drain()
            assert link.send(Channel.JOB, b"last")
            await b.until(lambda: b.got and b.got[-1][1] == b"last")
            assert [payload[0] for _, payload in b.got[:-1]] == list(range(sent))
            assert all(len(payload) == 1_000_000 for _, payload in b.got[:-1])

    run(main)


def test_a_message_longer_than_its_channel_allows_is_the_callers_error(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            with pytest.raises(ValueError, match="too many"):
                link.send(Channel.GOSSIP, bytes(256 * 1024 + 1))
            assert link.send(Channel.JOB, memoryview(bytes(1024 * 1024)))

    run(main)


def test_a_channel_nobody_reads_is_dropped_and_a_handler_that_fails_ends_nothing(tmp_path, caplog):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            b.links.on_message(Channel.GOSSIP, lambda link, payload: 1 / 0)
            link = await a.links.connect(b.id, [b.address])
            link.send(77, b"of a newer peer")
            link.send(Channel.GOSSIP, b"x")
            link.send(Channel.JOB, b"after")
            await b.until(lambda: b.got)
            assert not b.downs()

    run(main)
    assert "ZeroDivisionError" in caplog.text


def test_input_on_hold_slows_the_sender_and_loses_nothing(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            await b.until(lambda: b.ups() == 1)
            b.links.links[a.id].hold_input()
            sent = 0
            for _ in range(64):
                while link.send(Channel.JOB, sent.to_bytes(4, "big") + bytes(500_000)):
                    sent += 1
                await asyncio.sleep(0.005)
            assert sent < 64, "the queue stays full"
            assert b.got == []
            b.links.links[a.id].release_input()
            await b.until(lambda: len(b.got) == sent)
            assert [int.from_bytes(payload[:4], "big") for _, payload in b.got] == list(range(sent))

    run(main)


def test_input_above_its_rate_is_slowed_not_lost(tmp_path):
    async def main():
        settings = LinkSettings(input_messages_per_s=2000.0)
        async with peers(tmp_path, "a", "b", settings=settings) as (a, b):
            link = await a.links.connect(b.id, [b.address])
            for number in range(3000):
                assert link.send(Channel.JOB, number.to_bytes(4, "big"))
            await asyncio.sleep(0.1)
            assert len(b.got) <= 3000
            await b.until(lambda: len(b.got) == 3000)

    run(main)


def test_round_trip_and_traffic(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            assert link.round_trip_s == 0
            link.ping()
            await a.until(lambda: link.round_trip_s > 0)
            assert link.stats.messages_out >= 1
            assert a.links.stats().bytes_out >= link.stats.bytes_out > 0
            assert a.links.stats().bytes_in > 0
            before = a.links.stats().bytes_out
            link.close()
            await b.until(lambda: b.downs())
            assert a.links.stats().bytes_out > before, "what is closed still counts"

    run(main)


def test_both_families(tmp_path):
    async def main():
        a, b = TestPeer(tmp_path, "a"), TestPeer(tmp_path, "b")
        try:
            await a.start(("127.0.0.1", "::1"))
            await b.start(("127.0.0.1", "::1"))
            link = await a.links.connect(b.id, [("::1", b.port)])
            assert link.address == ("::1", b.port)
            link.close()
            await b.until(lambda: b.downs())
            assert (await a.links.connect(b.id, [b.address])).address == b.address
        finally:
            await a.links.close()
            await b.links.close()

    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    run(main)


# --- ends --------------------------------------------------------------------------------------------------------


def test_goodbye_is_told_with_its_reason_after_what_was_sent(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            link = await a.links.connect(b.id, [b.address])
            link.send(Channel.JOB, bytes(800_000))
            link.close("going to bed")
            await b.until(lambda: b.downs())
            assert len(b.got) == 1
            assert (b.downs()[0].kind, b.downs()[0].reason, b.downs()[0].local) == ("goodbye", "going to bed", False)
            assert (a.downs()[0].kind, a.downs()[0].local) == ("goodbye", True)
            assert not a.links.links and not b.links.links
            assert not link.send(Channel.JOB, b"x")
            await link.drain()

    run(main)


def test_without_goodbye_it_looks_like_a_death(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            (await a.links.connect(b.id, [b.address])).close(goodbye=False)
            await b.until(lambda: b.downs())
            assert b.downs()[0].kind == "closed"

    run(main)


def test_closing_says_goodbye_to_all(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b", "c") as (a, b, c):
            await b.links.connect(a.id, [a.address])
            await a.links.connect(c.id, [c.address])
            await a.links.close()
            await b.until(lambda: b.downs())
            await c.until(lambda: c.downs())
            assert b.downs()[0].kind == c.downs()[0].kind == "goodbye"
            assert (await failure(b.links.connect(a.id, [a.address]))).kind == "refused"

    run(main)


def test_a_process_that_is_killed_is_told_at_once_and_refuses_then(tmp_path):
    """SIGKILL closes its sockets: the link ends as `closed`, and the redial meets nobody."""

    async def main():
        async with peers(tmp_path, "a") as (a,):
            child = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("lonely_peer.py")), str(tmp_path), "b"],
                stdout=subprocess.PIPE,
            )
            try:
                port = int(await asyncio.to_thread(child.stdout.readline))
                b = key("b").id
                a.links.keep(b, [("127.0.0.1", port)])
                await a.until(lambda: a.ups() == 1)
                child.kill()
                await a.until(lambda: a.downs())
                assert a.downs()[0].kind == "closed"
                await a.until(lambda: a.failed)
                assert a.failed[0].kind == "refused"
            finally:
                child.kill()
                child.wait()
                child.stdout.close()

    run(main)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_peer_that_takes_nothing_is_given_up(tmp_path):
    async def main():
        a = TestPeer(tmp_path, "a", settings=LinkSettings(stalled_s=0.3))
        await a.start()
        child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("lonely_peer.py")), str(tmp_path), "b"],
            stdout=subprocess.PIPE,
        )
        try:
            port = int(await asyncio.to_thread(child.stdout.readline))
            link = await a.links.connect(None, [("127.0.0.1", port)])
            os.kill(child.pid, signal.SIGSTOP)
            while not a.downs():
                link.send(Channel.BLOB, bytes(1_000_000))
                await asyncio.sleep(0.01)
            assert a.downs()[0].kind == "timeout"
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
            await a.links.close()

    run(main)


# --- dials that fail ---------------------------------------------------------------------------------------------


def test_nobody_listens(tmp_path):
    async def main():
        async with peers(tmp_path, "a") as (a,):
            assert (await failure(a.links.connect(key("b").id, [("127.0.0.1", closed_port())]))).kind == "refused"
            assert (await failure(a.links.connect(key("b").id, []))).kind == "unreachable"
            assert (await failure(a.links.connect(key("b").id, [("no-such-host.invalid", 1)]))).kind == "unreachable"

    run(main)


def test_one_address_that_refuses_among_others_says_nothing_of_the_peer(tmp_path):
    """An address may lead to another host; only the one where the peer was last counts alone."""

    async def main():
        settings = LinkSettings(connect_s=0.6, handshake_s=0.5)
        async with peers(tmp_path, "a", settings=settings) as (a,):
            refusing = ("127.0.0.1", closed_port())
            with socket.socket() as silent:
                silent.bind(("127.0.0.1", 0))
                silent.listen(0)
                fillers = []
                for _ in range(4):  # the queue of what is not accepted is full: the next waits for an answer
                    filler = socket.socket()
                    filler.setblocking(False)
                    filler.connect_ex(silent.getsockname())
                    fillers.append(filler)
                both = [refusing, silent.getsockname()]
                assert (await failure(a.links.connect(key("b").id, both))).kind == "timeout"
                assert (await failure(a.links.connect(key("b").id, both, refusing))).kind == "refused"
                for filler in fillers:
                    filler.close()

    run(main)


def test_a_wrong_address_costs_little(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b", "c") as (a, b, c):
            addresses = [("127.0.0.1", closed_port()), c.address, b.address]
            assert (await a.links.connect(b.id, addresses)).peer == b.id

    run(main)


def test_another_peer_than_was_meant(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            error = await failure(a.links.connect(key("c").id, [b.address]))
            assert (error.kind, b.events) == ("identity", [])
            assert (await failure(a.links.connect(None, [a.address]))).kind == "identity", "itself"
            assert (await failure(a.links.connect(a.id, [b.address]))).kind == "identity"

    run(main)


def test_what_does_not_speak_tls(tmp_path):
    async def main():
        async def answer(reader, writer):
            writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, peers(tmp_path, "a") as (a,):
            error = await failure(a.links.connect(None, [server.sockets[0].getsockname()]))
            assert error.kind == "protocol"

    run(main)


def test_a_dial_can_be_called_off(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            for turns in range(12):
                dial = asyncio.create_task(a.links.connect(None, [b.address]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dial.cancel()
                await asyncio.gather(dial, return_exceptions=True)
            assert (await a.links.connect(b.id, [b.address])).peer == b.id

    run(main)


# --- keeping -----------------------------------------------------------------------------------------------------


def test_a_kept_peer_is_dialled_again_until_it_is_back(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            a.links.keep(b.id, [b.address])
            await a.until(lambda: a.ups() == 1)
            port = b.port
            await b.links.close()
            await a.until(lambda: a.failed)
            assert a.downs()[0].kind == "goodbye"
            assert {error.kind for error in a.failed} == {"refused"}
            again = TestPeer(tmp_path, "b")
            try:
                again.port = await again.links.start(("127.0.0.1",), port)
                await a.until(lambda: a.ups() == 2)
                assert a.links.links[b.id].info.instance
            finally:
                a.links.unkeep(b.id)
                await again.links.close()

    run(main)


def test_a_kept_peer_that_moved_is_found_at_its_new_address(tmp_path):
    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            a.links.keep(b.id, [("127.0.0.1", closed_port())])
            await a.until(lambda: a.failed)
            a.links.keep(b.id, [b.address])
            await a.until(lambda: a.ups() == 1)

    run(main)


# --- joining -----------------------------------------------------------------------------------------------------


def test_a_join_stream_carries_messages_and_is_no_link(tmp_path):
    async def main():
        async with peers(tmp_path, "member") as (member,), peers(tmp_path, "new", mesh="none") as (new,):

            async def admit(stream: JoinStream) -> None:
                assert (stream.role, stream.peer_key) == ("admitter", new.key.public_key)
                while True:
                    stream.send(b"echo " + await stream.receive(5))

            member.links.on_join = admit
            stream = await new.links.open_join(member.address)
            assert (stream.role, stream.peer_key, stream.own_key) == (
                "joiner", member.key.public_key, new.key.public_key,
            )  # fmt: skip
            for number in range(20):
                stream.send(b"%d" % number)
            assert [await stream.receive(5) for _ in range(20)] == [b"echo %d" % number for number in range(20)]
            with pytest.raises(ValueError, match="too many"):
                stream.send(bytes(16 * 1024 + 1))
            assert (await failure(stream.receive(0.01))).kind == "timeout"
            stream.close()
            assert (await failure(stream.receive(5))).kind == "unreachable"
            assert not member.links.links and not member.events

    run(main)


def test_joins_are_refused_where_nobody_serves_them(tmp_path):
    async def main():
        async with peers(tmp_path, "member") as (member,), peers(tmp_path, "new", mesh="none") as (new,):
            error = await failure(new.links.open_join(member.address))
            assert (error.kind, "no devices may join" in error.message) == ("protocol", True)

    run(main)


def test_only_so_many_join_at_once(tmp_path):
    async def main():
        member = TestPeer(tmp_path, "member", settings=LinkSettings(join_streams_max=2))
        await member.start()
        async with peers(tmp_path, "new", mesh="none") as (new,):

            async def admit(stream: JoinStream) -> None:
                await stream.receive()

            member.links.on_join = admit
            first = await new.links.open_join(member.address)
            await new.links.open_join(member.address)
            assert (await failure(new.links.open_join(member.address))).kind == "protocol"
            first.send(b"done")
            assert (await failure(first.receive(5))).kind == "unreachable"
            await new.links.open_join(member.address)
            await member.links.close()

    run(main)
