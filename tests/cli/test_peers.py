"""The commands that talk to a running peer, as processes: what they print, what they ask of it, how they end."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time

import msgspec
import pytest
import typer
from cli_process import environment

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.peer import peer_page
from meshwit.cli.reach import confirmed
from meshwit.peer.control.api import Finding, MeshEvent, PendingView
from tests.fake_peer import DEN, OTTER, OTTO, FakePeer, ServedPeer

WAITING = (
    PendingView(id="p" * 32, name="attic", words="otter violin", address="192.168.1.9", since_s=12),
    PendingView(id="q" * 32, name="cellar", words="crane butter", address="192.168.1.8", since_s=70),
    PendingView(id="r" * 32, name="cellar", words="maple signal", address="192.168.1.7", since_s=80),
)


@pytest.fixture
def peer() -> FakePeer:
    return FakePeer(pending=WAITING)


@pytest.fixture
def ask(cli, tmp_path, peer):
    """`ask("peers")` runs the command against a peer that is running."""
    home = tmp_path / "home"
    with ServedPeer(home, peer):
        yield lambda *words, **more: cli(*words, env={"MESHWIT_HOME": str(home)}, **more)


ALL = [
    ("peers",), ("peer", "x"), ("invite",), ("approve", "x"), ("expel", "x"), ("leave",), ("forget", "x"), ("down",),
]  # fmt: skip


@pytest.mark.parametrize("words", ALL)
def test_without_a_peer_every_command_says_how_to_start_one(cli, tmp_path, words):
    done = cli(*words, "--home", str(tmp_path / "none"))

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["error: no peer is running on this device", "  start one: meshwit up"]


def test_with_json_errors_stand_on_stdout_too(cli, tmp_path):
    done = cli("peers", "--json", "--home", str(tmp_path))

    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["message"] == "no peer is running on this device"


def test_peers_as_a_table(ask):
    done = ask("peers")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "name   score  share  cores    memory  GPU                   load  round trip  seen                 note",
        "den      850    50%      8  32.0 GiB  2 x GeForce RTX 4090   25%           -  this peer",
        "otter    340    20%      4   8.0 GiB                        100%      2.1 ms  now                  on battery",
        "otto       -      -      2   1.0 GiB                           -           -  dead, 2 min 5 s ago",
    ]  # fmt: skip
    assert "anna@den: 2 of 3 peers alive, this is den" in done.stderr
    assert "attic waits: otter violin; if it shows the same words: meshwit approve attic" in done.stderr


def test_peers_as_json(ask):
    told = json.loads(ask("peers", "--json").stdout)

    assert told["mesh"]["name"] == "anna@den"
    assert [peer["name"] for peer in told["peers"]] == ["den", "otter", "otto"]
    assert told["peers"][1]["battery"] == 0.8


def test_names_of_other_devices_cannot_steer_the_terminal(ask, peer):
    peer.known.append(type(OTTER)(id="e" * 32, name="\x1b[2Jevil\nname" + "x" * 100, note="\x07" * 200))
    peer.pending = [PendingView(name="\x1b]0;x\x07", words="a b")]

    for words in (("peers",), ("peer", "e" * 32), ("approve",)):
        done = ask(*words)
        assert "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr


def test_peers_can_be_watched_by_programs(ask, peer, tmp_path):
    home = str(tmp_path / "home")
    with subprocess.Popen(
        [sys.executable, "-m", "meshwit", "peers", "--watch", "--json", "--home", home],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        subscribed(peer, watching)
        happen(peer, MeshEvent(kind="died", text="otto died"))
        assert json.loads(watching.stdout.readline())["text"] == "otto died"
        happen(peer, None)
        assert watching.wait(20) == 0


def subscribed(peer: FakePeer, watching: subprocess.Popen) -> None:
    """Returns when somebody follows the peer's events."""
    while not peer.subscribers:
        assert watching.poll() is None
        time.sleep(0.01)


def happen(peer: FakePeer, event: MeshEvent | None) -> None:
    """In the loop of the thread that serves it."""
    peer.loop.call_soon_threadsafe(peer.happen, event)


