"""The door of a member: who waits is seen, let in when somebody says so, and gone from the list when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from meshwit.peer.control.api import PeerError
from meshwit.peer.mesh.admitting import PER_HOST_MAX, Admissions
from meshwit.peer.mesh.conversation import Conversation
from meshwit.peer.trust.invites import read_token
from meshwit.peer.trust.join_effects import Joined, JoinRefused, Show
from meshwit.peer.trust.joiner import Joiner
from meshwit.peer.wire.endings import LinkError
from tests.peer.mesh.small_peers import Wired, in_a_mesh, until


class Door:
    """A member that admits, and what it told."""

    def __init__(self, member: Wired) -> None:
        self.member = member
        self.events: list[tuple[str, str]] = []
        self.taken = {member.name}
        self.asked_for: list = []
        self.admissions = Admissions(member.keeper, self._taken, lambda: [member.address], self._changed)
        member.links.on_join = self.admissions.serve

    def _taken(self, joiner) -> set[str]:
        self.asked_for.append(joiner)
        return self.taken

    def _changed(self, kind: str, text: str) -> None:
        self.events.append((kind, text))

    def kinds(self) -> list[str]:
        return [kind for kind, text in self.events if text]


class Guest:
    """A device that asks, over a connection of its own each time."""

    def __init__(self, wired: Wired, door: Door, name: str = "", **options) -> None:
        self.wired = wired
        self.door = door
        self.name = name or wired.name
        self.options = options
        self.effects: list = []
        self.stream = None

    async def ask(self) -> list:
        """Until it is over."""
        self.stream = await self.wired.links.open_join(self.door.member.address)
        joiner = Joiner(self.wired.key, self.stream.peer_key, self.name, os.urandom, **self.options)
        with contextlib.suppress(LinkError):
            await Conversation(joiner, self.stream, self.effects.append).run(joiner.start(time.time()))
        return self.effects

    def ended(self):
        """How it ended: Joined or Refused, None if it was hung up on."""
        return next((each for each in self.effects if isinstance(each, Joined | JoinRefused)), None)


def at_the_door(tmp_path, test, names: str = "bob") -> None:
    """Runs `test(door, *devices)`."""

    async def main(ada) -> None:
        door = Door(ada)
        devices = [Wired(tmp_path, each) for each in names.split()]
        try:
            await test(door, *devices)
        finally:
            door.admissions.close()
            for each in devices:
                await each.close()

    in_a_mesh(tmp_path, "ada", main)


def test_who_waits_is_seen_and_let_in_when_somebody_says_so(tmp_path):
    async def test(door, bob):
        guest = Guest(bob, door)
        asking = asyncio.create_task(guest.ask())
        await until(door.admissions.pending)
        (pending,) = door.admissions.pending()
        assert (pending.id, pending.name, pending.address) == (bob.id, "bob", "127.0.0.1")
        await until(lambda: Show(pending.words, "home") in guest.effects, "both show the same words")
        assert pending.since_s >= 0
        door.admissions.approve(bob.id)
        assert door.admissions.pending() == [] and door.admissions.admitted_lately
        await asking
        joined = guest.ended()
        assert joined.membership.mesh == door.member.keeper.mesh and joined.addresses == (door.member.address,)
        assert door.kinds() == ["pending", "admitted"]
        assert set(door.asked_for) == {bob.id}, "its own name of before is not taken by itself"

    at_the_door(tmp_path, test)


def test_an_approval_is_the_end_also_where_the_device_does_not_hang_up(tmp_path):
    async def test(door, bob):
        guest = Guest(bob, door)
        asking = asyncio.create_task(guest.ask())
        await until(door.admissions.pending)
        guest.stream._connection.hold()  # it reads nothing any more
        door.admissions.approve(bob.id)
        await until(lambda: not door.admissions._waiting)
        guest.stream._connection.release()
        await asking
        assert isinstance(guest.ended(), Joined)

    at_the_door(tmp_path, test)


def test_nobody_is_let_in_twice_or_unseen(tmp_path):
    async def test(door, bob):
        for waiting in ("", "nobody", bob.id):
            with pytest.raises(PeerError, match="does not wait"):
                door.admissions.approve(waiting)
        guest = Guest(bob, door)
        asking = asyncio.create_task(guest.ask())
        await until(door.admissions.pending)
        door.admissions.approve(bob.id)
        with pytest.raises(PeerError):
            door.admissions.approve(bob.id)
        await asking
        assert door.kinds().count("admitted") == 1

    at_the_door(tmp_path, test)


def test_who_goes_waits_no_longer_and_cannot_be_let_in_at_that_moment(tmp_path):
    async def test(door, bob):
        guest = Guest(bob, door)
        asking = asyncio.create_task(guest.ask())
        await until(door.admissions.pending)
        guest.stream.close()
        (waiting,) = door.admissions._waiting.values()
        while not waiting.conversation.ended:  # until the member's side has noticed, before anything else has run
            await asyncio.sleep(0)
        with pytest.raises(PeerError, match="does not wait"):
            door.admissions.approve(bob.id)
        await asking
        await until(lambda: not door.admissions.pending())
        assert door.kinds() == ["pending", "gone"] and not door.admissions.admitted_lately
        assert guest.ended() is None

    at_the_door(tmp_path, test)


def test_a_device_that_asks_again_waits_once(tmp_path):
    async def test(door, bob):
        first, second = Guest(bob, door), Guest(bob, door, "bobby")
        asking = [asyncio.create_task(first.ask())]
        await until(door.admissions.pending)
        asking.append(asyncio.create_task(second.ask()))
        await until(lambda: [each.name for each in door.admissions.pending()] == ["bobby"])
        await asking[0]
        assert first.ended() is None
        door.admissions.approve(bob.id)
        await asking[1]
        assert isinstance(second.ended(), Joined)
        assert "gone" not in door.kinds()

    at_the_door(tmp_path, test)


def test_a_code_lets_one_device_in_and_then_no_other(tmp_path):
    async def test(door, bob, cid):
        code, good_for_s = door.admissions.new_code()
        assert good_for_s == 600
        first, second = Guest(bob, door, code=code), Guest(cid, door, code=code)
        await first.ask()
        await second.ask()
        assert isinstance(first.ended(), Joined) and isinstance(second.ended(), JoinRefused)
        assert door.kinds() == ["admitted", "refused"] and "with the code" in door.events[0][1]
        assert not door.admissions._waiting

    at_the_door(tmp_path, test, "bob cid")


def test_codes_are_not_made_without_end(tmp_path):
    async def test(door, bob):
        for _ in range(8):
            door.admissions.new_code()
        with pytest.raises(ValueError, match="open already"):
            door.admissions.new_code()

    at_the_door(tmp_path, test)


def test_a_token_lets_many_in_under_names_of_their_own(tmp_path):
    async def test(door, bob, cid):
        text = door.admissions.new_token(1.0, [door.member.address])
        token = read_token(text, time.time())
        names = []
        for each in (bob, cid):
            guest = Guest(each, door, "den", token=token)
            await guest.ask()
            names.append(guest.ended().membership.name)
            door.taken.add(names[-1])
        assert names == ["den", "den-2"]

    at_the_door(tmp_path, test, "bob cid")


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e9])
def test_tokens_are_good_for_a_time_that_can_be(tmp_path, hours):
    async def test(door, bob):
        with pytest.raises(ValueError, match=r"."):
            door.admissions.new_token(hours, [])

    at_the_door(tmp_path, test)


def test_garbage_is_refused_and_leaves_nobody_waiting(tmp_path):
    async def test(door, bob):
        for raw in (b"", b"\xc1", b"garbage" * 100):
            stream = await bob.links.open_join(door.member.address)
            stream.send(raw)
            with contextlib.suppress(LinkError):
                while await stream.receive(5.0):
                    pass
            assert stream.ended
        await until(lambda: not door.admissions._waiting)
        assert set(door.kinds()) == {"refused"}

    at_the_door(tmp_path, test)


def test_one_host_cannot_take_all_places(tmp_path):
    async def test(door, *devices):
        asking = []
        for each in devices:
            asking.append(asyncio.create_task(Guest(each, door).ask()))
            await until(lambda each=each: each.id in door.admissions._waiting)
        await until(lambda: len(door.admissions._waiting) <= PER_HOST_MAX)
        assert set(door.admissions._waiting) == {each.id for each in devices[-PER_HOST_MAX:]}
        door.admissions.close()
        await asyncio.gather(*asking)

    at_the_door(tmp_path, test, " ".join(f"d{number}" for number in range(PER_HOST_MAX + 2)))


def test_a_door_that_is_closed_hangs_up_and_tells_nothing_more(tmp_path):
    async def test(door, bob):
        guest = Guest(bob, door)
        asking = asyncio.create_task(guest.ask())
        await until(door.admissions.pending)
        door.admissions.close()
        await asking
        assert guest.ended() is None and door.kinds() == ["pending"]
        await until(lambda: not door.admissions._waiting)
        late = Guest(bob, door)
        await late.ask()
        assert late.ended() is None and door.kinds() == ["pending"]

    at_the_door(tmp_path, test)
