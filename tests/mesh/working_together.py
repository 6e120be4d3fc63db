"""Jobs over a mesh: devices that have a controller of their own, and `meshwit run` on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.mesh.devices import ROOT, Device, wait_for
from tests.netlab import Host

CONTROLLER = '''
"""Activities that tell where they ran."""

import os
import time
from pathlib import Path

from meshwit.plugins import Controller, Double, Int, String, activity


class Site(Controller):
    """Tells where it ran."""

    @activity
    def Work(self, item: Int, notes: String, seconds: Double) -> String:
        """Notes that it begins, waits while all are held, works, and tells where."""
        with open(notes, "ab") as file:
            file.write(f"{item} {os.environ['SITE_NAME']} {os.getpid()}\\n".encode())
        while Path(notes + ".held").exists():
            time.sleep(0.005)
        time.sleep(seconds)
        return os.environ["SITE_NAME"] + ":" + str(item)

    @activity
    def Wait(self, item: Int, notes: String) -> Int:
        """Notes that it begins, and never ends."""
        with open(notes, "ab") as file:
            file.write(f"{item} {os.environ['SITE_NAME']} {os.getpid()}\\n".encode())
        while True:
            time.sleep(1)
'''
WORK = """
Job:Main(String:notes, Int:count, Double:seconds)
{
    StringCollection:places = Grid.ForEach(x in Int.Range(0, count)) => Site.Work(x, notes, seconds);
}
"""
WAIT = """
Job:Main(String:notes, Int:count)
{
    IntCollection:ends = Grid.ForEach(x in Int.Range(0, count)) => Site.Wait(x, notes);
}
"""


def install(folder: Path, version: str = "1.0") -> Path:
    """A folder that has the controller installed, for `PYTHONPATH`."""
    about = folder / f"meshwit_test_site-{version}.dist-info"
    about.mkdir(parents=True)
    (folder / "meshwit_test_site.py").write_text(CONTROLLER)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: meshwit-test-site\nVersion: {version}\n")
    (about / "entry_points.txt").write_text("[meshwit.controllers]\nsite = meshwit_test_site:Site\n")
    return folder


class Site(Device):
    """A device with one slot; with the controller of these tests where `installed` says where that is."""

    def __init__(self, host: Host, folder: Path, name: str, installed: Path | None) -> None:
        super().__init__(host, folder, name)
        self.installed = installed

    def up(self, *options: str, typed: bool = False) -> None:
        """Starts its peer, in the open mesh, with one slot."""
        super().up("--open", "--slots", "1", typed=typed)

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(ROOT)] if self.installed is None else [str(ROOT), str(self.installed)]
        return super().environment | {"PYTHONPATH": os.pathsep.join(paths), "SITE_NAME": self.name}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`meshwit run` with these arguments, while it runs."""
        return self.host.popen(
            [sys.executable, "-m", "meshwit", "run", *arguments], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def freeze(self) -> None:
        """Stops its peer and the worker processes where they stand, as a device that sleeps does."""
        assert self.peer is not None
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        """Lets it go on."""
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        assert self.peer is not None
        peer = psutil.Process(self.peer.pid)
        return [peer, *peer.children(recursive=True)]


class Notes:
    """What the activities noted, in one file of all devices."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()

    def __str__(self) -> str:
        return str(self.file)

    def lines(self) -> list[tuple[int, str, int]]:
        """Each item that began: its number, where, and in which process."""
        found = (line.split() for line in self.file.read_text().splitlines())
        return [(int(item), name, int(process)) for item, name, process in found]

    def began(self) -> Counter[int]:
        """How often each item began."""
        return Counter(item for item, _, _ in self.lines())

    def places(self) -> Counter[str]:
        """How many items began on each device."""
        return Counter(name for _, name, _ in self.lines())

    @contextmanager
    def held_until_all_began(self, names: Sequence[str], *watched: Device) -> Iterator[None]:
        """What is started within it ends no item before one has begun on each of these devices.

        How long a device takes to start its first worker then does not decide whether it gets a part of a short job.
        """
        held = Path(f"{self.file}.held")
        held.touch()
        try:
            yield
            self.wait_until(names, 1, *watched)
        finally:
            held.unlink()

    def wait_until(self, names: Sequence[str], count: int, *watched: Device) -> None:
        """Until so many items have begun on each of these devices."""

        def far_enough() -> bool:
            places = self.places()
            return all(places[name] >= count for name in names)

        wait_for(far_enough, f"{count} items have begun on each of {names}", *watched)


def ended(process: subprocess.Popen[str], *watched: Device) -> tuple[int, str, str]:
    """The exit code of a `meshwit run`, and what it printed."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        said = "".join(f"\n--- {each.name} ---\n{each.said()}" for each in watched)
        raise AssertionError(f"the run never ended:\n{out}\n{err}{said}") from None
    return process.returncode, out, err
