"""The Blender engine: same inputs give the same bits, tiles give the frame, files get no chance to act."""

import io
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest

pytest.importorskip("bpy")

from PIL import Image

from meshwit.plugins.blender import demo, engine, session
from meshwit.plugins.blender.engine import Engine, FrameTask

SIZE = 32


@pytest.fixture(scope="module")
def blend(tmp_path_factory):
    return demo.build_demo_scene(tmp_path_factory.mktemp("blend") / "demo.blend", 4, SIZE, SIZE, samples=2)


def changed(blend, tmp_path, change):
    """A copy of the file in which `change(bpy, scene)` was applied."""
    bpy = session.blender()
    session.open_blend(blend)
    change(bpy, bpy.context.scene)
    path = tmp_path / "changed.blend"
    with session.quiet_stdout():
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    session.forget()
    return path


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_file_says_what_it_asks_for(blend):
    info = engine.scene_info(blend)
    assert info == (1, 4, 1, SIZE, SIZE, 24.0, "CYCLES", 2)
    assert engine.blender_version()[0].isdigit()


def test_same_inputs_give_the_same_bytes(blend):
    first = engine.render(blend, FrameTask(2))
    engine.render(blend, FrameTask(3))
    session.forget()
    assert pixels(first).shape == (SIZE, SIZE, 3)
    assert pixels(first).std() > 10
    assert first == engine.render(blend, FrameTask(2))
    assert first != engine.render(blend, FrameTask(3))
    assert first != engine.render(blend, FrameTask(2), seed=1)


def test_another_process_gives_the_same_bytes_and_a_clean_output(blend):
    program = (
        "import sys, zlib; from meshwit.plugins.blender.engine import FrameTask, render;"
        "print(zlib.crc32(render(sys.argv[1], FrameTask(2))))"
    )
    command = [sys.executable, "-c", program, str(blend)]
    other = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert other.stdout == f"{zlib.crc32(engine.render(blend, FrameTask(2)))}\n"


@pytest.mark.parametrize(
    ("width", "height", "rows", "columns"), [(SIZE, SIZE, 2, 2), (49, 37, 5, 7)], ids=["even", "odd"]
)
def test_tiles_equal_the_whole_frame(blend, width, height, rows, columns):
    tasks = engine.split_tiles(1, rows, columns, width, height)
    assert len(tasks) == rows * columns
    results = [(task, engine.render(blend, task, width=width, height=height)) for task in reversed(tasks)]
    [(frame, joined)] = engine.collect(results, width, height)
    assert frame == 1
    whole = engine.render(blend, FrameTask(1), width=width, height=height)
    np.testing.assert_array_equal(pixels(joined), pixels(whole))


def test_collect_orders_frames_and_misses_tiles(blend):
    png = engine.render(blend, FrameTask(1))
    assert engine.collect([(FrameTask(7), png), (FrameTask(3), png)], SIZE, SIZE) == [(3, png), (7, png)]
    task = engine.split_tiles(1, 2, 1, SIZE, SIZE)[1]
    with pytest.raises(ValueError, match="frame 1: 512 of 1024 pixels are covered by no tile"):
        engine.collect([(task, engine.render(blend, task))], SIZE, SIZE)


def test_size_and_samples_of_the_file_survive_other_renders(blend):
    before = engine.render(blend, FrameTask(1))
    assert pixels(engine.render(blend, FrameTask(1), width=20, height=10, samples=1)).shape == (10, 20, 3)
    assert engine.render(blend, FrameTask(1)) == before


def test_open_file_is_kept_until_its_content_changes(blend, tmp_path):
    copy = tmp_path / "copy.blend"
    copy.write_bytes(blend.read_bytes())
    engine.scene_info(copy)
    session.blender().context.scene["mark"] = 1
    os.utime(copy, (1, 1))
    engine.scene_info(copy)
    assert "mark" in session.blender().context.scene
    copy.write_bytes(blend.read_bytes() + b"\0")
    engine.scene_info(copy)
    assert "mark" not in session.blender().context.scene


