"""Attacks on a whole peer that runs: all refused, and afterwards it answers its owner and takes in who may come in.

What a part refuses by itself is in `tests/peer/{trust,wire,control}`; `docs/security.md` lists all attacks. `mallory`
is the attacker: a stranger on the network, a member that lies, or one that was expelled, with all that it ever knew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshwit.bench.scores import CLASSES
from meshwit.gossip.messages import Claim, encode
from meshwit.gossip.messages import News as GossipNews
from meshwit.ids import PeerId, id_bytes, id_text
from meshwit.peer.control.options import UpError
from meshwit.peer.mesh import profile
from meshwit.peer.mesh.gossiping import HEARD_MAX
from meshwit.peer.mesh.news import Approve, Standing
from meshwit.peer.mesh.sightings import Sighting
from meshwit.peer.trust.expulsions import expulsion_by, expulsion_record, verdict_on
from meshwit.peer.trust.invites import make_token, read_token
from meshwit.peer.trust.join_effects import Joined, JoinRefused, RefusalKind, Way
from meshwit.peer.trust.join_messages import Ask, decode
from meshwit.peer.trust.join_messages import Reveal as JoinReveal
from meshwit.peer.trust.join_messages import encode as encode_join
from meshwit.peer.trust.keys import DeviceKey
from meshwit.peer.trust.membership import MeshSecret
from meshwit.peer.trust.store import read_membership
from meshwit.peer.trust.words import code_number
from meshwit.peer.wire.datagrams import DatagramKind
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.handshake import HandshakeFailed, Proved
from meshwit.records import signed_record
from tests.mesh.attacked import (
    ELSEWHERE,
    GET_MESH,
    HOST,
    Attacker,
    FalseServer,
    Person,
    Runs,
    Wire,
    founded,
    joined,
    linked,
    loopback,
    news,
    run,
    running,
    sealer,
    tapped,
    unharmed,
    until,
)

__all__ = ["loopback"]

Attack = Callable[[Runs], Coroutine[Any, Any, None]]
ADA, BOB = "ada-at-the-window", "bob-by-the-door"
"""Names that nobody finds by chance in what is encrypted."""


@pytest.fixture
def elsewhere() -> str:
    """Another address of this device's loopback, where it has some."""
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind((ELSEWHERE, 0))
        except OSError:
            pytest.skip(f"{ELSEWHERE} is no address here")
    return ELSEWHERE


def attacked(folder: Path, attack: Attack, **options: Any) -> None:
    """A founder with a mesh is attacked, and unharmed by it."""

    async def main() -> None:
        async with founded(folder, **options) as ada:
            await attack(ada)
            await unharmed(folder, ada)

    run(main)


def any_id(chance: random.Random) -> PeerId:
    return PeerId(id_text(chance.randbytes(20)))


async def refused(who: Attacker, by: Runs, purpose: str = "member") -> HandshakeFailed:
    """It does not get through the handshake; what it was told."""
    async with Wire(by.address) as wire:
        ended = await wire.shake_hands(who, purpose)
        assert isinstance(ended, HandshakeFailed), ended
        await wire.hear_out()
    assert who.key.id not in by.parts.links.links
    return ended


# --- who is no member --------------------------------------------------------------------------------------------


def test_attack_without_a_certificate(loopback):
    """It knows the id of the mesh, as everybody who ever had an invite does."""

    async def attack(ada: Runs) -> None:
        assert (await refused(Attacker(mesh=ada.membership.mesh), ada)).kind == "identity"

    attacked(loopback, attack)


def test_attack_with_the_certificate_of_a_member_but_not_its_key(loopback):
    async def attack(ada: Runs) -> None:
        thief = Attacker(mesh=ada.membership.mesh, chain=Attacker.member(ada).certificates)
        assert (await refused(thief, ada)).kind == "identity"

    attacked(loopback, attack)


def test_attack_a_member_of_another_mesh(loopback):
    """Once as it is, once with the hash of the mesh that it attacks."""

    async def attack(ada: Runs) -> None:
        async with founded(loopback, "eve") as eve:
            stranger = Attacker.member(eve)
            assert (await refused(stranger, ada)).kind == "wrong_mesh"
            stranger.mesh = ada.membership.mesh
            assert (await refused(stranger, ada)).kind == "identity"

    attacked(loopback, attack)


