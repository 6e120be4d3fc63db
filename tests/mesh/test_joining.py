"""Two devices on one network become a mesh, by each of the ways, with the real command line on both."""

from __future__ import annotations

import re

import pytest

from tests.mesh.devices import devices, open_mesh, wait_for, wait_until_all_know
from tests.netlab import require_netlab

pytestmark = pytest.mark.usefixtures("netlab_needed")


@pytest.fixture(scope="module")
def netlab_needed():
    require_netlab()


def test_a_code_lets_a_device_in_and_it_comes_back_without_any_question(tmp_path):
    with devices(2, tmp_path) as (_, (first, second)):
        first.up()
        first.wait_until_up()
        code = re.search(r"\d+-[a-z]+-[a-z]+", first.tell("invite"))[0]
        second.up(typed=True)
        wait_for(lambda: "code" in second.said(), "it asks for a code", second)
        second.type("12-wrong-words")
        wait_for(lambda: "wrong code" in second.said(), "it says so", second)
        second.type(code.upper().replace("-", " "))
        wait_until_all_know([first, second])
        second.stop()
        wait_for(lambda: first.peers()["d1"]["state"] == "left", "it said goodbye")
        second.up()
        wait_until_all_know([first, second])


def test_a_member_approves_after_both_show_the_same_words(tmp_path):
    with devices(2, tmp_path) as (_, (first, second)):
        first.up()
        first.wait_until_up()
        second.up()
        words = wait_for(lambda: re.search(r"d1 .*?: ([a-z]+ [a-z]+)", first.said()), "the member shows words")[1]
        wait_for(lambda: words in second.said(), f"both show {words}", second)
        assert first.run("approve", "nobody").returncode != 0
        first.tell("approve", "d1")
        wait_until_all_know([first, second])


def test_an_invite_lets_devices_in_with_nobody_in_front_of_them(tmp_path):
    with devices(3, tmp_path) as (_, made):
        made[0].up()
        made[0].wait_until_up()
        token = made[0].tell("invite", "--token").strip()
        for each in made[1:]:
            each.up("--invite", token)
        wait_until_all_know(made)


def test_open_meshes_made_at_the_same_time_become_one(tmp_path):
    with devices(3, tmp_path) as (_, made):
        for each in made:
            each.up("--open")
        wait_until_all_know(made)
        assert "OPEN" in made[0].said()


def test_a_second_peer_of_the_same_user_joins_by_itself(tmp_path):
    with devices(1, tmp_path) as (lab, (first,)):
        first.up()
        first.wait_until_up()
        other = type(first)(lab.host(0), tmp_path / "other", "other")
        other.home = first.home
        try:
            other.up()
            wait_for(
                lambda: '"other"' in first.run("peers", "--json", "--on", "d0").stdout, "both are there", first, other
            )
        finally:
            other.stop()


def test_where_multicast_does_not_reach_an_address_does(tmp_path):
    with devices(2, tmp_path) as (lab, (first, second)):
        lab.block_multicast(0)
        lab.block_multicast(1)
        first.up("--open")
        first.wait_until_up()
        second.up("--open", "--peer", first.host.address)
        wait_until_all_know([first, second])


def test_an_expelled_device_is_refused_and_does_not_come_back(tmp_path):
    with devices(3, tmp_path) as (_, made):
        open_mesh(made)
        made[0].tell("expel", "d2", "--yes")
        wait_until_all_know(made[:2])
        wait_for(lambda: "expelled" in made[2].said(), "it is told", made[2])
        made[2].stop()
        made[2].up("--open")
        wait_for(lambda: made[2].peer.poll() is not None, "it ends")
        assert "meshwit leave" in made[2].said()
        wait_until_all_know(made[:2])


def test_leaving_forgets_the_mesh(tmp_path):
    with devices(2, tmp_path) as (_, made):
        open_mesh(made)
        made[1].tell("leave", "--yes")
        wait_for(lambda: made[1].peer.poll() is not None, "it ends")
        wait_for(lambda: made[0].peers()["d1"]["state"] == "left", "it is gone")
        made[0].tell("forget", "d1")
        assert set(made[0].peers()) == {"d0"}
