"""What befalls devices: processes die, sleep, lose their cable or each other. The mesh knows, and is whole again after.

Most of it befalls one mesh of four, which every test finds whole and leaves whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from meshwit.peer.trust.certificates import issue
from meshwit.peer.trust.store import Home, read_membership
from tests.mesh.devices import Device, devices, open_mesh, wait_for, wait_until_all_know
from tests.netlab import Netlab, command, require_netlab

Mesh = tuple[Netlab, list[Device]]


@pytest.fixture(scope="module")
def netlab_needed() -> None:
    require_netlab()


@pytest.fixture(scope="module")
def one_mesh(netlab_needed, tmp_path_factory) -> Iterator[Mesh]:
    """Four members; the fifth host is still nobody."""
    with devices(5, tmp_path_factory.mktemp("mesh")) as (lab, made):
        open_mesh(made[:4])
        yield lab, made


@pytest.fixture
def mesh(one_mesh) -> Mesh:
    """The same, whole."""
    lab, made = one_mesh
    wait_until_all_know(made[:4])
    return lab, made


def wait_until_held_for(state: str, gone: Device, by: Sequence[Device]) -> None:
    for each in by:
        wait_for(
            lambda each=each: each.peers().get(gone.name, {}).get("state") == state,
            f"{each.name} holds {gone.name} for {state}", gone, each,
        )  # fmt: skip


def test_a_killed_peer_is_dead_to_all_and_comes_back_by_itself_from_another_address(mesh):
    _, (*others, victim, _) = mesh
    victim.kill()
    wait_until_held_for("dead", victim, others)
    namespace, address = victim.host.name, victim.host.address
    command("ip", "-n", namespace, "addr", "del", f"{address}/16", "dev", "eth0")
    command("ip", "-n", namespace, "addr", "add", "10.77.9.9/16", "brd", "+", "dev", "eth0")
    command("ip", "-n", namespace, "route", "replace", "default", "dev", "eth0")
    victim.up()  # not --open: nothing but its certificate lets it in
    wait_until_all_know([*others, victim])

    def is_found() -> bool:
        told = others[0].peers()[victim.name]["address"]
        return "10.77.9.9" in told or (":" in told.rpartition(":")[0] and str(address) not in told)  # or by IPv6

    wait_for(is_found, "it is known where it is", victim)


def test_a_frozen_peer_is_dead_until_it_goes_on(mesh):
    lab, (first, victim, *others, _) = mesh
    lab.freeze(victim.peer.pid)
    try:
        wait_until_held_for("dead", victim, [first, *others])
    finally:
        lab.thaw(victim.peer.pid)
    wait_until_all_know([first, victim, *others])


def test_behind_a_pulled_cable_everybody_is_dead_until_it_is_plugged_in_again(mesh):
    lab, (*others, victim, _) = mesh
    lab.cut(victim.host.index)
    try:
        wait_until_held_for("dead", victim, others)
        wait_for(lambda: victim.alive() == {victim.name}, "it is alone", victim)
    finally:
        lab.heal(victim.host.index)
    wait_until_all_know([*others, victim])


def test_halves_that_lost_each_other_stay_whole_and_become_one_again(mesh):
    lab, made = mesh
    left, right = made[:2], made[2:4]
    lab.split({0, 1})
    try:
        wait_until_all_know(left)
        wait_until_all_know(right)
    finally:
        lab.join()
    wait_until_all_know([*left, *right])


def test_a_device_of_another_mesh_is_not_let_in_nor_one_that_made_itself_a_member(mesh):
    _, (*members, stranger) = mesh
    asked = ("--peer", members[0].host.address, "--peer", members[1].host.address)
    stranger.up("--new", *asked)
    stranger.wait_until_up()
    wait_for(lambda: "another mesh" in stranger.said(), "it is told why", stranger)
    assert stranger.alive() == {stranger.name}
    stranger.stop()

    # All that a member knows, as if its file had been copied, and a certificate that nobody but itself has signed.
    real = read_membership(members[0].home / "peers" / "1")
    with Home(stranger.home).profile() as profile:
        own = profile.load_membership()
        forged = issue(profile.key, real.mesh, profile.key.public_key, stranger.name, int(time.time()))
        profile.save_membership(
            msgspec.structs.replace(
                own, mesh_key=real.mesh_key, mesh_name=real.mesh_name, secrets=real.secrets, chain=(forged,)
            )
        )
    stranger.up(*asked)
    wait_for(lambda: "refuse" in stranger.said() or "accept" in stranger.said(), "it is refused", stranger)
    assert stranger.alive() == {stranger.name}
    stranger.stop()
    for each in members:
        assert set(each.peers()) == {member.name for member in members}


def test_with_no_udp_at_all_links_do(netlab_needed, tmp_path):
    with devices(3, tmp_path) as (lab, made):
        for each in made:
            lab.block_udp(each.host.index, spare=[5353])
        open_mesh(made)
        *others, victim = made
        victim.kill()
        wait_until_held_for("dead", victim, others)
        victim.up()
        wait_until_all_know(made)
        lab.cut(victim.host.index)
        wait_until_held_for("dead", victim, others)
