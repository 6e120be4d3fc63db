"""Three whole peers of one device, of which one is killed while large values pass through memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

from meshwit.peer.device.passing import VARIABLE
from meshwit.peer.exec.directories import NAME, memory_root
from tests.mesh.devices import open_mesh, wait_for
from tests.mesh.working_together import Notes, Site, ended
from tests.netlab import Netlab, require_netlab

CONTROLLER = '''
"""Large values, and where they were read."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from meshwit.plugins import Controller, Double, Int, Script, String, activity

Vector = Annotated[Any, Script("Vector")]


class Bulk(Controller):
    """Makes large values and reads them."""

    @activity
    def Fill(self, x: Int) -> Vector:
        """Half a MiB."""
        return np.full(1 << 16, float(x))

    @activity
    def Total(self, v: Vector, notes: String) -> Double:
        """Notes that it begins, waits while all are held, and adds it up."""
        with open(notes, "ab") as file:
            file.write(f"{int(v[0])} {os.environ['SITE_NAME']} {os.getpid()}\\n".encode())
        while Path(notes + ".held").exists():
            time.sleep(0.005)
        return float(np.asarray(v).sum())
'''
SCRIPT = """
Job:Main(String:notes, Int:count)
{
    VectorCollection:vs = Grid.ForEach(x in Int.Range(0, count)) => Bulk.Fill(x);
    DoubleCollection:totals = Grid.ForEach(v in vs) => Bulk.Total(v, notes);
}
"""
COUNT = 24


class Neighbour(Site):
    """A peer that may pass values through memory: hosts of the lab are one device, seen so."""

    @property
    def environment(self) -> dict[str, str]:
        return {key: value for key, value in super().environment.items() if key != VARIABLE}


def folders_of(pid: int) -> list[Path]:
    found = ((path, NAME.fullmatch(path.name)) for path in memory_root().iterdir())
    return [path for path, name in found if name is not None and int(name[1]) == pid]


def test_a_peer_killed_while_values_pass_leaves_nothing_and_results_are_right(tmp_path: Path):
    require_netlab()
    installed = tmp_path / "installed"
    about = installed / "meshwit_test_bulk-1.0.dist-info"
    about.mkdir(parents=True)
    (installed / "meshwit_test_bulk.py").write_text(CONTROLLER)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: meshwit-test-bulk\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[meshwit.controllers]\nbulk = meshwit_test_bulk:Bulk\n")
    script = tmp_path / "totals.wit"
    script.write_text(SCRIPT)
    notes = Notes(tmp_path / "notes")
    names = ["ada", "bob", "eve"]
    with Netlab(len(names)) as lab:
        sites = [Neighbour(lab.host(n), tmp_path / name, name, installed) for n, name in enumerate(names)]
        try:
            open_mesh(sites)
            first, victim, _ = sites
            assert victim.peer is not None
            pid = victim.peer.pid
            with notes.held_until_all_began(names, *sites):
                asked = ["--notes", str(notes), "--count", str(COUNT), "--only", "totals", "--json"]
                run = first.start(str(script), *asked)
                notes.wait_until(names, 1, *sites)
                own = folders_of(pid)
                assert any(path.name.startswith("out-") for folder in own for path in folder.iterdir())
                victim.kill()
            code, out, err = ended(run, *sites)
            assert code == 0, err
            told = json.loads(out)
            assert told["variables"]["totals"] == [float(x << 16) for x in range(COUNT)]
            wait_for(lambda: not any(map(os.path.exists, own)), "what it left is gone", *sites)
        finally:
            for each in sites:
                if each.peer is not None and each.peer.poll() is None:
                    each.peer.terminate()
            for each in sites:
                each.stop()
        assert not folders_of(pid)
