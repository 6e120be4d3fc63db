"""Peers as wholes, over real sockets: they join by each of the ways, know each other, part, and come back."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from meshwit.peer.control.api import PeerError, PeerView
from meshwit.peer.control.options import UpError
from meshwit.peer.mesh.profile import encode
from meshwit.peer.mesh.sightings import Sighting, mesh_hash
from tests.peer.mesh.small_peers import alone_on_this_device, founded, in_a_lab


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    alone_on_this_device(monkeypatch, tmp_path)


def test_two_open_devices_know_each_other_by_name_and_score(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        await lab.until(lambda: all(each.score > 0 for each in first.peer.peers()), "scores")
        me, other = first.peer.peers()
        assert me.me and me.name == "ada" and other.name == "bob"
        assert me.share == pytest.approx(0.5) and other.share == pytest.approx(0.5)
        assert other.address == f"127.0.0.1:{second.port}" and other.slots and other.memory
        assert second.peer.mesh().id == first.peer.mesh().id and first.peer.mesh().peers_alive == 2
        assert first.peer.mesh().open

    in_a_lab(tmp_path, test)


def test_a_code_lets_one_device_in_and_wrong_ones_do_not(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        code = (await first.peer.invite("code", 0)).text
        second = lab.device("bob").start(first)
        number = code.partition("-")[0]
        for wrong in ("no code at all", f"{(int(number) + 1) % 90 + 10}-otter-violin"):
            second.owner.typed.put_nowait(wrong)
        await lab.until(lambda: len(second.owner.wrong) == 2, "both are wrong")
        second.owner.typed.put_nowait(f"  {code.upper().replace('-', ' ')} ")
        await second.until_up()
        await lab.until_all_know(first, second)
        third = lab.device("cid").start(first)
        third.owner.typed.put_nowait(code)
        await lab.until(lambda: third.owner.wrong, "it was for one device")
        assert first.states() == {"bob": "alive"}

    in_a_lab(tmp_path, test)


def test_a_person_approves_after_both_show_the_same_words(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        second = lab.device("bob").start(first)
        await lab.until(lambda: first.peer.mesh().pending, "it waits")
        (pending,) = first.peer.mesh().pending
        await lab.until(lambda: second.owner.shown, "it shows words too")
        mesh = first.peer.mesh().name
        assert second.owner.shown == [(pending.words, mesh)] and second.owner.meshes == [mesh]
        assert pending.name == "bob" and pending.address == "127.0.0.1"
        with pytest.raises(PeerError, match="no device named eve") as told:
            await first.peer.approve("eve")
        assert "bob" in told.value.hint
        assert "bob" in await first.peer.approve("bob")
        await second.until_up()
        await lab.until_all_know(first, second)
        assert first.peer.mesh().pending == []
        with pytest.raises(PeerError):
            await first.peer.approve("bob")

    in_a_lab(tmp_path, test)


def test_any_member_may_approve_whoever_waits_at_another(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        await first.down()
        await first.up()  # the door of this one is closed now
        await lab.until_all_know(first, second)
        third = lab.device("cid").start(first)
        await lab.until(lambda: second.peer.mesh().pending, "it is told everywhere")
        (pending,) = second.peer.mesh().pending
        assert (pending.name, pending.address) == ("cid", "at ada")
        assert "ada" in await second.peer.approve(pending.words)
        await third.until_up()
        await lab.until_all_know(first, second, third)
        await lab.until(lambda: not second.peer.mesh().pending, "it waits no longer")
        assert any("cid" in text for text in second.happened("pending"))

    in_a_lab(tmp_path, test)


def test_a_token_lets_many_devices_in_with_nobody_in_front_of_them(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        token = (await first.peer.invite("token", 1)).text
        others = [lab.device(name).start(invite=token) for name in ("bob", "cid")]
        await asyncio.gather(*(each.until_up() for each in others))
        await lab.until_all_know(first, *others)
        assert all(not each.owner.asked for each in others)

    in_a_lab(tmp_path, test)


def test_two_devices_of_one_name_get_two_names(tmp_path):
    async def test(lab):
        first = await founded(lab, "den", open=True)
        second = await lab.device("den", tmp_path / "other").up(first, open=True)
        await lab.until(lambda: first.alive() == second.alive() == {"den", "den-2"}, "two names")
        await second.down()
        await second.up(open=True)
        await lab.until(lambda: first.alive() == second.alive() == {"den", "den-2"}, "still two names")

    in_a_lab(tmp_path, test)


def test_a_second_peer_of_the_same_home_joins_by_itself(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        second = await lab.device("bob", first.home).up()
        await lab.until_all_know(first, second)
        assert first.peer.parts.port != second.port
        devices = {each.parts.roster.member(each.parts.me).device for each in (first.peer, second.peer)}
        assert len(devices) == 1 and devices != {""}

    in_a_lab(tmp_path, test)


def test_whoever_goes_says_so_and_comes_back_without_any_question(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        await second.down()
        await lab.until(lambda: first.states() == {"bob": "left"}, "it said goodbye")
        second.owner.asked = 0
        await second.up()
        await lab.until_all_know(first, second)
        assert second.owner.asked == 0
        assert not second.peer.mesh().open, "a door once open is closed when nobody asks for it any more"

    in_a_lab(tmp_path, test)


def test_ctrl_c_is_a_goodbye_too(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        await second.cancel()
        await lab.until(lambda: first.states() == {"bob": "left"}, "it said goodbye")

    in_a_lab(tmp_path, test)


def test_an_expelled_peer_stops_and_does_not_come_back(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        third = await lab.device("cid").up(first, open=True)
        await lab.until_all_know(first, second, third)
        assert "cid" in await second.peer.expel("cid")
        fault = await third.ended()
        assert "expelled" in fault.message and "meshwit leave" in fault.hint
        await lab.until_all_know(first, second)
        assert "cid" not in first.states() | second.states()
        with pytest.raises(UpError, match="expelled"):
            await third.up(open=True)
        await lab.until(lambda: first.peer.parts.keeper.membership.secrets[0] ==
                        second.peer.parts.keeper.membership.secrets[0], "both have the new secret")  # fmt: skip
        assert not first.peer.parts.keeper.secret_is_stale
        assert any("cid" in text for text in first.happened("expelled"))

    in_a_lab(tmp_path, test)


def test_the_second_peer_of_an_expelled_device_is_out_with_it(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        beside = await lab.device("bob-too", second.home).up()
        await lab.until_all_know(first, second, beside)
        await lab.until(lambda: second.id in first.linked() and beside.id in first.linked(), "all are linked")
        secret = first.peer.parts.keeper.membership.secrets[0].id
        await first.peer.expel("bob")
        assert await second.ended() is not None
        assert await beside.ended() is not None
        await lab.until(lambda: first.alive() == {"ada"}, "both are gone")
        after = first.peer.parts.keeper.membership.secrets[0].id
        assert after != secret
        for profile in ("1", "2"):
            membership = (second.home / "peers" / profile / "membership.msgpack").read_bytes()
            assert after not in membership, "who is out learns no new secret"

    in_a_lab(tmp_path, test)


def test_leaving_forgets_the_mesh_and_the_name_is_free_again(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        assert first.peer.mesh().name in await second.peer.leave()
        assert await second.ended() is None
        assert not list(second.home.glob("peers/*/membership.msgpack"))
        await lab.until(lambda: first.states() == {"bob": "left"}, "it said goodbye")
        await second.up(first, open=True)
        await lab.until_all_know(first, second)
        assert second.peer.parts.keeper.membership.name == "bob"

    in_a_lab(tmp_path, test)


def test_only_who_is_gone_is_forgotten(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        with pytest.raises(PeerError, match="alive"):
            await first.peer.forget("bob")
        for name in ("ada", "nobody"):
            with pytest.raises(PeerError):
                await first.peer.forget(name)
        await second.down()
        await lab.until(lambda: first.states() == {"bob": "left"}, "it said goodbye")
        await first.peer.forget("bob")
        assert first.states() == {} and not first.peer.parts.book.peers
        await second.up()
        await lab.until_all_know(first, second)

    in_a_lab(tmp_path, test)


def test_nothing_can_be_asked_of_a_peer_that_does_not_run(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        peer = first.peer
        await first.down()
        for asked in (peer.mesh, peer.peers):
            with pytest.raises(PeerError, match="starting or stopping"):
                asked()
        with pytest.raises(PeerError):
            await peer.invite("code", 0)
        assert [event async for event in peer.subscribe()] == []

    in_a_lab(tmp_path, test)


def test_a_member_is_not_let_into_another_mesh_by_an_invite(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada")
        second = await founded(lab, "bob")
        token = (await first.peer.invite("token", 1)).text
        await second.down()
        with pytest.raises(UpError, match="the invite is into") as told:
            await second.up(invite=token)
        assert "meshwit leave" in told.value.hint
        with pytest.raises(UpError, match="in the mesh"):
            await second.up(new=True)

    in_a_lab(tmp_path, test)


def test_two_open_meshes_of_one_device_each_become_one(tmp_path):
    """What happens when two devices start at the same moment, and each has founded before it saw the other."""

    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await founded(lab, "bob", open=True)
        assert first.peer.mesh().id != second.peer.mesh().id
        sighting = _sighting_of(first)
        _see(second, sighting)
        _see(first, _sighting_of(second))
        names = {"ada", "bob"}
        await lab.until(lambda: first.alive() == names and second.alive() == names, "one mesh")
        assert first.peer.mesh().id == second.peer.mesh().id
        assert first.runs and second.runs

    in_a_lab(tmp_path, test)


def test_a_mesh_that_was_asked_for_is_not_given_up(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True, new=True)
        second = await founded(lab, "bob", open=True, new=True)
        meshes = {each.peer.mesh().id for each in (first, second)}
        _see(second, _sighting_of(first))
        _see(first, _sighting_of(second))
        await lab.until(lambda: first.peer.mesh().other_meshes and second.peer.mesh().other_meshes, "they are seen")
        await asyncio.sleep(0.2)
        assert {each.peer.mesh().id for each in (first, second)} == meshes

    in_a_lab(tmp_path, test)


def test_a_member_that_says_nonsense_of_itself_harms_nobody(tmp_path):
    async def test(lab):
        first = await founded(lab, "ada", open=True)
        second = await lab.device("bob").up(first, open=True)
        await lab.until_all_know(first, second)
        gossiping = second.peer.parts.gossiping
        nonsense = msgspec.structs.replace(
            second.peer.parts.roster.member(second.id),
            addresses=("no address", "999.1.2.3", "", "::::"),
            port=0,
            capabilities={"cpu.cores": True, "memory": -1, "weight": float("nan")},
        )
        gossiping.publish("member", encode(nonsense))
        for topic in ("load", "score", "rates", "pending", "need", "jobs"):
            gossiping.publish(topic, b"\xc1 nonsense")
        await lab.until(lambda: first.peer.parts.roster.member(second.id).port == 0, "it has arrived")
        third = await lab.device("cid").up(first, open=True)
        await lab.until_all_know(first, second, third)
        shown = first.peer.peers()
        assert msgspec.json.decode(msgspec.json.encode(shown), type=list[PeerView]) == shown
        await second.peer.down()
        await second.ended()
        await lab.until(lambda: first.states()["bob"] == "left", "its goodbye is heard")

    in_a_lab(tmp_path, test)


def _sighting_of(device):
    address = ("127.0.0.1", device.port)
    return Sighting(mesh_hash(device.peer.parts.keeper.mesh), (address,), device.port, device.name * 8)


def _see(device, sighting) -> None:
    """As if it had been heard by mDNS."""
    device.peer.parts.discovery._on_found(sighting)