def test_one_peer_in_detail(ask):
    done = ask("peer", "den")

    assert done.stdout.splitlines()[0] == "den  den4-aaaa"
    for line in ("  score    850, 50% of the mesh", "  slots    6 of 8 free", "  site       berlin"):
        assert line in done.stdout
    assert "Renderer.RenderFrame  9.8 frames/s" in done.stdout
    assert json.loads(ask("peer", "ott4", "--json").stdout)["name"] == "otter"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("oter", "did you mean `otter`?"), ("ott", "otter (ott4-bbbb), otto (otc4-cccc)"), ("", "den4-aaaa")],
)
def test_a_name_that_is_none_or_several(ask, name, hint):
    done = ask("forget", name) if name else ask("peer")

    assert hint in done.stderr + done.stdout
    assert done.returncode == (2 if name else 0)


@pytest.mark.parametrize("name", ["otter", "OTTER", "otte", "ott4-bbbb", "ott4", OTTER.id])
def test_names_may_be_short(ask, peer, name):
    done = ask("forget", name)

    assert done.returncode == 0, done.stderr
    assert peer.asked == [f"forget {OTTER.id}"]


def test_an_invitation_is_a_code_on_stdout(ask):
    done = ask("invite")

    assert done.stdout == "41-otter-violin\n"
    assert "one device into anna@den within 10 min" in done.stderr
    assert "meshwit up" in done.stderr


def test_a_token_is_for_many_devices(ask, peer):
    done = ask("invite", "--token", "--hours", "48")

    assert done.stdout.startswith("meshwit1")
    assert "within 48 h" in done.stderr
    assert peer.asked == ["invite token 48"]
    assert ask("invite", "--hours", "2").returncode == 2
    assert json.loads(ask("invite", "--json").stdout)["text"] == "41-otter-violin"


def test_who_waits_is_listed_with_the_words(ask):
    done = ask("approve")

    assert done.stdout.splitlines()[:2] == [
        "name    words         address      waits for",
        "attic   otter violin  192.168.1.9  12 s",
    ]
    assert len(json.loads(ask("approve", "--json").stdout)["pending"]) == 3


@pytest.mark.parametrize(
    ("name", "approved"), [("attic", "p"), ("att", "p"), ("otter-violin", "p"), ("Maple Signal", "r")]
)
def test_a_device_is_let_in_by_its_name_or_its_words(ask, peer, name, approved):
    done = ask("approve", name)

    assert done.returncode == 0, done.stderr
    assert peer.asked == [f"approve {approved * 32}"]


def test_two_devices_of_one_name_are_told_apart_by_their_words(ask, peer):
    """Whoever calls himself like a device that is awaited must not be let in by its name."""
    done = ask("approve", "cellar")

    assert done.returncode == 2
    assert "crane-butter, maple-signal" in done.stderr
    assert peer.asked == []


def test_expelling_tells_what_follows_and_asks(ask, peer):
    assert "expel otter?" in ask("expel", "otter", input="n\n").stderr
    assert ask("expel", "otter").returncode == 2
    assert peer.asked == []

    done = ask("expel", "otter", input="y\n")
    assert done.returncode == 0
    assert "refused by every peer" in done.stderr
    assert peer.asked == [f"expel {OTTER.id}"]
    assert json.loads(ask("expel", "otter", "--yes", "--json").stdout)["expelled"] == "otter"


@pytest.mark.parametrize("command", ["expel", "forget"])
def test_a_peer_does_not_expel_or_forget_itself(ask, peer, command):
    done = ask(command, "den")

    assert done.returncode == 2
    assert "meshwit leave" in done.stderr
    assert peer.asked == []


def test_leaving_asks_and_ends_when_the_peer_is_gone(ask, peer, tmp_path):
    assert ask("leave", input="\n").returncode == 130
    assert peer.asked == []

    done = ask("leave", "--yes")
    assert done.returncode == 0, done.stderr
    assert "left anna@den" in done.stderr
    assert not (tmp_path / "home" / "peers" / "1" / "control.json").exists()


def test_down_ends_when_the_peer_is_gone(ask, tmp_path):
    done = ask("down", "--json")

    assert json.loads(done.stdout) == {"stopped": ["den"]}
    assert "den has stopped" in done.stderr
    assert not (tmp_path / "home" / "peers" / "1" / "control.json").exists()
    assert ask("down").returncode == 1