def test_attack_a_certificate_that_it_wrote_itself(loopback):
    async def attack(ada: Runs) -> None:
        mallory = Attacker(mesh=ada.membership.mesh, chain=ada.membership.chain)
        assert (await refused(mallory.lets_in(), ada)).kind == "identity"

    attacked(loopback, attack)


def test_attack_learning_names_without_being_a_member(loopback):
    """A stranger may ask to be let in; what it gets to see is what the device and the mesh are called."""

    async def attack(ada: Runs) -> None:
        async with joined(loopback, BOB, ada), Wire(ada.address) as wire:
            assert isinstance(await wire.shake_hands(Attacker(), "join"), Proved)
            wire.say(Channel.JOIN, encode_join(Ask("mallory", bytes(32))))
            await wire.hear()
            told = b"".join(payload for _, payload in wire.heard)
            (ready,) = [
                each["about"] for each in map(msgspec.msgpack.decode, wire.on(Channel.HANDSHAKE)) if "about" in each
            ]
            assert ready == {"name": "ada"}
            for secret in (BOB.encode(), ada.membership.mesh_key, ada.membership.secrets[0].key, b"meshwit.plugins"):
                assert secret not in told

    attacked(loopback, attack)


def test_attack_recording_the_wire(loopback):
    """Whoever records a joining by code and all that follows reads no name in it, and can do nothing with it."""

    async def attack(ada: Runs) -> None:
        code = (await ada.peer.invite("code", 1.0)).text
        async with tapped(ada.address) as (way, crossed):
            async with running(loopback, BOB, Person(code), peers=(way,)) as bob:
                await until(lambda: bob.alive() == ada.alive() == {ADA, BOB}, "they know each other")
                secret = ada.membership.secrets[0].key
            recorded = bytes(crossed["in"])
            assert len(recorded) > 500
            for text in (code.encode(), BOB.encode(), ADA.encode(), ada.membership.mesh_name.encode(), secret):
                assert text not in recorded and text not in crossed["out"]
        await until(lambda: not ada.parts.links.links, "bob is gone")
        reader, writer = await asyncio.open_connection(*ada.address)
        with contextlib.suppress(ConnectionError):
            writer.write(recorded)
            await reader.read()
        writer.transport.abort()
        assert not ada.parts.links.links and ada.parts.admissions.pending() == []

    attacked(loopback, attack, name=ADA)


# --- coming in ---------------------------------------------------------------------------------------------------


def test_attack_an_expired_invite(loopback):
    async def attack(ada: Runs) -> None:
        past = time.time() - 7200
        text = make_token(ada.membership, ada.key, past, 1.0, [ada.address], os.urandom)
        with pytest.raises(UpError, match="expired"):
            async with running(loopback, "mallory", invite=text):
                pass
        ended = await Attacker().join(loopback, ada.address, token=read_token(text, past))
        assert isinstance(ended, JoinRefused) and ended.why is RefusalKind.INVITE

    attacked(loopback, attack)


def test_attack_an_invite_by_somebody_expelled(loopback):
    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob:
            text = (await bob.peer.invite("token", 1.0)).text
            await ada.peer.expel("bob")
        ended = await Attacker().join(loopback, ada.address, token=read_token(text, time.time()))
        assert isinstance(ended, JoinRefused) and ended.why is RefusalKind.INVITE

    attacked(loopback, attack)


def test_attack_guessing_codes(loopback):
    """The third wrong one closes the door for a minute, to the right one too, whoever tries."""

    async def attack(ada: Runs) -> None:
        code = (await ada.peer.invite("code", 1.0)).text
        ends = [
            await Attacker().join(loopback, ada.address, code=f"{code_number(code)}-{words}")
            for words in ("otter-violin", "violin-otter", "otter-otter")
        ]
        ends.append(await Attacker().join(loopback, ada.address, code=code))
        whys = [each.why for each in ends if isinstance(each, JoinRefused)]
        assert whys == [RefusalKind.WRONG_CODE, RefusalKind.WRONG_CODE, RefusalKind.WRONG_CODE, RefusalKind.CLOSED]

    attacked(loopback, attack)


def test_attack_a_code_used_again(loopback):
    async def attack(ada: Runs) -> None:
        code = (await ada.peer.invite("code", 1.0)).text
        assert isinstance(await Attacker().join(loopback, ada.address, code=code), Joined)
        ended = await Attacker().join(loopback, ada.address, code=code)
        assert isinstance(ended, JoinRefused) and ended.why is RefusalKind.UNKNOWN_CODE

    attacked(loopback, attack)


