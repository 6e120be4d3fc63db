"""Blender's activities on tiny frames: tasks, frames, tiles, films, and what is refused."""

import pytest

pytest.importorskip("bpy")
pytest.importorskip("av")

from calling import Desk

from meshwit.plugins.blender.controller import Render
from meshwit.plugins.blender.types import RenderOptionsValue
from meshwit.plugins.image import load_image
from meshwit.plugins.image.controller import Images
from meshwit.plugins.video.controller import Videos

WIDTH, HEIGHT = 32, 18


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("device"), Images(), Videos(), Render())


@pytest.fixture(scope="module")
def scene(desk):
    return desk("Render.DemoScene", 4, WIDTH, HEIGHT, 1)


@pytest.fixture(scope="module")
def results(desk, scene):
    return [desk("Render.Frame.Cycles", task) for task in desk("Render.Split", scene, 1, 3)]


def test_scenes(desk, scene):
    info = desk("Render.SceneInfo", scene)
    assert (info.frame_start, info.frame_end, info.width, info.height, info.samples) == (1, 4, WIDTH, HEIGHT, 1)
    (desk.root / "demo.blend").write_bytes(scene.read())
    assert desk("Render.Scene", "demo.blend") == scene
    plain = desk.blobs.put(scene.read())
    assert desk.offer.type("RenderSceneRef").coerce(plain) == scene
    assert desk("RenderSceneRef", plain) == scene == desk("Render.BuildBlendFromRefs", scene)
    (desk.root / "no.blend").write_bytes(b"hello world")
    with pytest.raises(ValueError, match=r"no \.blend file: it begins with b'hello w'"):
        desk("Render.Scene", "no.blend")
    with pytest.raises(ValueError, match="a blob of type text/plain is no RenderSceneRef"):
        desk.offer.type("RenderSceneRef").coerce(desk.blobs.put(b"text", "text/plain"))
    broken = desk.blobs.put(scene.read()[:100])
    with pytest.raises(ValueError, match=r"not a file that Blender .* can open"):
        desk("Render.SceneInfo", broken)


def test_split(desk, scene):
    tasks = desk("Render.Split", scene, 5, 9, step=2, samples=64, width=640)
    assert [(task.frame, task.task_index) for task in tasks] == [(5, 0), (7, 1), (9, 2)]
    assert tasks[0].options == RenderOptionsValue(samples=64, resolution_x=640)
    options = desk("RenderOptions", "jpeg", "eevee", 8)
    assert desk("Render.Split", scene, 1, 1, options, engine="cycles")[0].options == RenderOptionsValue(
        "JPEG", "Cycles", 8
    )
    assert desk.member("RenderTask", tasks[1], "TaskIndex") == 1
    assert desk.text("RenderOptions", options).startswith('RenderOptions(Format: "JPEG", Engine: "Eevee", Samples: 8')


def test_a_film(desk, results):
    images = desk("Render.Collect", list(reversed(results)))
    assert images == [result.image for result in results]
    assert len({image.hash for image in images}) == 3
    assert images[0].media_type == "image/png"
    video = desk("VideoOptions", 12, 18)
    film = desk("Render.EncodeVideo", images, video)
    info = desk("Video.Probe", film)
    assert (info.width, info.height, info.frames, info.fps) == (WIDTH, HEIGHT, 3, 12.0)
    assert desk("Render.EncodeVideo", list(reversed(results)), video) == film


def test_the_same_task_gives_the_same_bytes(desk, scene, results):
    again = desk("Render.Frame", desk("RenderTask", scene, 2, 1))
    assert again == results[1]


def test_tiles_make_the_frame(desk, scene, results):
    tasks = desk("Render.SplitTiles", scene, 1, 2, 2)
    tiles = [desk("Render.Frame", task) for task in reversed(tasks)]
    whole = desk("Render.CollectTiles", tiles)
    assert desk("Image.Difference", whole, results[0].image) == 0
    assert desk("Render.CollectStill", tiles) == whole
    with pytest.raises(ValueError, match=r"frame 1: .* of 576 pixels are covered by no tile"):
        desk("Render.CollectTiles", tiles[:-1])
    with pytest.raises(ValueError, match="tiles of different frames: 2 of 32 x 18 pixels, 1 of 32 x 18"):
        desk("Render.CollectTiles", [tiles[0], results[1]])
    with pytest.raises(ValueError, match="a frame of 32 x 18 pixels has no 2 x 40 tiles"):
        desk("Render.Frame", desk("Render.SplitTiles", scene, 1, 2, 40)[0])


def test_options(desk, scene):
    options = desk("RenderOptions", "JPEG", samples=1, resolutionX=16)
    result = desk("Render.Frame", desk("Render.Split", scene, 1, 1, options)[0])
    assert (result.width, result.height, result.image.media_type) == (16, 9, "image/jpeg")
    still = desk("Render.CollectStill", [result], options)
    assert load_image(still).size == (16, 9)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("RenderOptions", "EXR"), 'unknown format "EXR": there are PNG, JPEG'),
        (("RenderOptions", "PNG", "Arnold"), 'unknown engine "Arnold": there are Cycles, Eevee, Workbench'),
        (("RenderOptions", "PNG", "Cycles", -1), "samples must be from 1 to 65536, or 0 .*, got -1"),
        (("RenderOptions", "PNG", "Cycles", 0, 0, 0, True), "denoise is not available"),
        (("TileOptions", -1), "overlapPx must be from 0"),
        (("TileOptions", 0, "Mix"), 'unknown blendMode "Mix"'),
        (("VideoOptions", 0), "fps must be from 0.01"),
        (("VideoOptions", 24, 99), "constantRateFactor must be from 0 to 51, got 99"),
        (("Render.DemoScene", 1), "frames must be from 2"),
        (("Render.Collect", []), "there are no results"),
        (("Render.Collect", [None]), r"1 of 1 results are NULL \(results\[0\]\)"),
    ],
)
def test_wrong_arguments_are_refused_with_their_values(desk, call, why):
    with pytest.raises(ValueError, match=why):
        desk(*call)


def test_wrong_frames(desk, scene, results):
    for first, last, step in ((3, 1, 1), (-1, 1, 1), (1, 3, 0)):
        with pytest.raises(ValueError, match=f"got {first} to {last}, step {step}"):
            desk("Render.Split", scene, first, last, step=step)
    with pytest.raises(ValueError, match="tilesX and tilesY must be from 1 to 1000, got 0 and 1"):
        desk("Render.SplitTiles", scene, 1, 0, 1)
    with pytest.raises(ValueError, match="a still is one frame, there are 3"):
        desk("Render.CollectStill", results)


def test_version(desk):
    assert int(desk("Render.BlenderVersion").split(".")[0]) >= 4
