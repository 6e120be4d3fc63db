"""The word that `meshwit run` leaves with the peer of this device: heard if there is one, never in the way."""

from __future__ import annotations

import os
import socket

from meshwit.peer.control.notice import ACTIVITIES_MAX, Notice
from meshwit.peer.control.runtime_file import RuntimeFile, write
from tests.fake_peer import FakePeer, ServedPeer


def test_a_running_peer_hears_what_a_job_needs(tmp_path):
    peer = FakePeer()
    with ServedPeer(tmp_path, peer):
        notice = Notice(["Renderer.RenderFrame", "Text.Upper"], tmp_path)
        assert notice._thread is not None
        notice._thread.join(20)  # however slow this machine is

    assert peer.asked == ["need Renderer.RenderFrame Text.Upper"]


def test_no_more_names_are_told_than_a_peer_takes(tmp_path):
    peer = FakePeer()
    with ServedPeer(tmp_path, peer):
        notice = Notice([f"A{number}" for number in range(1000)], tmp_path)
        assert notice._thread is not None
        notice._thread.join(20)

    assert len(peer.asked[0].split()) == 1 + ACTIVITIES_MAX


def test_without_a_peer_nothing_happens(tmp_path):
    """No thread, no error: neither without a home, nor where a killed peer left its file."""
    assert not Notice(["A"], tmp_path / "none").is_sent
    write(tmp_path / "peers" / "1", RuntimeFile(9, "token", 2**22 + 12345))
    notice = Notice(["A"], tmp_path)
    notice.end()

    assert not notice.is_sent


def test_a_job_without_activities_has_nothing_to_say(tmp_path):
    with ServedPeer(tmp_path, FakePeer()):
        assert not Notice([], tmp_path).is_sent


def test_a_peer_that_does_not_answer_is_given_up(tmp_path):
    """Its port takes the connection and says nothing; or nobody listens there any more."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        write(tmp_path / "peers" / "1", RuntimeFile(port, "token", os.getpid()))
        notice = Notice(["A"], tmp_path)
        notice.end()
        assert notice.is_sent
        assert notice._thread is not None
        notice._thread.join(20)
        assert not notice._thread.is_alive()
    Notice(["A"], tmp_path).end()