def test_attack_a_false_member_pulls_a_new_device_in(loopback):
    """It is near as well, and approves whoever asks; the person at the new device sees other words there."""

    async def attack(ada: Runs) -> None:
        async with founded(loopback, "eve") as eve:

            async def approve_all() -> None:
                while True:
                    for each in eve.peer.mesh().pending:
                        await eve.peer.approve(each.id)
                    await asyncio.sleep(0.01)

            approving = asyncio.create_task(approve_all())
            person = Person(agrees=False)
            bob = Runs(loopback, "bob", person, peers=(eve.address, ada.address))
            try:
                await until(lambda: person.asked, "somebody lets it in")
                waiting = await until(lambda: ada.peer.mesh().pending, "it asks the other one")
                assert read_membership(bob.profile_folder()) is None
                person.agrees = True
                await ada.peer.approve(waiting[0].id)
                await bob.ready.wait()
                assert bob.membership.mesh == ada.membership.mesh
            finally:
                approving.cancel()
                await asyncio.gather(approving, return_exceptions=True)
                await bob.stop()
        await until(lambda: "bob" not in ada.alive(), "bob is gone")

    attacked(loopback, attack)


def test_attack_a_false_member_says_that_the_code_is_wrong(loopback):
    """The code is tried at the others all the same, and a false member learns nothing of it."""

    async def attack(ada: Runs) -> None:
        async with founded(loopback, "eve") as eve:
            code = (await ada.peer.invite("code", 1.0)).text
            number = code_number(code)
            eve.parts.admissions._codes._codes[number] = (f"{number}-otter-violin", float("inf"))
            async with running(loopback, "bob", Person(code), peers=(eve.address, ada.address)) as bob:
                assert bob.membership.mesh == ada.membership.mesh
                assert eve.parts.admissions._codes._wrong == 1, "it was asked first"
                await until(lambda: "bob" in ada.alive(), "bob is a member")

    attacked(loopback, attack)


def test_attack_coming_in_where_nobody_has_approved(loopback):
    """Messages of joining in any order, until the member hangs up: nobody was let in."""

    async def attack(ada: Runs) -> None:
        chance = random.Random(1)
        messages = [encode_join(Ask("mallory", bytes(32))), encode_join(JoinReveal(bytes(32))), b"", b"\xc1" * 40]
        for _ in range(12):
            async with Wire(ada.address) as wire:
                assert isinstance(await wire.shake_hands(Attacker(), "join"), Proved)
                for _ in range(6):
                    wire.say(Channel.JOIN, chance.choice(messages))
                await wire.hear_out()
                for payload in wire.on(Channel.JOIN):
                    assert type(decode(payload)).__name__ in ("Nonce", "Refuse")
        assert ada.parts.admissions.pending() == []

    attacked(loopback, attack)


def test_attack_one_host_takes_all_places_at_the_door(loopback, elsewhere):
    async def attack(ada: Runs) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(24):
                wire = await stack.enter_async_context(Wire(ada.address, elsewhere))
                if isinstance(await wire.shake_hands(Attacker(), "join"), Proved):
                    wire.say(Channel.JOIN, encode_join(Ask("mallory", bytes(32))))
            code = (await ada.peer.invite("code", 1.0)).text
            assert isinstance(await Attacker().join(loopback, ada.address, code=code), Joined)

    attacked(loopback, attack)


def test_attack_strangers_at_the_door_make_the_mesh_talk(loopback):
    """They come and go as fast as they can; the mesh is told no more often than people could read."""

    async def attack(ada: Runs) -> None:
        events: list[str] = []

        async def watch() -> None:
            async for event in ada.peer.subscribe():
                events.append(event.kind)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        before = ada.parts.gossip.own_records.get(profile.PENDING)
        for _ in range(40):
            async with Wire(ada.address) as wire:
                assert isinstance(await wire.shake_hands(Attacker(), "join"), Proved)
                wire.say(Channel.JOIN, b"\xc1")
                await wire.hear_out()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await until(lambda: ada.parts._pending_due is None, "what the mesh is to be told was told")
        assert ada.parts.gossip.own_records.get(profile.PENDING) == before
        assert 0 < events.count("refused") <= 25

    attacked(loopback, attack)


