"""A joining over a real stream: messages in order, deadlines kept, and the stream closed however it ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from meshwit.peer.mesh.conversation import Conversation
from meshwit.peer.trust.join_effects import Admit, JoinRefused, RefusalKind, SendMessage, Show
from meshwit.peer.wire.endings import LinkError
from tests.peer.mesh.small_peers import Wired, in_a_mesh, until


class Counting:
    """A machine that answers so many messages with the next number and is over; after `life_s` it gives up."""

    def __init__(self, answers: int, life_s: float = 20.0) -> None:
        self.heard: list[bytes] = []
        self.left = answers
        self.deadline: float | None = time.time() + life_s

    def receive(self, raw: bytes, now: float) -> list:
        self.heard.append(raw)
        self.left -= 1
        if not self.left:
            self.deadline = None
        return [SendMessage(b"%d" % (int(raw) + 1)), Show(raw.decode(), "")]

    def tick(self, now: float) -> list:
        self.deadline = None
        return [JoinRefused("nobody answered", "", RefusalKind.TIMEOUT)]

    def next_deadline(self) -> float | None:
        return self.deadline


def over_a_stream(tmp_path, test) -> None:
    """Runs `test(near, far)` with the two ends of a stream."""

    async def main(ada) -> None:
        far: asyncio.Future = asyncio.get_running_loop().create_future()
        gone = asyncio.Event()

        async def serve(stream) -> None:
            far.set_result(stream)
            await gone.wait()

        ada.links.on_join = serve
        bob = Wired(tmp_path, "bob")
        try:
            near = await bob.links.open_join(ada.address)
            await test(near, await far)
        finally:
            gone.set()
            await bob.close()

    in_a_mesh(tmp_path, "ada", main)


def test_messages_go_to_and_fro_in_order_until_both_are_over(tmp_path):
    async def test(near, far):
        machines = Counting(5), Counting(5)
        effects: tuple[list, list] = [], []
        talks = [
            Conversation(machine, stream, told.append)
            for machine, stream, told in zip(machines, (near, far), effects, strict=True)
        ]
        await asyncio.gather(talks[0].run([SendMessage(b"0")]), talks[1].run([]))
        assert machines[1].heard == [b"0", b"2", b"4", b"6", b"8"] and machines[0].heard == [
            b"1",
            b"3",
            b"5",
            b"7",
            b"9",
        ]
        assert [effect.words for effect in effects[0]] == ["1", "3", "5", "7", "9"]
        assert talks[0].ended and talks[1].ended

    over_a_stream(tmp_path, test)


def test_a_deadline_is_told_to_the_machine_and_is_the_end(tmp_path):
    async def test(near, far):
        effects: list = []
        await Conversation(Counting(1, life_s=0.05), near, effects.append).run([])
        assert [type(effect) for effect in effects] == [JoinRefused] and near.ended
        with pytest.raises(LinkError):
            await far.receive(5.0)

    over_a_stream(tmp_path, test)


def test_a_deadline_that_has_passed_already_is_no_error(tmp_path):
    async def test(near, far):
        effects: list = []
        await Conversation(Counting(1, life_s=-5.0), near, effects.append).run([])
        assert [type(effect) for effect in effects] == [JoinRefused]

    over_a_stream(tmp_path, test)


def test_the_other_side_may_go_at_any_time(tmp_path):
    async def test(near, far):
        talk = Conversation(Counting(1), near, lambda _: None)
        running = asyncio.create_task(talk.run([]))
        await asyncio.sleep(0)
        far.close()
        with pytest.raises(LinkError):
            await running
        assert talk.ended

    over_a_stream(tmp_path, test)


def test_what_a_person_says_ends_it_at_once_where_that_is_the_end(tmp_path):
    """The other side need not hang up, and may be slow to."""

    async def test(near, far):
        machine = Counting(1)
        talk = Conversation(machine, near, lambda _: None)
        running = asyncio.create_task(talk.run([]))
        await asyncio.sleep(0)
        machine.deadline = None
        talk.perform([SendMessage(b"welcome")])
        assert await far.receive(5.0) == b"welcome"
        with pytest.raises(LinkError):
            await running
        await until(lambda: far.ended)

    over_a_stream(tmp_path, test)


def test_what_fails_in_what_is_performed_closes_the_stream(tmp_path):
    async def test(near, far):
        def fail(effect: Admit) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await Conversation(Counting(1), near, fail).run([Show("a b", "")])
        assert near.ended

    over_a_stream(tmp_path, test)


def test_one_that_is_called_off_closes_the_stream(tmp_path):
    async def test(near, far):
        running = asyncio.create_task(Conversation(Counting(1), near, lambda _: None).run([]))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert near.ended

    over_a_stream(tmp_path, test)
