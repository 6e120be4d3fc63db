"""Leaving a mesh while no peer runs: the way out for a device that was expelled."""

import json
import os
import time

import pytest

from meshwit.peer.trust.membership import found_mesh
from meshwit.peer.trust.store import Home


@pytest.fixture
def home(tmp_path):
    """A device that is in a mesh, and whose peer is stopped."""
    home = Home(tmp_path / "home")
    with home.profile() as profile:
        profile.save_membership(found_mesh(profile.key, "anna@den", time.time(), os.urandom, device_name="den"))
    return home


def test_without_a_peer_the_membership_is_deleted(cli, home):
    done = cli("leave", "--yes", "--home", str(home.folder))

    assert done.returncode == 0, done.stderr
    assert "left anna@den" in done.stderr
    assert home.memberships() == []


def test_it_asks_before_that(cli, home):
    assert cli("leave", "--home", str(home.folder), input="n\n").returncode == 130
    assert len(home.memberships()) == 1


def test_a_damaged_membership_is_told(cli, home):
    (home.folder / "peers" / "1" / "membership.msgpack").write_bytes(b"torn")
    (home.folder / "peers" / "1" / "membership.msgpack").chmod(0o600)
    done = cli("leave", "--yes", "--home", str(home.folder))

    assert done.returncode == 1
    assert "is damaged" in done.stderr


def test_in_no_mesh_it_makes_a_new_device(cli, home):
    """One that left and was expelled after that is refused for its key."""
    cli("leave", "--yes", "--home", str(home.folder))
    key = home.folder / "peers" / "1" / "key.pem"
    before = key.read_bytes()
    assert cli("leave", "--home", str(home.folder), input="n\n").returncode == 130
    assert key.read_bytes() == before
    done = cli("leave", "--yes", "--json", "--home", str(home.folder))

    assert (done.returncode, json.loads(done.stdout)["left"]) == (0, "")
    with home.profile() as profile:
        assert profile.key_file.read_bytes() != before


def test_where_there_is_nothing_it_says_so(cli, tmp_path):
    done = cli("leave", "--yes", "--home", str(tmp_path / "empty"))

    assert done.returncode == 1
    assert "no peer is running" in done.stderr
    assert not (tmp_path / "empty").exists()
