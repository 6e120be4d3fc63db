"""Two peers that dial each other at once come to one link, are never reported down, and lose nothing on the way."""

from __future__ import annotations

import asyncio
import random

import pytest
from wire_mesh import TestPeer, peers, run

from meshwit.peer.wire.frames import Channel

ROUNDS = 150
MESSAGES = 12


class Chatter:
    """Sends numbered messages from the moment a link is up, some in every turn of the loop."""

    def __init__(self, peer: TestPeer) -> None:
        self.peer = peer
        self.task: asyncio.Task | None = None
        note = peer.links.on_up

        def up(link) -> None:
            note(link)
            assert link.send(Channel.JOB, b"0")
            self.task = asyncio.create_task(self.chat(link))

        peer.links.on_up = up

    async def chat(self, link) -> None:
        for number in range(1, MESSAGES):
            assert link.send(Channel.JOB, b"%d" % number)
            await asyncio.sleep(0)


def settled(*both: TestPeer) -> bool:
    return all(each.links.connection_count == 1 for each in both)


EXPECTED = [b"%d" % number for number in range(MESSAGES)]


@pytest.mark.parametrize("lower_first", [True, False])
def test_hundreds_of_simultaneous_dials(tmp_path, lower_first):
    """Whoever of the two begins, and however far the other has come by then."""

    async def main():
        chance = random.Random(5)
        async with peers(tmp_path, "a", "b") as both:
            first, second = sorted(both, key=lambda peer: peer.id, reverse=not lower_first)
            for each in both:
                Chatter(each)
            for _ in range(ROUNDS):
                for each in both:
                    each.events.clear()
                    each.got.clear()

                async def later(turns: int) -> None:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    await second.links.connect(first.id, [first.address])

                await asyncio.gather(first.links.connect(second.id, [second.address]), later(chance.randrange(6)))
                for each in both:
                    await each.until(lambda each=each: len(each.got) == MESSAGES)
                    assert [payload for _, payload in each.got] == EXPECTED
                await first.until(lambda: settled(*both))
                assert [each.events[0][0] for each in both] == ["up", "up"]
                assert [len(each.events) for each in both] == [1, 1]
                first.links.links[second.id].close()
                await second.until(lambda: second.downs() and not second.links.connection_count)
                await first.until(lambda: not first.links.connection_count)
            assert first.links.duplicates > 10, "the test does meet what it is about"

    run(main, 60)


def test_what_waits_on_the_connection_that_is_given_up_arrives_first(tmp_path):
    """Megabytes are queued on the one when the other comes up: all arrives, in order, before what follows."""

    async def main():
        async with peers(tmp_path, "a", "b") as both:
            order: dict[str, list[int]] = {each.name: [] for each in both}
            for each in both:
                note = each.links.on_up

                def up(link, note=note) -> None:
                    note(link)
                    for number in range(6):
                        assert link.send(Channel.JOB, bytes([number]) * 900_000)

                each.links.on_up = up
                each.links.on_message(Channel.JOB, lambda link, payload, name=each.name: order[name].append(payload[0]))
            a, b = both
            met = 0
            for _ in range(15):
                for each in both:
                    each.events.clear()
                    order[each.name].clear()
                before = a.links.duplicates
                link, back = await asyncio.gather(
                    a.links.connect(b.id, [b.address]), b.links.connect(a.id, [a.address])
                )
                assert link.send(Channel.JOB, b"\x63")
                assert back.send(Channel.JOB, b"\x63")
                for each in both:
                    await each.until(lambda each=each: len(order[each.name]) == 7)
                    assert order[each.name] == [0, 1, 2, 3, 4, 5, 0x63]
                await a.until(lambda: settled(*both))
                assert not a.downs() and not b.downs()
                met += a.links.duplicates - before
                link.close()
                await b.until(lambda: not b.links.connection_count)
                await a.until(lambda: not a.links.connection_count)
            assert met > 3

    run(main, 60)


def test_many_peers_that_all_dial_each_other_at_once(tmp_path):
    """A crowd: every pair dials from both sides; each pair ends with one connection and one link on each side."""

    async def main():
        names = [f"p{number}" for number in range(8)]
        async with peers(tmp_path, *names) as crowd:
            for each in crowd:
                for other in crowd:
                    each.links.keep(other.id, [other.address])
            for each in crowd:
                await each.until(lambda each=each: len(each.links.links) == len(crowd) - 1)
                await each.until(lambda each=each: each.links.connection_count == len(crowd) - 1)
            assert all(not each.downs() for each in crowd)
            assert sum(each.links.duplicates for each in crowd) > 0

    run(main, 40)


def test_a_peer_that_was_restarted_replaces_its_old_link(tmp_path):
    """The old process vanished without a word, as without power: the old link is down, the new one another."""

    async def main():
        async with peers(tmp_path, "a", "b") as (a, b):
            await b.links.connect(a.id, [a.address])
            await a.until(lambda: a.ups() == 1)
            old = a.links.links[b.id]
            reborn = TestPeer(tmp_path, "b")
            await reborn.start()
            try:
                await reborn.links.connect(a.id, [a.address])
                await a.until(lambda: a.ups() == 2)
                assert [each[0] for each in a.events] == ["up", "down", "up"]
                assert a.downs()[0].kind == "closed"
                assert old.ended is not None and a.links.links[b.id] is not old
            finally:
                await reborn.links.close()

    run(main)


@pytest.mark.parametrize("dialler", ["a", "b"])
def test_a_link_that_only_one_side_lost_is_replaced(tmp_path, dialler):
    """One side gave the connection up and the news did not get through; it dials anew and says what it lost."""

    async def main():
        async with peers(tmp_path, "a", "b") as both:
            one, other = both if dialler == "a" else both[::-1]
            await one.links.connect(other.id, [other.address])
            await other.until(lambda: other.ups() == 1)
            old = other.links.links[one.id]
            old._current._transport.abort = lambda: None  # as if no packet left
            old.close(goodbye=False)
            await other.links.connect(one.id, [one.address])
            await one.until(lambda: one.ups() == 2)
            assert [each[0] for each in one.events] == ["up", "down", "up"]
            one.links.links[other.id].send(Channel.JOB, b"works")
            await other.until(lambda: other.got)
            del old._current._transport.abort
            old._current._transport.abort()

    run(main)
