"""A film that is rendered on four devices comes out whole and the same, whatever befalls its leader and its standbys.

Every frame's pixels are compared with those of a film made in peace. What was recorded is not rendered again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.mesh.devices import wait_for
from tests.mesh.filming import FIRST, FRAMES, Filming, Studio, frames_of, install, studio_of, undisturbed
from tests.netlab import require_netlab

NAMES = ["ada", "bob", "cleo", "dan"]
IN_FLIGHT = 2
"""Frames of one device that may be lost with it: one that runs, one whose result nobody else had yet."""


class Scene(NamedTuple):
    """A mesh that is whole, and the frames as they must be."""

    studio: Studio
    frames: list[str]


@pytest.fixture(scope="module")
def one_scene(tmp_path_factory) -> Iterator[Scene]:
    pytest.importorskip("mitsuba")
    pytest.importorskip("av")
    require_netlab()
    folder = tmp_path_factory.mktemp("studio")
    installed = install(folder / "installed")
    frames = undisturbed(folder / "peace", installed)
    assert len(frames) == FRAMES
    with studio_of(NAMES, folder, installed) as studio:
        yield Scene(studio, frames)


@pytest.fixture
def scene(one_scene) -> Scene:
    one_scene.studio.whole()
    return one_scene


def check(scene: Scene, filming: Filming, allowed_twice: int) -> None:
    """The film is there, whole, and as in peace; no more frames than that were rendered twice."""
    assert frames_of(filming.out / "film.mp4") == scene.frames
    assert set(filming.notes.began()) == set(range(1, FRAMES + 1))
    assert len(filming.twice()) <= allowed_twice, filming.notes.lines()


def test_the_leader_is_killed(scene, tmp_path):
    studio, leader = scene.studio, scene.studio.sites[0]
    filming = Filming(studio, tmp_path)
    filming.standbys()
    leader.kill()
    filming.wait_for_leader(studio.sites[1], leader.name)
    filming.allow(FRAMES)
    studio.ended_well(filming.run)
    check(scene, filming, IN_FLIGHT + len(NAMES))


def test_the_leader_sleeps_and_wakes(scene, tmp_path):
    studio, leader = scene.studio, scene.studio.sites[0]
    filming = Filming(studio, tmp_path)
    filming.standbys()
    leader.freeze()
    try:
        filming.wait_for_leader(studio.sites[1], leader.name)
        filming.allow(2 * FIRST)
        filming.wait_for_more()
        before = len(filming.notes.lines())
    finally:
        leader.thaw()
    filming.wait_for_leader(leader, leader.name)
    # Until it heard of its successor it rendered what it believed to be missing.
    alone = {item for item, name, _ in filming.notes.lines()[before:] if name == leader.name}
    filming.allow(FRAMES)
    studio.ended_well(filming.run)
    check(scene, filming, len(alone) + IN_FLIGHT + len(NAMES))


def test_the_leaders_cable_is_pulled_and_plugged_in_again(scene, tmp_path):
    """Two lead it for a while, each with what it has; then one does, with what both have."""
    studio, leader = scene.studio, scene.studio.sites[0]
    filming = Filming(studio, tmp_path)
    filming.standbys()
    before = len(filming.notes.lines())
    studio.lab.cut(leader.host.index)
    try:
        filming.wait_for_leader(studio.sites[1], leader.name)
        filming.allow(2 * FIRST)
        filming.wait_for_more()
    finally:
        studio.lab.heal(leader.host.index)
    filming.wait_for_leader(leader, leader.name)
    alone = {item for item, name, _ in filming.notes.lines()[before:] if name == leader.name}
    filming.allow(FRAMES)
    studio.ended_well(filming.run)
    check(scene, filming, len(alone) + IN_FLIGHT + len(NAMES))


def test_the_leader_and_the_first_standby_are_killed_together(scene, tmp_path):
    studio, leader = scene.studio, scene.studio.sites[0]
    filming = Filming(studio, tmp_path)
    first = studio.site(filming.standbys()[0])
    leader.kill()
    first.kill()
    filming.wait_for_leader(next(each for each in studio.sites if each.peer is not None), leader.name)
    filming.allow(FRAMES)
    studio.ended_well(filming.run)
    check(scene, filming, 2 * IN_FLIGHT + len(NAMES))


def test_all_but_one_are_killed(scene, tmp_path):
    studio = scene.studio
    filming = Filming(studio, tmp_path, "--standbys", "3")
    wait_for(lambda: len(filming.standbys()) == 3, "all stand by", *studio.sites)
    survivor = studio.sites[2]
    for each in studio.sites:
        if each is not survivor:
            each.kill()
    filming.allow(FRAMES)
    survivor.tell("result", filming.id, "--wait", "--out", str(tmp_path / "there"))
    assert frames_of(tmp_path / "there" / "film.mp4") == scene.frames
    studio.ended_well(filming.run)
    check(scene, filming, 3 * IN_FLIGHT + 1)


def test_the_whole_mesh_is_stopped_and_started_again(scene, tmp_path):
    studio = scene.studio
    filming = Filming(studio, tmp_path, "--detach")
    studio.ended_well(filming.run)
    standby = studio.site(filming.standbys()[0])
    for each in studio.sites:
        each.peer.kill()
    for each in studio.sites:
        each.kill()
    studio.whole()
    wait_for(lambda: studio.jobs(standby)[filming.id]["state"] == "interrupted", "nobody leads it", *studio.sites)
    filming.allow(FRAMES)
    standby.tell("resume", filming.id, "--out", str(filming.out))
    check(scene, filming, len(NAMES) * IN_FLIGHT)
