"""The address book remembers where peers were reached, stays small whatever it is told, and survives a torn file."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

import pytest

from meshwit.ids import PeerId, peer_id
from meshwit.peer.mesh.address_book import (
    ADDRESSES_MAX,
    DEFAULT_PORT,
    HOSTS_MAX,
    NAME_LENGTH_MAX,
    PEERS_MAX,
    AddressBook,
    AddressBookFile,
    Book,
    listening_ports,
    peer_address,
    resolve,
)

DEN = peer_id(b"den")
ATTIC = peer_id(b"attic")
NEAR = ("192.168.1.7", 7723)
FAR = ("203.0.113.9", 7723)
SIX = ("fd00::7", 7723)
HOME = [ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00::/64")]


def test_the_own_network_comes_first_then_the_last_success():
    book = AddressBook()
    book.told(DEN, [FAR, SIX, NEAR], now=10)
    assert book.candidates(DEN, 20) == [FAR, SIX, NEAR]
    book.reached(DEN, NEAR, now=11)
    book.reached(DEN, FAR, now=12)
    assert book.candidates(DEN, 20) == [FAR, NEAR, SIX]
    assert book.candidates(DEN, 20, HOME) == [NEAR, SIX, FAR]


def test_a_success_that_lies_in_the_future_counts_for_nothing():
    book = AddressBook()
    book.reached(DEN, FAR, now=1_000)
    book.reached(DEN, NEAR, now=10)
    assert book.candidates(DEN, 20) == [NEAR, FAR]


def test_of_too_many_addresses_those_that_worked_are_kept():
    book = AddressBook()
    book.reached(DEN, NEAR, now=10)
    for number in range(5):
        book.told(DEN, [(f"10.0.{number}.{each}", 7723) for each in range(20)], now=20 + number)
    assert len(book.candidates(DEN, 30)) == ADDRESSES_MAX
    assert book.candidates(DEN, 30)[0] == NEAR


def test_what_is_told_is_checked():
    book = AddressBook()
    book.told(DEN, [("no host", 7723), ("10.0.0.1", 70_000), ("", 1), NEAR], now=10, name="den\x1b[31m" * 50)
    assert book.candidates(DEN, 20) == [NEAR]
    assert len(book.peers[DEN].name) == NAME_LENGTH_MAX
    assert "\x1b" not in book.peers[DEN].name
    book.told(PeerId("../../etc"), [NEAR], now=10)
    book.told(ATTIC, [], now=10)
    assert set(book.peers) == {DEN}


def test_names_are_kept_until_another_comes():
    book = AddressBook()
    book.told(DEN, [NEAR], now=10, name="den")
    book.reached(DEN, NEAR, now=11)
    assert book.peers[DEN].name == "den"
    book.reached(DEN, NEAR, now=12, name="study")
    assert book.peers[DEN].name == "study"


def test_the_peer_not_heard_of_for_longest_makes_room():
    book = AddressBook()
    peers = [peer_id(str(number).encode()) for number in range(PEERS_MAX + 1)]
    for number, peer in enumerate(peers[:-1]):
        book.told(peer, [NEAR], now=number)
    book.told(peers[0], [NEAR], now=PEERS_MAX)
    book.told(peers[-1], [NEAR], now=PEERS_MAX + 1)
    assert len(book.peers) == PEERS_MAX
    assert peers[0] in book.peers
    assert peers[1] not in book.peers


def test_hosts_that_people_named_are_kept_the_last_that_answered_first():
    book = AddressBook()
    book.named(("den.example", 7723))
    book.named(("attic.example", 7723), now=10)
    book.named(("den.example", 7723))
    assert book.hosts == [("attic.example", 7723), ("den.example", 7723)]
    for number in range(100):
        book.named((f"host{number}", 7723))
    assert len(book.hosts) == HOSTS_MAX


def test_a_peer_is_forgotten():
    book = AddressBook()
    book.told(DEN, [NEAR], now=10)
    book.forget(DEN)
    book.forget(ATTIC)
    assert book.candidates(DEN, 20) == []


def test_it_comes_back_from_its_file(tmp_path):
    async def main() -> None:
        kept = AddressBookFile(tmp_path / "address_book")
        kept.book.reached(DEN, NEAR, now=10, name="den")
        kept.book.told(DEN, [FAR], now=11)
        kept.book.named(("den.example", 7723), now=12)
        kept.changed()
        kept.changed()
        await kept.close()
        again = AddressBookFile(tmp_path / "address_book")
        assert (again.warning, again.book.book()) == ("", kept.book.book())
        assert [each.name for each in tmp_path.iterdir()] == ["address_book"]

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("content", [b"", b'{"peers": {"abc', b"[]", b"\xff\xfe", b'{"peers": 7}'])
def test_a_torn_file_is_told_and_the_book_starts_empty(tmp_path, content):
    (tmp_path / "address_book").write_bytes(content)
    kept = AddressBookFile(tmp_path / "address_book")
    assert kept.book.book() == Book()
    assert "starts empty" in kept.warning


def test_a_folder_that_is_gone_is_told_and_nothing_fails(tmp_path):
    async def main() -> None:
        kept = AddressBookFile(tmp_path / "gone" / "address_book")
        kept.book.reached(DEN, NEAR, now=10)
        await kept.close()
        assert "not kept" in kept.warning

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_file_of_another_hand_is_held_to_the_limits(tmp_path):
    addresses = ", ".join(f'["10.0.0.{each}", 7723, 0]' for each in range(50))
    entries = f'"{DEN}": {{"addresses": [{addresses}]}}, "nobody": {{}}'
    Path(tmp_path / "address_book").write_text(f'{{"peers": {{{entries}}}, "newer": 1}}')
    book = AddressBookFile(tmp_path / "address_book").book
    assert set(book.peers) == {DEN}
    assert len(book.candidates(DEN, 20)) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("den.local", ("den.local", DEFAULT_PORT)),
        ("10.0.0.7:9000", ("10.0.0.7", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("fd00::7", ("fd00::7", DEFAULT_PORT)),
    ],
)
def test_people_name_peers_with_or_without_port(text, address):
    assert peer_address(text) == address


@pytest.mark.parametrize("text", ["", "den:0", "den:port", "den:70000", "[::1", "http://den"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"port|address|host"):
        peer_address(text)


def test_ports_are_tried_from_the_default_one_on():
    ports = list(listening_ports())
    assert (ports[0], ports[16], ports[17], len(ports)) == (7723, 7739, 0, 18)


def test_names_are_resolved_and_numbers_left():
    async def main() -> None:
        assert await resolve(NEAR) == [NEAR]
        assert ("127.0.0.1", 7723) in await resolve(("localhost", 7723))
        with pytest.raises(OSError, match="no host is called 'no-such-host"):
            await resolve(("no-such-host.invalid", 7723), limit_s=15)
        with pytest.raises(OSError, match="within 0 s"):
            await resolve(("localhost", 7723), limit_s=0)

    asyncio.run(asyncio.wait_for(main(), 20))