def test_attack_a_mesh_that_was_open_once(loopback):
    """Started again without `--open`, it lets nobody in."""

    async def main() -> None:
        async with founded(loopback, open=True) as ada:
            ended = await Attacker().join(loopback, ada.address, accept_open=True)
            assert isinstance(ended, Joined) and ended.way is Way.OPEN
        async with running(loopback, "ada") as ada:
            assert not ada.peer.mesh().open
            async with Wire(ada.address) as wire:
                assert isinstance(await wire.shake_hands(Attacker(), "join"), Proved)
                wire.say(Channel.JOIN, encode_join(Ask("mallory", bytes(32))))
                await wire.hear()
                assert type(decode(wire.on(Channel.JOIN)[0])).__name__ == "Nonce"
            await unharmed(loopback, ada)

    run(main)


@pytest.mark.parametrize("open_", [True, False])
def test_attack_an_open_mesh_nearby_draws_a_mesh_away(loopback, monkeypatch, open_):
    """Only a peer with `--open` goes over to another open mesh, and only while nobody would be left behind."""
    monkeypatch.setenv("MESHWIT_INTERFACES", "none")  # or it might see the open meshes of other tests

    async def main() -> None:
        async with founded(loopback, open=open_):
            pass  # started again, it is one that would go over
        async with contextlib.AsyncExitStack() as stack:
            eve = await stack.enter_async_context(founded(loopback, "eve", open=True))
            ada = await stack.enter_async_context(running(loopback, "ada", open=open_))
            if open_:
                await stack.enter_async_context(joined(loopback, "bob", ada))
            mesh = ada.membership.mesh
            for digit in "0f":  # below and above every other hash
                seen = Sighting(digit * 20, (eve.address,), eve.address[1], digit * 32)
                ada.parts.discovery._on_found(seen)
            await asyncio.sleep(0.8)
            assert ada.membership.mesh == mesh and "ada" not in eve.alive()
            await unharmed(loopback, ada)

    run(main)


# --- floods ------------------------------------------------------------------------------------------------------


async def member_comes_meanwhile(folder: Path, ada: Runs) -> None:
    async with joined(folder, "bob", ada) as bob:
        assert bob.alive() == {"ada", "bob"}
    await until(lambda: "bob" not in ada.alive(), "bob is gone")


def test_attack_slow_loris(loopback, elsewhere):
    """Connections that say one byte, and hold their places while a member comes."""

    async def attack(ada: Runs) -> None:
        writers = []
        for _ in range(12):
            _, writer = await asyncio.open_connection(*ada.address, local_addr=(elsewhere, 0))
            writer.write(b"\x16")
            writers.append(writer)
        await until(lambda: ada.parts.links.turned_away >= 4, "it has taken as many as it takes from one host")
        assert ada.parts.links.unproven <= 8
        await member_comes_meanwhile(loopback, ada)
        for writer in writers:
            writer.transport.abort()

    attacked(loopback, attack)


def test_attack_connection_flood(loopback, elsewhere):
    async def attack(ada: Runs) -> None:
        flooding = True

        async def flood() -> None:
            while flooding:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(*ada.address, local_addr=(elsewhere, 0))
                    writer.transport.abort()
                await asyncio.sleep(0)

        floods = [asyncio.create_task(flood()) for _ in range(4)]
        try:
            await until(lambda: ada.parts.links.turned_away > 100, "most are turned away")
            await member_comes_meanwhile(loopback, ada)
        finally:
            flooding = False
            await asyncio.gather(*floods)

    attacked(loopback, attack)


def test_attack_any_bytes_on_the_port(loopback):
    """Seeded: what is no TLS, and what is no frame within TLS."""

    async def attack(ada: Runs) -> None:
        chance = random.Random(2)
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*ada.address)
            with contextlib.suppress(ConnectionError):
                writer.write(chance.randbytes(chance.randrange(1, 600)))
                writer.write_eof()
                await reader.read()
            writer.transport.abort()
        for length in (0, 1, 2**14 + 2, 2**20 + 2, 2**32 - 1):
            async with Wire(ada.address) as wire:
                wire.writer.write(length.to_bytes(4, "big") + b"\0" + chance.randbytes(2**15))
                await wire.hear_out()
        assert not ada.parts.links.links

    attacked(loopback, attack)


# --- datagrams ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def udp(to: Runs, local: str = HOST) -> AsyncIterator[asyncio.DatagramTransport]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=(local, 0), remote_addr=to.address
    )
    try:
        yield transport
    finally:
        transport.abort()


