"""A film rendered on a mesh: devices with a studio, the script, and what became of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.devices import open_mesh, wait_for
from tests.mesh.working_together import Notes, Site, ended
from tests.netlab import Netlab, require_netlab

CONTROLLER = '''
"""A studio: renders with the renderer that ships, takes its time, and notes what it begins."""

import os
import time
from pathlib import Path

from meshwit.plugins import Controller, Int, String, activity
from meshwit.plugins.image import Image
from meshwit.plugins.renderer.controller import Renderer
from meshwit.plugins.renderer.types import Frame


def noted(item: int, notes: str) -> None:
    with open(notes, "ab") as file:
        file.write(f"{item} {os.environ['SITE_NAME']} {os.getpid()}\\n".encode())


class Studio(Controller):
    """Renders, and sends."""

    @activity
    def Shoot(self, frame: Frame, notes: String, gate: String) -> Image:
        """The picture of a frame, once the gate lets its number pass."""
        noted(frame.number, notes)
        while int(Path(gate).read_text() or 0) < frame.number:
            time.sleep(0.02)
        return Renderer().RenderFrame(frame)

    @activity
    def Prepare(self, item: Int, notes: String) -> Int:
        """Something that may run as often as it likes."""
        noted(item, notes)
        return item * 2

    @activity(once=True)
    def Send(self, item: Int, notes: String, gate: String) -> Int:
        """Notes that it sends, and ends when the gate is there."""
        noted(item, notes)
        while not Path(gate).exists():
            time.sleep(0.02)
        return item + 1
'''
METADATA = "Metadata-Version: 2.1\nName: meshwit-test-studio\nVersion: 1.0\n"
FILM = """
Job:MakeFilm(String:notes, String:gate, Int:frames)
{
    FrameCollection:shots = Renderer.Frames(frames, width: 48, height: 28, samples: 2);
    ImageCollection:images = Grid.ForEach(shot in shots) => Studio.Shoot(shot, notes, gate);
    Video:film = Video.Compose(images, 24.0);
}
"""
PATIENCE_S = 90.0
"""For all devices of a mesh that start at once."""
FRAMES = 48
FIRST = 16
"""So many frames are rendered before anything befalls anybody."""


def install(folder: Path) -> Path:
    """A folder that has the studio installed, for `PYTHONPATH`."""
    about = folder / "meshwit_test_studio-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "meshwit_test_studio.py").write_text(CONTROLLER)
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text("[meshwit.controllers]\nstudio = meshwit_test_studio:Studio\n")
    return folder


class Studio:
    """Devices of one mesh, all with the controller."""

    def __init__(self, lab: Netlab, sites: list[Site], folder: Path) -> None:
        self.lab = lab
        self.sites = sites
        self.folder = folder
        self.script = folder / "film.wit"
        self.script.write_text(FILM)

    def site(self, name: str) -> Site:
        """The device of that name."""
        return next(each for each in self.sites if each.name == name)

    def whole(self) -> None:
        """Start again what was stopped, and wait until all know all."""
        for each in self.sites:
            if each.peer is None:
                each.up()
        names = {each.name for each in self.sites}
        for each in self.sites:
            wait_for(
                lambda each=each: each.alive() == names, f"{each.name} knows all", *self.sites, patience_s=PATIENCE_S
            )  # fmt: skip

    def jobs(self, site: Site) -> dict[str, dict[str, Any]]:
        """All jobs that are known there, by their ids."""
        done = site.run("jobs", "--json")
        return {} if done.returncode else {each["id"]: each for each in json.loads(done.stdout)["jobs"]}

    def ended_well(self, process: subprocess.Popen[str]) -> None:
        """A command that must succeed."""
        code, out, err = ended(process, *self.sites)
        assert code == 0, "\n".join([out, err, *(f"--- {each.name} ---\n{each.said()}" for each in self.sites)])


class Filming:
    """One film under way, of which the first frames are there.

    Args:
        folder: an empty one, for its files.
    """

    def __init__(self, studio: Studio, folder: Path, *more: str) -> None:
        self.studio = studio
        self.notes = Notes(folder / "notes")
        self.gate = folder / "gate"
        self.out = folder / "out"
        self.allow(FIRST)
        known = set(studio.jobs(studio.sites[0]))
        self.run = studio.sites[0].start(
            str(studio.script), "--notes", str(self.notes), "--gate", str(self.gate), "--frames", str(FRAMES),
            "--out", str(self.out), *more,
        )  # fmt: skip
        names = [each.name for each in studio.sites]
        self.notes.wait_until(names, 1, *studio.sites)
        wait_for(lambda: set(range(1, FIRST + 1)) <= set(self.notes.began()), "it has begun well", *studio.sites)
        self.id = next(iter(set(studio.jobs(studio.sites[0])) - known))

    def allow(self, count: int) -> None:
        """Let so many frames be rendered."""
        beside = self.gate.with_suffix(".new")
        beside.write_text(str(count))
        beside.replace(self.gate)

    def standbys(self) -> list[str]:
        """The names of those that stand by, once there are as many as asked for."""
        first = self.studio.sites[0]
        found: list[str] = wait_for(
            lambda: self.studio.jobs(first).get(self.id, {}).get("standbys"), "somebody stands by", *self.studio.sites
        )
        return found

    def wait_for_leader(self, asked: Site, old: str) -> None:
        """Until somebody else leads it, as far as one device knows."""

        def another() -> bool:
            view = self.studio.jobs(asked).get(self.id, {})
            return view.get("state") == "running" and view["leader"] != old

        wait_for(another, f"another one than {old} leads", *self.studio.sites)

    def wait_for_more(self, count: int = 4) -> None:
        """Until so many more frames have begun."""
        so_far = len(self.notes.lines())
        wait_for(lambda: len(self.notes.lines()) >= so_far + count, "the film goes on", *self.studio.sites)

    def twice(self) -> Counter[int]:
        """Frames that began more than once."""
        return Counter({item: times for item, times in self.notes.began().items() if times > 1})


def frames_of(film: Path) -> list[str]:
    """Each frame of a film, as a hash of its pixels."""
    av = pytest.importorskip("av")
    with av.open(str(film)) as opened:
        pictures = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    return [hashlib.sha256(each.tobytes()).hexdigest() for each in pictures]


def undisturbed(folder: Path, installed: Path) -> list[str]:
    """The frames of the film, made on one device alone, in peace."""
    folder.mkdir()
    script = folder / "film.wit"
    script.write_text(FILM)
    (folder / "gate").write_text(str(FRAMES))
    with Netlab(1) as lab:
        site = Site(lab.host(0), folder / "alone", "alone", installed)
        process = site.host.popen(
            [
                *(sys.executable, "-m", "meshwit", "run", str(script), "--here", "--out", str(folder / "out")),
                *("--notes", str(folder / "notes"), "--gate", str(folder / "gate"), "--frames", str(FRAMES)),
            ],
            env=site.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        code, out, err = ended(process)
        assert code == 0, out + err
    return frames_of(folder / "out" / "film.mp4")


@contextmanager
def studio_of(names: list[str], folder: Path, installed: Path) -> Iterator[Studio]:
    """Devices of these names in one mesh."""
    require_netlab()
    with Netlab(len(names)) as lab:
        sites = [Site(lab.host(index), folder / name, name, installed) for index, name in enumerate(names)]
        try:
            open_mesh(sites)
            yield Studio(lab, sites, folder)
        finally:
            for each in sites:
                if each.peer is not None and each.peer.poll() is None:
                    each.peer.terminate()
            for each in sites:
                each.stop()
