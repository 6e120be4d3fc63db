"""The client and the server of the control API, talking to each other."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys

import msgspec
import pytest

from meshwit.peer.control import async_events, runtime_file
from meshwit.peer.control.api import MeshEvent, MeshView, PeerError
from meshwit.peer.control.client import ControlClient, NoAnswerError, find_all
from meshwit.peer.control.event_text import WAITING_BYTES_MAX, EventReader
from meshwit.peer.control.runtime_file import RuntimeFile
from meshwit.peer.control.server import ControlServer
from meshwit.peer.control.stream import as_text
from meshwit.peer.home import default_folder
from tests.fake_peer import DEN, OTTER, OTTO, FakePeer, ServedPeer


def test_everything_a_peer_tells_arrives_as_it_was(tmp_path):
    with ServedPeer(tmp_path) as served:
        client = served.client

        assert client.mesh() == served.peer.mesh()
        assert client.peers() == [DEN, OTTER, OTTO]
        assert client.doctor() == served.peer.findings


def test_everything_it_is_asked_for_is_done(tmp_path):
    with ServedPeer(tmp_path) as served:
        client = served.client

        assert client.invite().text == "41-otter-violin"
        assert client.invite("token", 2).expires_in_s == 7200
        assert client.approve("den") == "den is let in"
        assert client.expel("otter") == "otter is expelled"
        assert client.forget("otto") == "otto is forgotten"
        client.down()

        assert served.peer.asked == [
            "invite code 24", "invite token 2", "approve den", "expel otter", "forget otto", "down",
        ]  # fmt: skip


def test_what_a_peer_cannot_do_arrives_with_its_hint(tmp_path):
    with ServedPeer(tmp_path) as served, pytest.raises(PeerError) as told:
        served.client.expel(DEN.id)

    assert (told.value.message, told.value.hint) == ("a peer does not expel itself", "leave instead: meshwit leave")


def test_a_bug_in_the_peer_is_told_and_does_not_stop_it(tmp_path):
    with ServedPeer(tmp_path) as served:
        with pytest.raises(PeerError, match="bug in meshwit: ZeroDivisionError"):
            served.client.bench()

        assert served.client.mesh()


def test_invitations_are_not_made_for_ever(tmp_path):
    with ServedPeer(tmp_path) as served:
        served.client.invite("token", 1e12)
        served.client.invite("token", -1)

    assert served.peer.asked == ["invite token 8760", "invite token 0"]


# --- the file ----------------------------------------------------------------------------------------------------


def test_the_file_is_there_while_the_server_runs_and_only_for_its_owner(tmp_path):
    with ServedPeer(tmp_path) as served:
        path = served.folder / "control.json"
        content = json.loads(path.read_bytes())
        if sys.platform != "win32":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert content.keys() == {"port", "token", "pid"}
    assert content["pid"] == os.getpid()
    assert list(served.folder.iterdir()) == []


def test_every_start_has_a_token_of_its_own():
    assert len({runtime_file.new_token() for _ in range(100)}) == 100
    assert len(runtime_file.new_token()) >= 43


def test_a_server_does_not_remove_the_file_of_its_successor(tmp_path):
    async def main() -> None:
        first, second = ControlServer(FakePeer(), tmp_path), ControlServer(FakePeer(), tmp_path)
        await first.start()
        await second.start()
        await first.close()
        found = runtime_file.read(tmp_path)
        assert found is not None and found.port == second.port
        await second.close()

    asyncio.run(main())
    assert runtime_file.read(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"port":0,"token":"x","pid":1}', b'{"port":1}', b"\xff" * 9])
def test_a_file_that_makes_no_sense_is_none(tmp_path, content):
    (tmp_path / "control.json").write_bytes(content)

    assert runtime_file.read(tmp_path) is None


def test_the_home_is_the_users_own_or_as_said(tmp_path, monkeypatch):
    monkeypatch.delenv("MESHWIT_HOME", raising=False)
    assert "meshwit" in str(runtime_file.home_folder())

    assert runtime_file.home_folder() == default_folder()

    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path))
    assert runtime_file.home_folder() == default_folder()
    assert runtime_file.home_folder() == tmp_path
    assert runtime_file.home_folder(tmp_path / "x") == tmp_path / "x"


# --- finding -----------------------------------------------------------------------------------------------------


def test_running_peers_are_found_and_stale_files_passed_over(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    runtime_file.write(tmp_path / "peers" / "1", RuntimeFile(1, "x", ended.pid))  # killed: its process is gone
    runtime_file.write(tmp_path / "peers" / "2", RuntimeFile(1, "x", os.getpid()))  # the pid is another's: refused
    with ServedPeer(tmp_path, profile="3") as served, ServedPeer(tmp_path / "other") as other:
        stolen = RuntimeFile(other.client.runtime.port, "x", os.getpid())
        runtime_file.write(tmp_path / "peers" / "4", stolen)  # the port is another's by now
        running, silent = find_all(tmp_path)

    assert [one.client.folder for one in running] == [served.folder]
    assert silent == []


def test_there_may_be_none(tmp_path):
    assert find_all(tmp_path / "nowhere") == ([], [])


def test_a_peer_that_is_gone_is_told(tmp_path):
    with ServedPeer(tmp_path) as served:
        client = served.client

    with pytest.raises(NoAnswerError, match="does not answer"):
        client.mesh()
    assert client.stopped_serving()


def test_newer_fields_are_ignored_and_missing_ones_have_defaults():
    assert msgspec.json.decode(b'{"name":"x","colour":"blue"}', type=MeshView) == MeshView(name="x")


# --- events ------------------------------------------------------------------------------------------------------

JOINED = MeshEvent(kind="joined", peer=OTTER.id, text="otter\njoined", time=1.5)


def test_events_arrive_as_they_happen(tmp_path):
    with ServedPeer(tmp_path) as served:
        events = served.client.events()
        assert next(events) is None
        served.call(lambda: served.peer.happen(JOINED))
        assert next(events) == JOINED
        served.call(lambda: served.peer.happen(None))
        assert list(events) == []


def test_streams_end_with_the_server(tmp_path):
    with ServedPeer(tmp_path) as served:
        events = served.client.events()
        assert next(events) is None
        served.client.down()
        assert list(events) == []


def test_events_arrive_in_an_event_loop_too(tmp_path):
    async def main() -> None:
        async with asyncio.timeout(20):
            peer = FakePeer()
            server = ControlServer(peer, tmp_path)
            await server.start()
            runtime = runtime_file.read(tmp_path)
            assert runtime is not None
            events = async_events.events(runtime)
            assert await anext(events) is None
            peer.happen(JOINED)
            assert await anext(events) == JOINED
            closing = asyncio.create_task(server.close())
            with pytest.raises(StopAsyncIteration):
                await anext(events)
            await closing
            with pytest.raises(NoAnswerError):
                await anext(async_events.events(runtime))

    asyncio.run(main())


def test_the_stream_is_read_in_whatever_pieces_it_comes():
    text = b": beat\n\n" + as_text(JOINED) + as_text(MeshEvent(kind="no identifier\n", text="é"))
    for size in range(1, len(text)):
        reader = EventReader()
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        found = [event for piece in pieces for event in reader.receive(piece)]
        assert found == [None, JOINED, MeshEvent(kind="no identifier\n", text="é")]


def test_what_is_no_event_is_passed_over_and_one_without_end_is_not_kept():
    reader = EventReader()
    assert list(reader.receive(b"data: nonsense\n\ndata: {}\n\n")) == [MeshEvent()]
    with pytest.raises(ValueError, match="bytes"):
        list(reader.receive(b"x" * (WAITING_BYTES_MAX + 1)))


# --- closing -----------------------------------------------------------------------------------------------------


def test_closing_does_not_wait_for_ever_for_a_request_that_runs(tmp_path):
    async def main() -> None:
        async with asyncio.timeout(20):
            peer = FakePeer()
            peer.slowly.set()
            server = ControlServer(peer, tmp_path)
            await server.start()
            runtime = runtime_file.read(tmp_path)
            assert runtime is not None
            client = ControlClient(tmp_path, runtime)
            asked = asyncio.create_task(asyncio.to_thread(client.doctor))
            while not server._server.server_state.tasks:
                await asyncio.sleep(0.01)
            await server.close()
            with pytest.raises(PeerError):
                await asked
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_the_client_is_light():
    code = "import sys, meshwit.peer.control.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    heavy = {"starlette", "uvicorn", "asyncio", "anyio", "numpy", "rich", "cryptography", "meshwit.lang"}
    assert not heavy & set(done.stdout.split())