def test_attack_any_datagrams(loopback):
    async def attack(ada: Runs) -> None:
        chance = random.Random(3)
        rejected = ada.parts.datagrams.rejected
        async with udp(ada) as transport:
            for length in (0, 1, 40, 57, 58, 300, 1400, 1401, 9000):
                transport.sendto(chance.randbytes(length))
                transport.sendto(b"\x01" + chance.randbytes(length))
            await until(lambda: rejected.total() >= 16, "they are refused")
        assert {"short", "long"} <= set(rejected)

    attacked(loopback, attack)


def test_attack_a_replayed_datagram(loopback):
    """Recorded from a member and sent again, from elsewhere: it is dropped, and nothing is sent to that place."""

    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob, udp(ada) as transport:
            recorded = bob.parts.datagrams._sealer.seal(DatagramKind.GOSSIP, encode(GossipNews()))
            before = ada.parts.datagrams.rejected["replay"]
            for _ in range(3):
                transport.sendto(recorded)
            await until(lambda: ada.parts.datagrams.rejected["replay"] >= before + 2, "all but one are replays")
            assert ada.alive() == {"ada", "bob"}
        await until(lambda: "bob" not in ada.alive(), "bob is gone")

    attacked(loopback, attack)


def test_attack_datagrams_of_one_expelled(loopback):
    """It knows the secret of before. In its own name it is not heard at all, in another's no longer than the grace."""

    async def attack(ada: Runs) -> None:
        (old,) = ada.membership.secrets
        async with joined(loopback, "bob", ada) as bob:
            mallory = bob.id
            await ada.peer.expel("bob")
            await until(lambda: bob.over, "it is told")
        (new, *_) = ada.parts.keeper.secrets()
        assert new.key != old.key and new.id != old.id
        rejected = ada.parts.datagrams.rejected
        async with udp(ada) as transport:
            transport.sendto(sealer(mallory, old).seal(DatagramKind.GOSSIP, encode(GossipNews())))
            await until(lambda: rejected["expelled"] or rejected["replay"], "it is refused by its name")
            later = msgspec.structs.replace(ada.membership, renewed_at=int(time.time()) - 11)
            ada.parts.keeper.adopt(later)
            transport.sendto(sealer(DeviceKey(os.urandom(32)).id, old).seal(DatagramKind.GOSSIP, encode(GossipNews())))
            await until(lambda: rejected["secret"], "it is refused by its secret")

    attacked(loopback, attack)


def test_attack_a_member_sends_anything_in_datagrams(loopback):
    """Sealed as it has to be, by a member, in the names of senders that it invents: nothing breaks, nothing grows."""

    async def attack(ada: Runs) -> None:
        chance = random.Random(4)
        secrets = ada.membership.secrets
        async with udp(ada) as transport:
            for number in range(HEARD_MAX + 2000):
                lies = sealer(any_id(chance), *secrets)
                kind = chance.choice((DatagramKind.GOSSIP,) * 9 + (0, 2, 3, 200))
                transport.sendto(lies.seal(kind, chance.randbytes(chance.randrange(60))))
                if not number % 20:
                    await asyncio.sleep(0)
        heard = ada.parts.gossiping._heard_at
        await until(lambda: len(heard) >= HEARD_MAX, "they were heard")
        assert len(heard) == HEARD_MAX
        assert ada.alive() == {"ada"}

    attacked(loopback, attack)


# --- members that lie --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [Channel.GOSSIP, Channel.MEMBERSHIP, Channel.DIRECTORY, Channel.JOB, Channel.BLOB])
def test_attack_garbage_over_a_link(loopback, channel):
    """Seeded: random bytes, and well-formed MessagePack that means nothing here."""

    async def attack(ada: Runs) -> None:
        chance = random.Random(int(channel))
        shapes: list[Any] = [None, 7, "text", [], {}, [1, [b"x"] * 50], {"type": "standing", "secrets": b"\x91\xc0"}]
        shapes += [[tag, *[chance.choice(([], {}, 0, -1, 2**63, b"", "", None)) for _ in range(5)]] for tag in range(9)]
        shapes += [{"type": kind, "waiting": 3, "expulsions": [[1]]} for kind in ("standing", "approve", "other")]
        mallory = Attacker.member(ada)
        async with linked(mallory, ada) as wire:
            for shape in shapes:
                wire.say(channel, msgspec.msgpack.encode(shape))
            for _ in range(50):
                wire.say(channel, chance.randbytes(chance.randrange(400)))
            wire.say(Channel.SESSION, msgspec.msgpack.encode({"type": "ping", "number": 1}))
            await wire.writer.drain()
            async with asyncio.timeout(20):
                while not wire.on(Channel.SESSION):
                    await wire.hear()
        await until(lambda: not ada.parts.links.links, "it is gone")
        assert ada.alive() == {"ada"} and len(ada.membership.expulsions) == 0

    attacked(loopback, attack)


