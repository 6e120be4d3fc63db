"""When a peer measures what jobs need, and what it tells: without measuring anything."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from meshwit.bench.load import DeviceLoad
from meshwit.peer.mesh import measuring, needs, profile
from meshwit.peer.mesh.measuring import Measuring
from meshwit.peer.rates import Rate, RateBook, decode_rates
from meshwit.plugins.discovery import installed

MEASURABLE = "GustavsonMultiply"
FREE = DeviceLoad(busy_cores=0.4, cores=4, memory_available=1 << 30, plugged_in=True)
BUSY = msgspec.structs.replace(FREE, busy_cores=3.9)
ON_BATTERY = msgspec.structs.replace(FREE, plugged_in=False)


class Told(list):
    """What all peers were told: topics, payloads, expiries."""

    def __call__(self, topic: str, payload: bytes, expires_at: int = 0) -> None:
        self.append((topic, payload, expires_at))


def in_a_loop(folder, test, when="always"):
    """Runs `test(measuring, told, book)` with a book of rates in which nothing is known."""

    async def main():
        told = Told()
        book = RateBook(folder, "hardware", installed())
        test(Measuring(told, when, lambda: {}, folder), told, book)

    asyncio.run(main())


def test_a_need_of_the_owner_is_told_with_an_end_and_one_that_was_heard_is_not(tmp_path):
    """Nobody passes on needs of others, so that none can go round for ever."""

    def test(found, told, book):
        found.heard(needs.encode_need([MEASURABLE]))
        assert told == []
        found.need([MEASURABLE, "NewGuid", "Nix"])
        found.need([MEASURABLE])
        ((topic, payload, expires_at),) = told
        assert (topic, needs.decode_need(payload)) == (needs.TOPIC, [MEASURABLE])
        assert 0 < expires_at - time.time() <= needs.KEPT_S + 1

    in_a_loop(tmp_path, test)


def test_what_has_no_benchmark_is_told_to_nobody(tmp_path):
    def test(found, told, book):
        found.need(["NewGuid", "Nix"])
        found.looked(FREE)
        assert told == []
        assert found._due(book) is None

    in_a_loop(tmp_path, test)


def test_measured_is_while_a_core_is_free(tmp_path, monkeypatch):
    """A rate is of one core, and lower where that is shared."""
    monkeypatch.setattr(measuring, "BUSY_PATIENCE_S", 1e9)

    def test(found, told, book):
        found.heard(needs.encode_need([MEASURABLE]))
        assert found._due(book) is None, "nobody has looked yet"
        found.looked(BUSY)
        assert found._due(book) is None
        found.looked(FREE)
        assert found._due(book) == MEASURABLE

    in_a_loop(tmp_path, test)


def test_a_device_that_is_never_free_is_measured_all_the_same(tmp_path, monkeypatch):
    """After a while: the job that needs the rate may be what takes all cores."""
    monkeypatch.setattr(measuring, "BUSY_PATIENCE_S", 0.0)

    def test(found, told, book):
        found.need([MEASURABLE])
        found.looked(BUSY)
        assert found._due(book) == MEASURABLE

    in_a_loop(tmp_path, test)


def test_a_device_that_may_not_work_does_not_measure_however_long_it_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "BUSY_PATIENCE_S", 0.0)

    def test(found, told, book):
        found.need([MEASURABLE])
        found.looked(ON_BATTERY)
        assert found._due(book) is None
        found.looked(FREE)
        assert found._due(book) == MEASURABLE

    in_a_loop(tmp_path, test, "plugged-in")


@pytest.mark.parametrize("known", ["before", "by another peer of this device"])
def test_what_is_known_is_not_measured(tmp_path, known):
    def test(found, told, book):
        rate = Rate(MEASURABLE, book.version_of(MEASURABLE), 10.0, "work/s", time.time())
        (book if known == "before" else RateBook(tmp_path, "hardware", installed())).add(rate)
        found.need([MEASURABLE])
        found.looked(FREE)
        if known == "before":
            assert found._due(book) is None
            return
        due = found._due(book)
        assert due == MEASURABLE, "it does not know yet"
        book.read_again()
        assert book.needed([MEASURABLE], {}) == []
        found._tell_rates(book)
        topic, payload, _ = told[-1]
        assert topic == profile.RATES
        assert decode_rates(payload) == {MEASURABLE: (10.0, "work/s")}

    in_a_loop(tmp_path, test)


def test_who_asks_for_a_thousand_names_is_bounded(tmp_path):
    def test(found, told, book):
        names = list(installed().offer.activities)
        for at in range(0, len(names), 50):
            found.heard(msgspec.msgpack.encode({"activities": names[at : at + 50]}))
        assert len(found._asked) <= needs.ACTIVITIES_MAX

    in_a_loop(tmp_path, test)
