"""The commands of a mesh as people use them: what only real devices and a real terminal show."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.mesh.devices import Device, devices, open_mesh, wait_for, wait_until_all_know
from tests.netlab import require_netlab

pytestmark = pytest.mark.usefixtures("netlab_needed")


@pytest.fixture(scope="module")
def netlab_needed():
    require_netlab()


def key_of(device: Device) -> bytes:
    return (device.home / "peers" / "1" / "key.pem").read_bytes()


def is_member(device: Device) -> bool:
    return (device.home / "peers" / "1" / "membership.msgpack").exists()


def ended(device: Device) -> int:
    """The exit code of its `meshwit up`, which ends by itself."""
    assert device.peer is not None
    wait_for(lambda: device.peer.poll() is not None, f"{device.name} ends", device)
    return device.peer.returncode


def test_a_mistyped_code_costs_nothing_and_an_interrupt_says_goodbye(tmp_path):
    """The place at the door stays, with its words. Whoever stops shows the mesh as it was, not as if all had gone."""
    with devices(2, tmp_path) as (_, (first, second)):
        first.up()
        first.wait_until_up()
        second.up(typed=True)
        words = wait_for(lambda: re.search(r"shows: ([a-z]+ [a-z]+)", second.said()), "it shows words", second)[1]
        second.type("otter")
        wait_for(lambda: "wrong code" in second.said(), "it says so", second)
        assert words in first.run("approve").stdout

        second.type(first.tell("invite"))
        wait_until_all_know([first, second])
        wait_for(lambda: "2 of 2 peers alive" in second.said(), "the table is there", second)
        before = len(second.said())
        second.peer.send_signal(signal.SIGINT)
        assert ended(second) == 0
        wait_for(lambda: first.peers()["d1"]["state"] == "left", "it said goodbye", first)
        second.stop()
        after = second.said()[before:]
        assert "stopping" in after
        assert "goodbye" not in after and "left" not in after


def test_in_the_background_and_down(tmp_path):
    with devices(2, tmp_path) as (_, (first, second)):
        started = json.loads(first.tell("up", "--background", "--open", "--json"))
        assert started["state"] == "ready"
        done = second.run("up", "--background", "--open", "--name", "d1")
        assert done.returncode == 0, done.stderr
        assert set(re.findall("^d1|this peer|now", done.stdout, re.M)) == {"d1", "this peer", "now"}, done.stderr

        again = second.run("up", "--background", "--name", "another")
        assert "d1 runs on this device already" in again.stderr
        several = second.run("down")
        assert several.returncode == 2
        assert "--all" in several.stderr
        second.tell("down", "--all")
        assert second.run("down").returncode == 1
        assert second.run("peers").returncode == 1
        wait_for(
            lambda: {each["state"] for each in first.peers().values() if not each["me"]} == {"left"},
            "both said goodbye",
        )
        assert "stopped" in (second.home / "peers" / "1" / "peer.log").read_text()
        first.tell("down")


def test_leaving_needs_no_running_peer_and_an_expelled_device_comes_back_as_a_new_one(tmp_path):
    with devices(2, tmp_path) as (_, made):
        open_mesh(made)
        first, second = made
        key, before = key_of(second), second.peers()["d1"]["id"]
        second.stop()
        assert second.run("leave").returncode == 2, "nobody was there to be asked"
        assert is_member(second)
        second.tell("leave", "--yes")
        assert not is_member(second)
        assert key_of(second) == key, "who leaves stays the same device"

        first.tell("expel", "d1", "--yes")
        second.up("--open")
        assert ended(second) == 1
        assert "meshwit leave" in second.said()
        second.tell("leave", "--yes")

        second.up("--open")
        wait_until_all_know(made)
        assert second.peers()["d1"]["id"] != before


def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path):
    """Or the next try, with another port, would be told that this device is in a mesh already."""
    with devices(1, tmp_path) as (lab, (first,)):
        first.up("--port", "7800")
        first.wait_until_up()
        other = Device(lab.host(0), tmp_path / "other", "other")
        other.up("--new", "--port", "7800")
        assert ended(other) == 1
        assert "port 7800 cannot be used" in other.said()
        assert not is_member(other)


def test_doctor_names_a_damaged_file_and_a_firewall(tmp_path):
    with devices(1, tmp_path) as (lab, (first,)):
        first.up()
        first.wait_until_up()
        first.stop()
        (first.home / "peers" / "1" / "membership.msgpack").write_bytes(b"x")
        (first.home / "peers" / "1" / "membership.msgpack").chmod(0o600)
        lab.block_udp(0)
        done = first.run("doctor")
        assert done.returncode == 1
        assert re.search("^fail +configuration: .*membership.msgpack is damaged", done.stdout, re.M)
        assert re.search("^fail +multicast: none from", done.stdout, re.M)