def test_attack_an_oversize_frame_of_a_member(loopback):
    async def attack(ada: Runs) -> None:
        async with linked(Attacker.member(ada), ada) as wire:
            wire.writer.write((2**18 + 2).to_bytes(4, "big") + bytes((Channel.GOSSIP,)))
            await wire.hear_out()
        assert not ada.parts.links.links

    attacked(loopback, attack)


def test_attack_forged_and_stale_records(loopback):
    """A member says things in another's name, signs them with its own key, and repeats what the other said before."""

    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob:
            score = msgspec.msgpack.encode({"score": 9e6} | dict.fromkeys(CLASSES, 1.0))
            later = time.time_ns() // 1_000_000 + 60_000
            mallory = Attacker.member(ada)
            await until(lambda: bob.id in ada.parts.gossip.members, "bob is known")
            held = ada.parts.gossip.members[bob.id].records
            await until(lambda: profile.SCORE in held, "bob told its score")
            true = held[profile.SCORE]
            mine = mallory.record(profile.SCORE, score, later)
            stale = signed_record(bob.key, profile.SCORE, true.version - 1, score)
            forged = [
                msgspec.structs.replace(mine, owner=bob.id, key=bob.key.public_key),
                msgspec.structs.replace(true, payload=score, version=later),
                msgspec.structs.replace(true, version=later),
                msgspec.structs.replace(true, topic=profile.LOAD, version=later),
                stale,
            ]
            async with linked(mallory, ada) as wire:
                wire.say(Channel.GOSSIP, news(*forged))
                wire.say(Channel.GOSSIP, news(mallory.profile()))
                await until(lambda: "mallory" in {each.name for each in ada.peer.peers()}, "it was read")
                assert held[profile.SCORE] == true
                (view,) = [each for each in ada.peer.peers() if each.name == "bob"]
                assert view.score < 9e6 and profile.LOAD in held
        await until(lambda: ada.alive() == {"ada"}, "they are gone")

    attacked(loopback, attack)


def test_attack_a_profile_that_breaks_the_one_who_reads_it(loopback):
    """Addresses that are none, numbers that are none, a name that paints the terminal; the gossip goes on after it."""

    async def attack(ada: Runs) -> None:
        mallory = Attacker.member(ada)
        puppet = mallory.lets_in()  # nowhere to be reached
        odd = {"cpu.cores": -5, "memory": 2**63, "gpu.name": "\x1b[2J", "gpu.count": float("nan")}
        load = profile.LoadProfile(battery=float("nan"), temperature_c=float("inf"), resting="\x1b]0;mine\x07")
        async with linked(mallory, ada) as wire:
            wire.say(
                Channel.GOSSIP,
                news(
                    puppet.profile(addresses=("no host", "", "%%%"), name="a\x1b[31mred\nline", capabilities=odd),
                    puppet.record(profile.LOAD, profile.encode(load)),
                    puppet.record(profile.SCORE, msgspec.msgpack.encode({"score": float("inf")})),
                    puppet.record(profile.PENDING, msgspec.msgpack.encode({"waiting": [["\x1b", "\x1b", "\x1b"]]})),
                ),
            )
            seen = await until(lambda: [each for each in ada.peer.peers() if "mine" in each.note], "all of it is read")
            assert seen[0].id == puppet.key.id and seen[0].name.isprintable() and seen[0].score == 0
            assert all(text.isprintable() for text in (*seen[0].gpus, seen[0].note))
            status, answer = await ada.ask(GET_MESH)
            assert status == 200 and all(each["words"].isprintable() for each in answer["pending"])
            assert ada.parts.gossiping._timer is not None
            wire.say(Channel.GOSSIP, news(mallory.profile()))
            await until(lambda: "mallory" in ada.alive(), "it goes on")
        await until(lambda: ada.alive() == {"ada"}, "it is gone")

    attacked(loopback, attack)


