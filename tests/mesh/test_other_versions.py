"""Devices that have a controller in several versions: all of a job comes of compatible ones, whoever leads it and
whoever is upgraded meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from tests.mesh.devices import open_mesh, wait_for
from tests.mesh.working_together import WORK, Notes, Site, install
from tests.netlab import Netlab, require_netlab

OLD = ["ash", "birch"]
NEW = ["cedar", "dogwood"]
ITEMS = 60


def test_a_job_keeps_to_its_versions_when_its_leader_dies_and_comes_back_upgraded(tmp_path: Path):
    require_netlab()
    installed = {version: install(tmp_path / version, version) for version in ("1.0", "2.0")}
    script = tmp_path / "work.wit"
    script.write_text(WORK)
    notes = Notes(tmp_path / "notes")
    with Netlab(4) as lab:
        sites = [
            Site(lab.host(index), tmp_path / name, name, installed["1.0" if name in OLD else "2.0"])
            for index, name in enumerate([*OLD, *NEW])
        ]
        ash, birch, cedar, _ = sites
        try:
            open_mesh(sites)
            with notes.held_until_all_began(OLD, *sites):
                job = ash.tell(
                    "run", str(script), "--notes", str(notes), "--count", str(ITEMS), "--seconds", "0.1", "--detach"
                ).strip()
            notes.wait_until(OLD, 3, *sites)
            held = Path(f"{notes}.held")
            held.touch()
            ash.kill()
            before = {process for _, name, process in notes.lines() if name == "ash"}
            ash.installed = installed["2.0"]
            ash.up()
            wait_for(lambda: "without ash: " in birch.run("explain", job).stdout, "the upgraded device is back", *sites)
            held.unlink()

            found = json.loads(cedar.tell("result", job, "--wait", "--json"))
            assert found["state"] == "completed", found
            places = found["variables"]["places"]
            assert [int(place.split(":")[1]) for place in places] == list(range(ITEMS))
            assert set(notes.places()) == set(OLD)
            assert {process for _, name, process in notes.lines() if name == "ash"} == before
            told = json.loads(cedar.tell("jobs", "--json"))["jobs"][0]
            assert (told["id"], told["leader"]) == (job, "birch")
            explained = birch.tell("explain", job)
            for name in ("ash", *NEW):
                assert f"without {name}: has meshwit_test_site 2.0, the job wants 1.0" in explained, explained
        finally:
            for each in sites:
                each.stop()
