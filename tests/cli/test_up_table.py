"""The table of peers as people see it: drawn on a screen of fixed width, and compared as text."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from meshwit.cli.columns import cut, laid_out, text_width
from meshwit.cli.peer_texts import gpu_text, load_text, peer_lines, power_text, round_trip_text, seen_text
from meshwit.cli.up_table import LiveTable, other_meshes_text, pending_text, pending_texts, view_lines
from meshwit.peer.control.api import MeshEvent, MeshView, PeerView, PendingView
from tests.fake_peer import DEN, OTTER, OTTO

MESH = MeshView(
    name="anna@den",
    me=DEN,
    peers_alive=2,
    peers_known=3,
    pending=[PendingView(name="attic", words="crane butter")],
    other_meshes=["lab"],
)


def drawn(mesh: MeshView, peers: list[PeerView], width: int) -> list[str]:
    """What stands on a screen of that width."""
    screen = io.StringIO()
    console = Console(file=screen, width=width, highlight=False, markup=False, emoji=False)
    console.print(LiveTable._rendered(list(view_lines(mesh, peers, width))))
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_the_whole_view():
    assert drawn(MESH, [OTTO, OTTER, DEN], 120) == [
        "anna@den: 2 of 3 peers alive, this is den",
        "name   score  share  cores    memory  GPU                   load  round trip  seen                 note",
        "den      850    50%      8  32.0 GiB  2 x GeForce RTX 4090   25%           -  this peer",
        "otter    340    20%      4   8.0 GiB                        100%      2.1 ms  now                  on battery",
        "otto       -      -      2   1.0 GiB                           -           -  dead, 2 min 5 s ago",
        "attic waits: crane butter; if it shows the same words: meshwit approve attic",
        "also near, another mesh: lab",
    ]


def test_a_narrow_screen_has_fewer_columns():
    assert drawn(msgspec.structs.replace(MESH, pending=[], other_meshes=[]), [DEN, OTTER], 50)[1:] == [
        "name   score  cores  load  seen       note",
        "den      850      8   25%  this peer",
        "otter    340      4  100%  now        on battery",
    ]
    assert all(len(line) <= 20 for line in drawn(MESH, [DEN, OTTER, OTTO], 20))


def test_what_is_to_be_typed_is_never_cut_off():
    lines = drawn(MESH, [DEN], 50)

    assert "approve attic" in "".join(lines).replace("approveattic", "approve attic")
    assert all(len(line) <= 50 for line in lines)


def test_other_meshes_are_counted_and_a_peer_alone_is_told_how_to_get_there():
    near = msgspec.structs.replace(MESH, other_meshes=["lab", "lab", "attic\x1b[2J"])

    assert other_meshes_text(near) == "also near, 2 other meshes: lab, attic\ufffd[2J"
    assert other_meshes_text(msgspec.structs.replace(MESH, peers_known=1)) == (
        "also near, another mesh: lab; to join it instead: meshwit leave, then meshwit up"
    )
    many = msgspec.structs.replace(MESH, other_meshes=[str(number) for number in range(9)])
    assert other_meshes_text(many) == "also near, 9 other meshes: 0, 1, 2, 3, 4, ..."


def test_the_last_line_says_that_the_peer_stops(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # so that it draws as on a terminal
    screen = io.StringIO()
    with LiveTable(screen) as table:
        table.show(MESH, [DEN])
        table.say("stopping")

    assert "stopping" in screen.getvalue()


def test_one_peer_alone_is_told_how_to_get_company():
    lines = drawn(MeshView(name="anna@den", me=DEN, peers_alive=1, peers_known=1), [DEN], 100)

    assert lines[0] == "anna@den: 1 of 1 peer alive, this is den"
    assert lines[-1] == "on the next device: meshwit up; the code that it asks for: meshwit invite"


def test_an_open_mesh_says_so_in_words():
    text = "\n".join(drawn(msgspec.structs.replace(MESH, open=True), [DEN], 100))

    assert "OPEN: everybody on this network who asks is let in" in text


def test_large_meshes_and_crowds_at_the_door_are_counted():
    peers = [msgspec.structs.replace(OTTER, name=f"peer{number}", score=number) for number in range(100)]
    mesh = msgspec.structs.replace(MESH, pending=[PendingView(name=f"new{number}") for number in range(20)])
    lines = [line.text for line in view_lines(mesh, peers, 100, rows_max=10)]

    assert lines[2].startswith("peer99")
    assert "and 90 more peers" in lines
    assert "and 12 more wait: meshwit approve" in lines


def test_a_command_that_is_shown_may_be_copied():
    """The name is what a stranger wrote: it must not do anything in a shell."""
    assert pending_text(PendingView(name="den-2.local", words="a b")).endswith("meshwit approve den-2.local")
    for name in ("anna's box", "$(reboot)", "`reboot`", "-rf", "a;reboot", "x\nreboot", "ä"):
        assert pending_text(PendingView(name=name, words="crane butter")).endswith("meshwit approve crane-butter")
        assert pending_text(PendingView(name=name, words="$(reboot)")).endswith("meshwit approve")


def test_of_two_that_call_themselves_the_same_each_is_named_by_its_words():
    waiting = [PendingView(name="den", words="a b"), PendingView(name="Den", words="c d"), PendingView(name="attic")]

    assert [text.rpartition(" ")[2] for text in pending_texts(waiting)] == ["a-b", "c-d", "attic"]


def test_only_what_has_changed_is_drawn():
    screen = io.StringIO()
    with LiveTable(screen) as table:
        table.show(MESH, [DEN])
        size = len(screen.getvalue())
        table.show(MESH, [DEN])
        assert len(screen.getvalue()) == size
        table.event(MeshEvent(text="otter joined\x1b[2J"))
        table.show(MESH, [DEN, OTTER])
    shown = screen.getvalue()

    assert "otter joined" in shown
    assert "\x1b[2J" not in shown
    assert "otter    340" in shown


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (DEN, "this peer"),
        (PeerView(), "now"),
        (PeerView(seen_s=4), "now"),
        (PeerView(seen_s=61), "1 min 1 s ago"),
        (PeerView(state="suspect", seen_s=3), "suspect, 3.0 s ago"),
        (PeerView(state="left"), "left"),
    ],
)
def test_whether_a_peer_is_there_is_said_in_words(peer, text):
    assert seen_text(peer) == text


def test_cells():
    assert gpu_text(["NVIDIA A100", "Apple M3", "NVIDIA A100"]) == "2 x A100, M3"
    assert load_text(PeerView(cores=4, busy_cores=9)) == "100%"
    assert load_text(PeerView()) == "-"
    assert [round_trip_text(PeerView(round_trip_s=value)) for value in (0.00004, 0.0123, 1.5)] == [
        "0.0 ms", "12 ms", "1,500 ms",
    ]  # fmt: skip
    assert power_text(OTTER) == "80%, on battery"
    assert power_text(PeerView(plugged_in=True)) == "plugged in"
    assert power_text(PeerView()) == ""


def test_columns_hold_wide_letters():
    lines = laid_out(("name", "x"), [("日本", "1"), ("e\u0301a", "2")], right=("x",))

    assert lines == ["name  x", "日本  1", "e\u0301a    2"]
    assert cut("日本語", 5) == "日本…"
    assert cut("abc", 0) == ""
    assert text_width("日本") == 4


def test_columns_without_any_text_are_left_out():
    assert laid_out(("a", "b", "c"), [("1", "", "3")]) == ["a  c", "1  3"]
    assert peer_lines([]) != []
