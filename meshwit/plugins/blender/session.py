"""The one Blender inside this process: loaded late, kept quiet, holding one open `.blend` file.

Decides when Blender starts and which file it has open; not what is rendered (`engine`).

Traps of `bpy` that shaped this module:
- A process holds one Blender with one file; opening another closes the first. It is not safe to use from two threads.
- Opening a file costs more than rendering a small frame, so it stays open, known by its path and content hash.
- Files may carry Python (text blocks that register themselves, drivers, handlers): loaded with scripts disabled.
- Compositor nodes may write files anywhere: they are muted after loading.
- Blender prints on file descriptor 1, past `sys.stdout`: the descriptor points to nowhere while Blender works.
- Where the OpenGL library finds no vendor, Workbench and Eevee end the whole process with an assertion that nothing can
  catch: `opengl` asks a child process first.
- Wheels exist for one Python version each and want numpy below 2: see `meshwit[blender]`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

OPENGL_PROBE_S = 120


class SceneInfo(NamedTuple):
    """What a `.blend` file says of itself: frame range, size in pixels, frames per second, engine, Cycles samples."""

    frame_start: int
    frame_end: int
    frame_step: int
    width: int
    height: int
    fps: float
    engine: str
    samples: int


class OpenGL(NamedTuple):
    """What draws for Workbench and Eevee: its name, and whether it is a device or a program on the processor."""

    renderer: str
    hardware: bool


@dataclass(slots=True)
class _Open:
    path: Path
    stamp: tuple[int, int]
    digest: str
    info: SceneInfo


_open: _Open | None = None


@cache
def blender() -> Any:
    """The `bpy` module, imported at the first call (0.5 to 1.5 s), with factory settings and nothing in its scene."""
    try:
        with quiet_stdout():
            bpy = importlib.import_module("bpy")
            bpy.ops.wm.read_factory_settings(use_empty=True)
    except ImportError as error:
        raise RuntimeError(
            f"Blender does not load ({error}): pip install 'meshwit[blender]'; on Debian and Ubuntu it also needs "
            "libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6 libxext6 libgl1"
        ) from error
    return bpy


def blender_version() -> str:
    """Such as "5.0.1". `RuntimeError` where Blender is not installed or does not load."""
    return str(blender().app.version_string)


def open_blend(path: str | Path) -> SceneInfo:
    """Makes Blender hold this file, at once if it already does.

    Raises:
        ValueError: no such file, or Blender cannot read it.
    """
    global _open
    file = Path(path).resolve()
    try:
        status = file.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        if _open is not None and (_open.path, _open.stamp) == (file, stamp):
            return _open.info
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "blake2b").hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror or error}") from error
    if _open is not None and (_open.path, _open.digest) == (file, digest):
        _open.stamp = stamp
        return _open.info
    bpy = blender()
    _open = None
    try:
        with quiet_stdout():
            bpy.ops.wm.open_mainfile(filepath=str(file), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise ValueError(f"{file} is not a file that Blender {blender_version()} can open: {plain(error)}") from error
    _mute_file_outputs(bpy)
    _open = _Open(file, stamp, digest, _info(bpy.context.scene))
    return _open.info


def forget() -> None:
    """Says that Blender's scene was changed by other means, so that the next `open_blend` reads its file anew."""
    global _open
    _open = None


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Points file descriptor 1 to nowhere. Only standard output, and of the whole process, not of one thread."""
    sys.stdout.flush()
    saved = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(nowhere)
        os.close(saved)


@cache
def opengl() -> OpenGL | None:
    """What OpenGL can do here, found out by a child process that may die of it; None where there is none."""
    child = [sys.executable, "-c", _OPENGL_PROBE]
    try:
        done = subprocess.run(child, capture_output=True, text=True, timeout=OPENGL_PROBE_S, check=False)
        answer = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        return None
    return OpenGL(str(answer["renderer"]), answer["device"] != "SOFTWARE")


def plain(error: Exception) -> str:
    """Blender's message on one line, without its own "Error:"."""
    return " ".join(str(error).split()).removeprefix("Error: ")


# `gpu.platform` answers in a process without a window only after something was drawn.
_OPENGL_PROBE = """
import json, os, tempfile, bpy, gpu
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
scene.collection.objects.link(scene.camera)
scene.render.engine = "BLENDER_WORKBENCH"
scene.render.resolution_x = scene.render.resolution_y = 8
bpy.ops.render.render()
print(flush=True)
print(json.dumps({"renderer": gpu.platform.renderer_get(), "device": gpu.platform.device_type_get()}), flush=True)
os._exit(0)
"""


def _info(scene: Any) -> SceneInfo:
    render = scene.render
    return SceneInfo(
        frame_start=scene.frame_start,
        frame_end=scene.frame_end,
        frame_step=scene.frame_step,
        width=render.resolution_x * render.resolution_percentage // 100,
        height=render.resolution_y * render.resolution_percentage // 100,
        fps=render.fps / render.fps_base,
        engine=str(render.engine),
        samples=int(scene.cycles.samples),
    )


def _mute_file_outputs(bpy: Any) -> None:
    trees = list(bpy.data.node_groups) + [scene.node_tree for scene in bpy.data.scenes if _old_compositor(scene)]
    for tree in trees:
        for node in tree.nodes:
            if node.type == "OUTPUT_FILE":
                node.mute = True


def _old_compositor(scene: Any) -> bool:
    # Until 4.5 a scene owns its compositor tree; from 5.0 on it is a node group like any other.
    return not hasattr(scene, "compositing_node_group") and scene.node_tree is not None
