"""What this device tells of itself: what it can do, as far as systems say, and never more than one record holds."""

from __future__ import annotations

import pytest

from meshwit import __version__
from meshwit.peer.control.options import UpOptions
from meshwit.peer.mesh.portrait import offered_controllers, portrait
from meshwit.peer.mesh.profile import MemberProfile, decode, encode
from meshwit.records import RECORD_BYTES_MAX


def of_this_device(**options) -> MemberProfile:
    return portrait(UpOptions(**options), "den", "abc", b"chain")


def test_it_tells_who_it_is_and_what_it_can_do():
    found = of_this_device(properties={"site": "berlin"}, when="idle", open=True)
    assert (found.name, found.device, found.chain) == ("den", "abc", b"chain")
    assert found.meshwit == __version__ and found.when == "idle" and found.open
    assert found.capabilities["site"] == "berlin"
    assert found.capabilities["memory"] > 0 and found.capabilities["cpu.cores"] >= found.slots > 0
    assert found.system.isprintable() and found.system


def test_it_arrives_at_others_as_it_was_said():
    found = of_this_device(properties={"site": "Köln"})
    assert decode(encode(found), MemberProfile) == found


def test_slots_are_as_the_owner_says():
    assert of_this_device(slots=0).slots == 0
    assert of_this_device(slots=3).slots == 3


def test_controllers_that_come_with_it_have_its_version():
    versions = offered_controllers()
    assert versions["meshwit.plugins.grid:Grid"] == __version__


def test_more_than_one_record_holds_is_refused_in_words():
    many = {f"property{number}": "x" * 190 for number in range(100)}
    with pytest.raises(ValueError, match="fewer or shorter"):
        of_this_device(properties=many)
    assert len(encode(of_this_device())) < RECORD_BYTES_MAX / 2
