"""Peers on one network find each other, by records that tell others nothing of them; floods are bounded."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.ids import mesh_id
from meshwit.peer.mesh import discovery
from meshwit.peer.mesh.discovery import Discovery, browse
from meshwit.peer.mesh.interfaces import Interface, InterfaceKind
from meshwit.peer.mesh.sightings import (
    ADDRESSES_MAX,
    NEWS_BURST,
    SERVICE,
    SIGHTINGS_MAX,
    Sighting,
    Sightings,
    mesh_hash,
    read_sighting,
)
from tests.netlab import Host, Netlab, require_netlab

MESH = mesh_id(b"the mesh's public key")
HASH = mesh_hash(MESH)
INSTANCE = "0123456789abcdef" * 2
NAME = f"{INSTANCE}.{SERVICE}"
FIELDS = {b"m": HASH.encode()}
PATIENCE_S = 60.0
"""A peer that tells nothing for so long is ended, and the test with it."""


def sighting(number: int = 0, *hosts: str, port: int = 7723) -> Sighting:
    return Sighting(HASH, tuple((host, port) for host in hosts or ("10.0.0.1",)), port, f"{number:032x}")


# --- what a record says ------------------------------------------------------------------------------------------


def test_the_hash_of_a_mesh_is_always_the_same_and_holds_nothing_of_its_id():
    assert mesh_hash(MESH) == HASH
    assert mesh_hash(mesh_id(b"another")) != HASH
    assert len(HASH) == 20
    assert HASH not in MESH


def test_a_record_is_read_and_its_addresses_ordered():
    hosts = ["fe80::1%3", "fd00::1", "10.0.0.1", "fe80::2", "224.0.0.1", "0.0.0.0", "rubbish host", "10.0.0.1"]
    read = read_sighting(NAME, FIELDS, 7723, hosts)
    assert read == Sighting(HASH, (("10.0.0.1", 7723), ("fd00::1", 7723), ("fe80::1%3", 7723)), 7723, INSTANCE)
    many = read_sighting(NAME, FIELDS, 7723, [f"10.0.0.{each}" for each in range(1, 50)])
    assert many is not None
    assert len(many.addresses) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("name", "fields", "port", "hosts"),
    [
        (f"Ada's laptop.{SERVICE}", FIELDS, 7723, ["10.0.0.1"]),
        (f"{INSTANCE}._http._tcp.local.", FIELDS, 7723, ["10.0.0.1"]),
        (NAME, {}, 7723, ["10.0.0.1"]),
        (NAME, {b"m": None}, 7723, ["10.0.0.1"]),
        (NAME, {b"m": b"\xff" * 20}, 7723, ["10.0.0.1"]),
        (NAME, {b"m": b"0" * 2000}, 7723, ["10.0.0.1"]),
        (NAME, FIELDS, 0, ["10.0.0.1"]),
        (NAME, FIELDS, None, ["10.0.0.1"]),
        (NAME, FIELDS, 70_000, ["10.0.0.1"]),
        (NAME, FIELDS, 7723, ["fe80::1"]),
        (NAME, FIELDS, 7723, []),
    ],
)
def test_a_record_of_another_form_is_nothing(name, fields, port, hosts):
    assert read_sighting(name, fields, port, hosts) is None


@given(
    st.text(max_size=80),
    st.dictionaries(st.binary(max_size=4) | st.just(b"m"), st.none() | st.binary(max_size=40), max_size=4),
    st.none() | st.integers(),
    st.lists(st.text(max_size=40), max_size=12),
)
def test_no_record_makes_reading_fail(name, fields, port, hosts):
    for each in (name, NAME):
        read_sighting(each, fields, port, hosts)


# --- sightings ---------------------------------------------------------------------------------------------------


def test_a_peer_is_news_once_and_again_at_another_address():
    seen = Sightings()
    assert seen.seen(sighting(1), "4", 0) == sighting(1)
    assert seen.seen(sighting(1), "4", 1) is None
    assert seen.seen(sighting(1, "fd00::1"), "6", 1) == sighting(1, "10.0.0.1", "fd00::1")
    assert list(seen) == [sighting(1, "10.0.0.1", "fd00::1")]


def test_a_peer_is_gone_when_nobody_hears_it_any_more():
    seen = Sightings()
    seen.seen(sighting(1), "4", 0)
    seen.seen(sighting(1), "6", 0)
    assert seen.gone(sighting(1).instance, "4") is None
    assert seen.gone(sighting(1).instance, "4") is None
    assert seen.gone(sighting(1).instance, "6") == sighting(1)
    assert seen.gone("nobody", "6") is None
    assert len(seen) == 0


def test_the_own_record_is_no_sighting():
    seen = Sightings()
    seen.own(sighting(1).instance)
    assert seen.seen(sighting(1), "4", 0) is None
    assert len(seen) == 0


def test_after_the_network_changed_everything_is_news():
    seen = Sightings()
    seen.seen(sighting(1), "4", 0)
    seen.clear()
    assert seen.seen(sighting(1), "4", 1) is not None


def test_a_flood_is_bounded_and_does_not_keep_out_the_next_real_one():
    seen = Sightings()
    told = [seen.seen(sighting(number), "4", 0.001 * number) for number in range(5_000)]
    assert len(seen) == SIGHTINGS_MAX
    assert NEWS_BURST <= sum(each is not None for each in told) < NEWS_BURST + 100
    assert seen.seen(sighting(9_999), "4", 30) is not None


# --- the adapter -------------------------------------------------------------------------------------------------


def test_without_interfaces_everything_goes_on_and_the_reason_is_told():
    async def main() -> None:
        found: list[Sighting] = []
        alone = Discovery(found.append)
        await alone.start(survey=list)
        await alone.announce(HASH, 7723)
        assert "no interface" in alone.fault
        assert (alone.sightings, found) == ([], [])
        await alone.unannounce()
        await alone.close()
        await alone.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_an_interface_that_is_not_there_does_no_harm():
    async def main() -> None:
        gone = [Interface("eth9", InterfaceKind.REAL, ("203.0.113.77/24", "2001:db8::77/64"))]
        alone = Discovery(lambda _: None)
        await alone.start(survey=lambda: gone)
        await alone.announce(HASH, 7723)
        assert "203.0.113.77" in alone.fault
        await alone.close()
        assert await browse(0.05, survey=lambda: gone) == []

    asyncio.run(asyncio.wait_for(main(), 20))


PEER = """
import asyncio, json, sys
from meshwit.peer.mesh.discovery import Discovery
from meshwit.peer.mesh.interfaces import look

