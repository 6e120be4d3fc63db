"""The film of a Blender scene that is built by script."""

from pathlib import Path

import pytest

from tests.examples.running import run_example

pytest.importorskip("bpy")


def test_the_blender_film_is_a_film(tmp_path: Path) -> None:
    """Scene built, frames rendered by Cycles on worker processes, film encoded: all in one script."""
    av = pytest.importorskip("av")
    outcome = run_example("blender_film", tmp_path, "--last", "4", "--width", "64", "--samples", "1")
    assert outcome["state"] == "completed"
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 4
    assert frames[0].shape[1] == 64
    assert abs(frames[0].astype(int) - frames[2].astype(int)).mean() > 0.5