def test_attack_members_that_were_never_let_in(loopback):
    """A member tells of peers whose certificates are of another mesh, or of nobody."""

    async def attack(ada: Runs) -> None:
        async with founded(loopback, "eve") as eve:
            strangers = [Attacker.member(eve), Attacker(), Attacker(chain=ada.membership.chain)]
            mallory = Attacker.member(ada)
            async with linked(mallory, ada) as wire:
                wire.say(Channel.GOSSIP, news(*(each.profile(name="ghost") for each in strangers)))
                claims = [Claim(id_bytes(each.key.id), 1, 5) for each in strangers]
                wire.say(Channel.GOSSIP, encode(GossipNews(claims=claims)))
                wire.say(Channel.GOSSIP, news(mallory.profile()))
                await until(lambda: ada.alive() >= {"mallory"}, "it was read")
                assert {each.name for each in ada.peer.peers()} == {"ada", "mallory"}
        await until(lambda: ada.alive() == {"ada"}, "it is gone")

    attacked(loopback, attack)


def test_attack_a_flood_of_expulsions(loopback):
    """Each record is a good one; they are taken at once, bounded, and everybody who matters is still there."""

    async def attack(ada: Runs) -> None:
        mallory = Attacker.member(ada)
        changes: list[int] = []
        ada.parts.keeper.on_change.append(lambda membership: changes.append(len(membership.expulsions)))
        records = tuple(
            expulsion_record(
                mallory.key,
                expulsion_by(mallory.certificates, verdict_on(any_id(random.Random(seed)), "x", ()), time.time()),
                1,
            )
            for seed in range(100)
        )
        async with linked(mallory, ada) as wire:
            wire.say(Channel.MEMBERSHIP, msgspec.msgpack.encode(Standing(expulsions=records)))
            await until(lambda: changes, "it was read")
            assert changes[0] == 100
        assert not ada.over

    attacked(loopback, attack)


def test_attack_a_secret_that_would_be_the_newest_for_ever(loopback):
    async def attack(ada: Runs) -> None:
        mallory = Attacker.member(ada)
        (before,) = ada.membership.secrets
        eternal = MeshSecret(b"e" * 8, int(time.time()) + 10 * 366 * 86_400, b"k" * 32, before.covers)
        broken = MeshSecret(b"e", 5, b"k", b"")
        async with linked(mallory, ada) as wire:
            for secret in (eternal, broken):
                standing = Standing(secrets=msgspec.msgpack.encode((secret,)))
                wire.say(Channel.MEMBERSHIP, msgspec.msgpack.encode(standing))
            wire.say(Channel.MEMBERSHIP, msgspec.msgpack.encode(Approve("nobody")))
            wire.say(Channel.GOSSIP, news(mallory.profile()))
            await until(lambda: "mallory" in {each.name for each in ada.peer.peers()}, "all was read")
        assert ada.membership.secrets == (before,)

    attacked(loopback, attack)


# --- who was expelled --------------------------------------------------------------------------------------------


def test_attack_an_expelled_peer_returns(loopback):
    """With its own program, with a changed one, and by asking to be let in again."""

    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob:
            thief = Attacker(bob.key, ada.membership.mesh, bob.membership.chain)
            await ada.peer.expel("bob")
            await until(lambda: bob.over, "it is told")
            assert "expelled" in str(bob.fault)
        with pytest.raises(UpError, match="expelled"):
            async with running(loopback, "bob"):
                pass
        assert (await refused(thief, ada)).kind == "expelled"
        code = (await ada.peer.invite("code", 1.0)).text
        ended = await thief.join(loopback, ada.address, code=code)
        assert isinstance(ended, JoinRefused) and ended.why is RefusalKind.EXPELLED

    attacked(loopback, attack)


def test_attack_an_expelled_peer_returns_through_a_device_it_let_in(loopback):
    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob:
            thief = Attacker(bob.key, ada.membership.mesh, bob.membership.chain)
            await ada.peer.expel("bob")
        puppet = thief.lets_in()
        assert (await refused(puppet, ada)).kind == "expelled"
        assert (await refused(puppet.lets_in("another"), ada)).kind == "expelled"

    attacked(loopback, attack)


def test_attack_a_puppet_that_was_linked_before_and_told_nobody_of_itself(loopback):
    """Let in by the expelled, connected, never seen in the gossip: its link ends too, and it is told no new secret."""

    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob:
            thief = Attacker(bob.key, ada.membership.mesh, bob.membership.chain)
            async with linked(thief.lets_in(), ada) as wire:
                await ada.peer.expel("bob")
                new = ada.parts.keeper.secrets()[0].key
                await wire.hear_out()
                assert not any(new in payload for _, payload in wire.heard)
                assert any(b"standing" in payload for payload in wire.on(Channel.MEMBERSHIP))
        await until(lambda: not ada.parts.links.links, "nobody is linked")

    attacked(loopback, attack)