def test_of_several_peers_one_must_be_named(ask, cli, tmp_path):
    other = FakePeer(type(DEN)(id="f" * 32, name="second", me=True))
    home = tmp_path / "home"
    with ServedPeer(home, other, profile="2"):
        done = ask("invite")
        assert done.returncode == 2
        assert "den, second" in done.stderr
        assert "--on" in done.stderr
        assert ask("invite", "--on", "second").returncode == 0
        assert ask("invite", "--on", "third").returncode == 2
        assert ask("down", "--all").returncode == 0

    assert other.asked == ["invite code 24", "down"]


def test_the_doctor_says_what_to_do(ask, peer):
    peer.findings.append(Finding(state="fail", what="firewall: UDP is dropped", why="rule 3", do="open port 7946"))

    done = ask("doctor")

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "ok    multicast: 2 devices answer",
        "warn  clock",
        "      to do: set it",
        "fail  firewall: UDP is dropped",
        "      rule 3",
        "      to do: open port 7946",
    ]
    assert "1 fault, 1 warning" in done.stderr
    assert json.loads(ask("doctor", "--json").stdout)["findings"][0]["state"] == "ok"


def test_a_doctor_without_complaints_is_content(ask, peer):
    peer.findings = peer.findings[:1]

    done = ask("doctor")

    assert done.returncode == 0
    assert "nothing to complain about" in done.stderr


def test_what_the_peer_refuses_is_told_with_its_hint(ask, peer):
    peer.known[1] = type(OTTER)(id=DEN.id, name="otter")

    done = ask("expel", "otter", "--yes")

    assert done.returncode == 1
    assert "error: a peer does not expel itself" in done.stderr
    assert "leave instead" in done.stderr


@pytest.mark.parametrize("command", [words[0] for words in ALL] + ["up", "doctor", "service"])
def test_every_command_has_help(cli, command):
    done = cli(command, "--help")

    assert done.returncode == 0
    assert "Usage: " in done.stdout


def test_what_talks_to_a_peer_loads_nothing_of_a_server(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "meshwit", "peers", "--home", str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "meshwit.peer.control.client" in imported
    assert not imported & {"starlette", "uvicorn", "asyncio", "anyio", "rich.live", "numpy", "cryptography"}


def test_an_interrupted_watch_is_no_error(ask, peer, tmp_path):
    if sys.platform == "win32":
        pytest.skip("there is no SIGINT for another process")
    with subprocess.Popen(
        [sys.executable, "-m", "meshwit", "peers", "--watch", "--home", str(tmp_path / "home")],
        env=environment(),
        stdout=subprocess.PIPE,
    ) as watching:
        subscribed(peer, watching)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0
    assert OTTO in peer.known


def test_the_page_of_a_peer_says_what_differs_from_others():
    """Controllers that came with its meshwit are no news; a score of nothing is none."""
    one = msgspec.structs.replace(
        DEN,
        controllers={
            "meshwit.plugins.files:Files": "0.1.0", "meshwit.plugins.grid:Grid": "0.1.0",
            "anna.primes:Primes": "2.0", "meshwit.plugins.text:Text": "0.0.9",
        },
        capabilities={"memory": 8 * 2**30, "gpu": False},
        scores={"single": 100.0, "gpu": 0.0},
        rates={},
    )  # fmt: skip
    lines = list(peer_page(one))

    assert lines[lines.index("controllers:") + 1 :] == [
        "  built in  Files, Grid",
        "  Primes    2.0",
        "  Text      0.0.9",
    ]
    assert "  memory  8.0 GiB" in lines
    assert "  gpu     no" in lines
    assert "  single  100.0" in lines


def test_an_interrupt_at_a_question_is_no_wrong_usage(monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", interrupted)
    for at_terminal, code in ((True, 130), (False, 2)):
        monkeypatch.setattr("sys.stdin", io.StringIO())
        monkeypatch.setattr(sys.stdin, "isatty", lambda at_terminal=at_terminal: at_terminal)
        with pytest.raises(CommandError, match="nothing was done") as told:
            confirmed("sure?", False)
        assert told.value.code == code
    assert capsys.readouterr().err == "\n\n"
