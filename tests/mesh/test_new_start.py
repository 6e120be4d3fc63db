"""A device that was expelled has a way back: as a new one, let in anew."""

from tests.mesh.devices import devices, open_mesh, wait_for
from tests.netlab import require_netlab


def test_an_expelled_device_leaves_and_comes_back_as_a_new_one(tmp_path):
    require_netlab()
    with devices(2, tmp_path) as (_, made):
        open_mesh(made)
        before = made[1].peers()["d1"]["id"]
        made[0].tell("expel", "d1", "--yes")
        wait_for(lambda: made[1].peer.poll() is not None, "it is told and ends", made[1])
        assert "no peer is running" in made[1].run("peers").stderr
        made[1].tell("leave", "--yes")
        made[1].up("--open")
        wait_for(
            lambda: any(each["id"] != before and each["state"] == "alive" and each["name"].startswith("d1")
                        for each in made[0].peers().values()),
            "it is back under another key", *made,
        )  # fmt: skip
