"""`meshwit peers --requires`: who can, and what the others lack."""

from __future__ import annotations

import json

import msgspec
import pytest
from typer.testing import CliRunner

from meshwit.cli import peers as module
from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer_requirements import UNKNOWN, Capable, requirement_of
from meshwit.cli.peer_texts import peer_lines
from tests.fake_peer import DEN, OTTER, OTTO, FakePeer, ServedPeer

GIB = 2**30
DEN_CAN = msgspec.structs.replace(DEN, capabilities={"gpu.cuda": "12.4", "memory": 32 * GIB})
OTTER_CANNOT = msgspec.structs.replace(OTTER, capabilities={"gpu": False, "memory": 4 * GIB})
NEW = msgspec.structs.replace(OTTER, id="n" * 32, name="new", note="", capabilities={})
WANTED = "gpu.cuda and memory >= 8GiB"


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """The command against a peer that knows these four."""
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path))
    with ServedPeer(tmp_path, FakePeer(DEN_CAN, OTTER_CANNOT, NEW, OTTO)):
        yield lambda *words: CliRunner().invoke(module.app, words)


def test_the_note_in_the_table_tells_who_can_and_what_others_lack(peers):
    done = peers("--requires", WANTED)

    assert done.exit_code == 0
    notes = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert notes["den"].endswith("able")
    assert notes["otter"].endswith("lacks gpu.cuda; has memory 4.0 GiB, 8 GiB are required; on battery")
    assert notes["new"].endswith(UNKNOWN)
    assert notes["otto"].endswith("dead, 2 min 5 s ago"), "who is gone is neither"
    assert done.stderr.splitlines()[-1] == "1 of 3 peers alive can do that"


def test_in_json_it_is_a_list_beside_each_peer(peers):
    found = {one["name"]: one for one in json.loads(peers("--requires", WANTED, "--json").stdout)["peers"]}

    assert (found["den"]["able"], found["den"]["lacks"]) == (True, [])
    assert found["otter"]["lacks"] == ["lacks gpu.cuda", "has memory 4.0 GiB, 8 GiB are required"]
    assert found["new"]["lacks"] == [UNKNOWN]
    assert (found["otto"]["able"], found["otto"]["lacks"]) == (False, [])
    assert found["otter"]["note"] == "on battery"


def test_without_it_json_is_as_ever(peers):
    assert not {"able", "lacks"} & set(json.loads(peers("--json").stdout)["peers"][0])


def test_nobody_can(peers):
    assert peers("--requires", "site == 'oslo'").stderr.splitlines()[-1] == "none of 3 peers alive can do that"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("gpu.cuda and", "at character 13, expected"),
        ("memory >= 8 apples", "at character 13, expected"),
        ("site = 'berlin'", "at character 6, expected ==, found ="),
        ("x" * 3000, "at most 2,000 characters"),
    ],
)
def test_what_is_no_requirement_is_told_with_its_place(text, place):
    """Before any peer is asked."""
    with pytest.raises(CommandError) as caught:
        requirement_of(text)

    assert place in caught.value.message
    assert caught.value.hint


def test_a_fault_in_the_expression_is_an_error_in_json_too(peers):
    done = peers("--requires", "gpu and", "--json")

    assert "at character 8" in json.loads(done.stdout)["error"]["message"]
    assert isinstance(done.exception, CommandError)


def test_a_live_view_of_it_there_is_not(peers):
    assert isinstance(peers("--requires", "gpu", "--watch").exception, CommandError)


def test_a_narrow_terminal_keeps_the_note():
    known = [Capable(requirement_of(WANTED), [DEN_CAN, OTTER_CANNOT]).noted(one) for one in (DEN_CAN, OTTER_CANNOT)]

    assert peer_lines(known, 40, keep="note")[0].split()[-1] == "note"
    assert all(len(line) <= 40 for line in peer_lines(known, 40, keep="note"))