def test_attack_expelled_between_proof_and_link(loopback):
    """It holds the handshake open until it is expelled, and only then says that it is ready."""

    async def attack(ada: Runs) -> None:
        mallory = Attacker.member(ada)
        async with FalseServer(mallory, loopback) as server:
            dialling = asyncio.create_task(ada.parts.links.connect(None, [server.address]))
            await server.proved.wait()
            ada.parts.keeper.expel(mallory.key.id, {mallory.key.id: mallory.certificates})
            new = ada.parts.keeper.secrets()[0].key
            server.may_go_on.set()
            await asyncio.gather(dialling, return_exceptions=True)
            await server.over.wait()
            assert not any(new in payload for _, payload in server.heard)
        assert mallory.key.id not in ada.parts.links.links

    attacked(loopback, attack)


def test_attack_an_expelled_peer_expels_in_return(loopback):
    """The record of the senior stands, in whatever order they come."""

    async def attack(ada: Runs) -> None:
        async with joined(loopback, "bob", ada) as bob:
            chain = bob.membership.chain
            revenge = expulsion_by(chain, verdict_on(ada.id, "ada", ()), 1.0)
            record = expulsion_record(bob.key, revenge, 1)
            await ada.peer.expel("bob")
        async with linked(Attacker.member(ada), ada) as wire:
            wire.say(Channel.MEMBERSHIP, msgspec.msgpack.encode(Standing(expulsions=(record,))))
            await until(lambda: record in ada.membership.expulsions, "it was read")
            assert not ada.over and ada.id not in ada.membership.expelled

    attacked(loopback, attack)


# --- the control socket ------------------------------------------------------------------------------------------

_POST = (
    "POST /v1/invite HTTP/1.1\r\nHost: {host}\r\n{extra}Content-Type: {kind}\r\nContent-Length: 2\r\n"
    "Connection: close\r\n\r\n{{}}"
)


@pytest.mark.parametrize(
    ("host", "extra", "kind", "status"),
    [
        ("127.0.0.1:PORT", "Origin: https://evil.example\r\nAuthorization: Bearer TOKEN\r\n", "application/json", 403),
        ("127.0.0.1:PORT", "Origin: null\r\nAuthorization: Bearer TOKEN\r\n", "application/json", 403),
        ("127.0.0.1:PORT", "Sec-Fetch-Site: cross-site\r\nAuthorization: Bearer TOKEN\r\n", "application/json", 403),
        ("evil.example:PORT", "Authorization: Bearer TOKEN\r\n", "application/json", 403),
        ("127.0.0.1.nip.io:PORT", "Authorization: Bearer TOKEN\r\n", "application/json", 403),
        ("127.0.0.1:PORT", "Authorization: Bearer TOKEN\r\n", "text/plain", 415),
        ("127.0.0.1:PORT", "", "application/json", 401),
        ("127.0.0.1:PORT", "Authorization: Bearer " + "A" * 43 + "\r\n", "application/json", 401),
    ],
)
def test_attack_requests_of_a_web_page_and_of_another_user(loopback, host, extra, kind, status):
    """Cross-site, with a rebound name, as a form, and without the token that only the owner's account can read."""

    async def attack(ada: Runs) -> None:
        answered, body = await ada.ask(_POST.format(host=host, extra=extra, kind=kind))
        assert (answered, "text" in body) == (status, False)

    attacked(loopback, attack)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no mode bits: the folder of the user's profile protects them")
def test_attack_another_user_reads_the_files(loopback):
    async def attack(ada: Runs) -> None:
        for path in (ada.home / "peers").rglob("*"):
            if path.name not in ("lock", "certificate.pem"):
                assert path.stat().st_mode & 0o077 == 0, path
        assert {"key.pem", "control.json", "membership.msgpack"} <= {
            each.name for each in ada.profile_folder().iterdir()
        }

    attacked(loopback, attack)


# --- what is said about it ---------------------------------------------------------------------------------------


def test_the_page_on_security_lists_every_attack_and_none_that_is_not_there():
    root = Path(__file__).parents[2]
    listed = set(re.findall(r"`(test_\w+\.py::test_\w+)`", (root / "docs" / "security.md").read_text("utf-8")))
    there = {
        f"{path.name}::{name}"
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    attacks = {each for each in there if re.search(r"::test_(fuzz_)?attack_", each)}
    assert listed <= there, listed - there
    assert attacks <= listed, attacks - listed
    assert len(listed) >= 40
