"""What a worker process makes of a step's program."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwit.lang import program as ir
from meshwit.lang.arrows import pack
from meshwit.peer.exec import tasks
from meshwit.plugins import Context, Controller, String, activity
from meshwit.plugins.registry import Registry
from meshwit.plugins.variables import Variables


class Folders(Controller):
    """Tells what it may use."""

    @activity
    def Within(self, context: Context, path: String) -> String:
        """The path, if it is allowed."""
        return str(context.inside_roots(path))


@pytest.fixture
def program_of(tmp_path, monkeypatch):
    """A worker process that allows the folder `own`, and programs of steps that may use others."""
    monkeypatch.setattr(tasks, "_workshop", None)
    setup = {"blobs": str(tmp_path / "blobs"), "roots": [str(tmp_path / "own")], "scratch": "", "tags": {}}
    tasks.make_codec(setup)
    registry = Registry([Variables(), Folders()])
    item = ir.Load(0, 0, 0, "String", "", False, (0, 0))
    task = ir.Invoke(registry.offer.activities["Folders.Within"], 0, (item,), "String", 0, (0, 0))
    controllers = [registry.owners["type String"], f"{__name__}:Folders"]
    return lambda **more: {"controllers": controllers, "task": pack(task), "captured": [], **more}


def test_each_step_has_its_own_roots(program_of, tmp_path):
    usual, granted, nothing = (
        tasks.load(program_of(**more)) for more in ({}, {"roots": [str(tmp_path / "granted")]}, {"roots": []})
    )
    assert Path(usual("file")) == tmp_path.resolve() / "own" / "file"
    assert Path(granted("file")) == tmp_path.resolve() / "granted" / "file"
    with pytest.raises(PermissionError):
        granted(str(tmp_path / "own" / "file"))
    with pytest.raises(PermissionError, match="allows no folder"):
        nothing("file")
    assert Path(usual("file")).parent.name == "own"  # still, though other steps were loaded after it