def test_scripts_in_a_file_do_not_run(blend, tmp_path):
    trace = tmp_path / "trace"

    def infect(bpy, scene):
        text = bpy.data.texts.new("run.py")
        text.write(f"open({str(trace)!r}, 'w')")
        text.use_module = True
        driver = scene.camera.driver_add("location", 0).driver
        driver.expression = f"open({str(trace)!r}, 'w').close() or 1.0"

    path = changed(blend, tmp_path, infect)
    trace.unlink(missing_ok=True)
    engine.render(path, FrameTask(1))
    assert not trace.exists()


def test_compositing_is_refused_in_tiles_and_writes_no_files(blend, tmp_path):
    def composite(bpy, scene):
        if hasattr(scene, "compositing_node_group"):
            scene.compositing_node_group = tree = bpy.data.node_groups.new("comp", "CompositorNodeTree")
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
            end = tree.nodes.new("NodeGroupOutput")
        else:
            scene.use_nodes = True
            tree = scene.node_tree
            end = tree.nodes.new("CompositorNodeComposite")
        layers = tree.nodes.new("CompositorNodeRLayers")
        output = tree.nodes.new("CompositorNodeOutputFile")
        if hasattr(output, "file_output_items"):
            output.directory = str(tmp_path / "leak")
            output.file_output_items.new("RGBA", "Image")
        else:
            output.base_path = str(tmp_path / "leak")
        tree.links.new(layers.outputs["Image"], end.inputs[0])
        tree.links.new(layers.outputs["Image"], output.inputs[0])

    path = changed(blend, tmp_path, composite)
    assert pixels(engine.render(path, FrameTask(1))).std() > 10
    assert not (tmp_path / "leak").exists()
    with pytest.raises(ValueError, match="uses compositing, so it cannot be rendered in tiles"):
        engine.render(path, engine.split_tiles(1, 2, 2, SIZE, SIZE)[0])


def test_bad_files_are_refused_in_plain_words(blend, tmp_path):
    absent, garbage = tmp_path / "absent.blend", tmp_path / "garbage.blend"
    garbage.write_bytes(b"not a scene")
    with pytest.raises(ValueError, match=r"cannot read .*absent\.blend: No such file"):
        engine.render(absent, FrameTask(1))
    with pytest.raises(ValueError, match=r"garbage\.blend is not a file that Blender .* can open"):
        engine.render(garbage, FrameTask(1))
    blind = changed(blend, tmp_path, lambda bpy, scene: bpy.data.objects.remove(scene.camera))
    with pytest.raises(ValueError, match="has no camera"):
        engine.render(blind, FrameTask(1))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"width": 3}, "width must be from 4 to 16384, got 3"),
        ({"samples": 0}, "samples must be from 1"),
        ({"seed": -1}, "seed must be from 0"),
        ({"task": FrameTask(-1)}, "frame must be from 0"),
        ({"task": FrameTask(1, engine.Tile(30, 0, 8, 8))}, "does not lie within the 32x32 frame"),
    ],
)
def test_arguments_out_of_range(blend, arguments, why):
    with pytest.raises(ValueError, match=why):
        engine.render(blend, **{"task": FrameTask(1), **arguments})


def test_frames_are_split_with_both_ends():
    assert [task.frame for task in engine.split_frames(1, 7, 3)] == [1, 4, 7]
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        engine.split_frames(1, 7, 0)
    with pytest.raises(ValueError, match="got 7 to 1"):
        engine.split_frames(7, 1)


@pytest.mark.parametrize(
    ("found", "why"),
    [(None, "OpenGL, which does not work here"), (session.OpenGL("llvmpipe", False), "here is only llvmpipe")],
)
def test_eevee_without_graphics_device_says_so(blend, monkeypatch, found, why):
    monkeypatch.setattr(engine, "opengl", lambda: found)
    with pytest.raises(RuntimeError, match=why):
        engine.render(blend, FrameTask(1), Engine.EEVEE)


def test_workbench_draws_where_opengl_works(blend):
    if session.opengl() is None:
        with pytest.raises(RuntimeError, match="OpenGL, which does not work here"):
            engine.render(blend, FrameTask(1), Engine.WORKBENCH)
    else:
        assert pixels(engine.render(blend, FrameTask(1), Engine.WORKBENCH)).shape == (SIZE, SIZE, 3)