def tell(*words):
    print(json.dumps(words), flush=True)

async def main():
    here = Discovery(
        lambda each: tell("found", each.mesh_hash, each.instance, each.addresses),
        lambda each: tell("lost", each.instance),
    )
    await here.start(look)
    await here.announce(sys.argv[1], 7723)
    tell("up", here.fault)
    while (line := await asyncio.to_thread(sys.stdin.readline)) == "unannounce\\n":
        await here.unannounce()
    await here.close()
    tell("closed")

asyncio.run(main())
"""
BROWSER = """
import asyncio, json
from meshwit.peer.mesh.discovery import browse
found = asyncio.run(browse(10, lambda each: True))
print(json.dumps([[each.mesh_hash, each.addresses] for each in found]))
"""
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3])}


class Running:
    """A peer's discovery in a process on one host of the lab."""

    def __init__(self, host: Host, told: str = HASH) -> None:
        self.process = host.popen(
            [sys.executable, "-c", PEER, told],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.instances: set[str] = set()
        self._told: list[list[Any]] = []

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def until(self, kind: str) -> list[Any]:
        """The next thing of that kind that it tells: others may come before it, and are kept for whoever asks."""
        for place, words in enumerate(self._told):
            if words[0] == kind:
                return self._told.pop(place)
        limit = threading.Timer(PATIENCE_S, self.process.kill)
        limit.start()
        try:
            return self._read_until(kind)
        finally:
            limit.cancel()

    def _read_until(self, kind: str) -> list[Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            words: list[Any] = json.loads(line)
            if words[0] == "found":
                self.instances.add(words[2])
            if words[0] == kind:
                return words
            self._told.append(words)
        raise AssertionError(f"ended without {kind!r}")


@pytest.fixture
def lab() -> Iterator[Netlab]:
    require_netlab()
    with Netlab(3) as made:
        yield made


def hosts_of(found: Sequence[Any]) -> list[str]:
    return [host for host, _ in found[3]]


def test_between_hosts_peers_find_each_other_and_a_newcomer_finds_one(lab):
    first, second = Running(lab.host(0)), Running(lab.host(1))
    assert (first.until("up"), second.until("up")) == (["up", ""], ["up", ""])
    for each, other in ((first, lab.host(1)), (second, lab.host(0))):
        # The record names no host, no user and no mesh: hash, port, addresses.
        _, told, _, _ = found = each.until("found")
        assert told == HASH
        assert hosts_of(found)[0] == other.address
    browsed = json.loads(lab.host(2).run([sys.executable, "-c", BROWSER], env=ENVIRONMENT))
    assert browsed[0][0] == HASH
    assert browsed[0][1][0][0] in {lab.host(0).address, lab.host(1).address}


def test_between_hosts_a_record_taken_back_is_lost_and_the_own_one_never_found(lab):
    first, second = Running(lab.host(0)), Running(lab.host(1))
    own = second.until("found")[2]
    other = first.until("found")[2]
    assert own != other
    second.say("unannounce")
    assert first.until("lost") == ["lost", other]
    second.say("close")
    second.until("closed")
    first.say("close")
    first.until("closed")
    assert own not in first.instances
    assert other not in second.instances


def test_between_hosts_several_peers_of_one_device_are_all_found(lab):
    several = [Running(lab.host(0), str(number) * 20) for number in range(3)]
    watcher = Running(lab.host(1))
    meshes: set[str] = set()
    while len(meshes) < 3:
        meshes.add(watcher.until("found")[1])
    assert meshes == {"0" * 20, "1" * 20, "2" * 20}
    for each in several:
        while len(each.instances) < 3:
            each.until("found")


def test_between_hosts_a_cable_plugged_in_later_is_used(lab):
    lab.cut(0)
    late, waiting = Running(lab.host(0)), Running(lab.host(1))
    waiting.until("up")
    late.until("up")
    lab.heal(0)
    assert lab.host(0).address in hosts_of(waiting.until("found"))
    assert lab.host(1).address in hosts_of(late.until("found"))


def test_between_hosts_lost_datagrams_delay_but_do_not_hide(lab):
    for index in (0, 1):
        lab.loss(index, 20)
    first, second = Running(lab.host(0)), Running(lab.host(1))
    first.until("found")
    second.until("found")


HOLDER = """
import socket
holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
holder.bind(("", 5353))
print("ready", flush=True)
input()
"""


def test_a_port_that_another_program_keeps_to_itself_is_told(lab):
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = lab.host(0).popen([sys.executable, "-c", HOLDER], **pipes)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    peer = Running(lab.host(0))
    assert lab.host(0).address in peer.until("up")[1]
    peer.say("close")
    peer.until("closed")


def test_polling_is_what_later_interfaces_are_found_by(monkeypatch):
    """The survey is asked again and again; what it says is taken over without a restart."""
    monkeypatch.setattr(discovery, "LOOK_EVERY_S", 0.01)
    asked: list[int] = []

    def survey() -> list[Interface]:
        asked.append(1)
        return [] if len(asked) < 3 else [Interface("eth9", InterfaceKind.REAL, ("203.0.113.77/24",))]

    async def main() -> None:
        here = Discovery(lambda _: None)
        await here.start(survey)
        assert here.interfaces == ()
        while not here.interfaces:
            await asyncio.sleep(0.01)
        await here.close()

    asyncio.run(asyncio.wait_for(main(), 20))
