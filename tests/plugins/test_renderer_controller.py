"""The Renderer's activities on tiny frames: numbers as frames, tiles that make the frame, and what is refused."""

import subprocess
import sys

import pytest

pytest.importorskip("mitsuba")

from calling import Desk

from meshwit.plugins.image.controller import Images
from meshwit.plugins.renderer.controller import Renderer
from meshwit.plugins.renderer.types import FrameValue
from meshwit.plugins.video.controller import Videos

TINY = {"width": 32, "height": 18, "samples": 1}

SPHERE = """<scene version="3.0.0">
    <integrator type="path"/>
    <sensor type="perspective">
        <transform name="to_world"><lookat origin="0, -4, 0" target="0, 0, 0" up="0, 0, 1"/></transform>
    </sensor>
    <emitter type="constant"/>
    <shape type="sphere"><transform name="to_world"><translate x="$time" y="0" z="0"/></transform></shape>
</scene>"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("device"), Images(), Videos(), Renderer())


def test_a_film_from_frames_to_video(desk):
    frames = desk("Renderer.Frames", 3, **TINY)
    images = [desk("Renderer.RenderFrame", frame) for frame in frames]
    assert len({image.hash for image in images}) == 3
    info = desk("Video.Probe", desk("Video.Compose", images))
    assert (info.width, info.height, info.frames) == (32, 18, 3)


def test_the_same_frame_gives_the_same_bytes(desk):
    frame = desk("Frame", 2, 5, **TINY)
    assert desk("Renderer.RenderFrame", frame) == desk("Renderer.RenderFrame", frame)
    assert desk("Renderer.RenderFrame", frame, samples=2) != desk("Renderer.RenderFrame", frame)


def test_numbers_stand_for_frames(desk):
    frames = desk.offer.type("FrameCollection").literal(list(range(1, 241)))
    assert frames[239] == FrameValue(240)
    assert desk.text("Frame", frames[2]).startswith("Frame(Number: 3, Count: 0, Width: 320")
    assert [desk.member("Frame", frames[6], name) for name in ("Number", "Count", "Height")] == [7, 0, 180]
    for wrong in (0, -1, 2**31, 1.5, "one", True):
        with pytest.raises(ValueError, match=r"is no [Ff]rame"):
            desk.offer.type("Frame").literal(wrong)
    first, later = (desk("Renderer.RenderFrame", number, **TINY) for number in (1, 241))
    assert first == later == desk("Renderer.RenderFrame", desk("Frame", 1, 240, **TINY))


def test_frames(desk):
    assert [frame.number for frame in desk("Renderer.Frames", 4)] == [1, 2, 3, 4]
    part = desk("Renderer.Frames", 10, 12, samples=4, count=48)
    assert part == [FrameValue(number, 48, samples=4) for number in (10, 11, 12)]
    assert desk("Renderer.Frames", 10, 12)[0].count == 12


@pytest.mark.parametrize(
    ("given", "named", "why"),
    [
        ((0,), {}, "a film has from 1 to 1,000,000 frames, got 0"),
        ((2_000_000,), {}, "got 2000000"),
        ((5, 3), {}, "numbered from 1 to 3, got first 5 and last 3"),
        ((1, 9), {"count": 8}, "numbered from 1 to 8, got first 1 and last 9"),
        ((3,), {"width": 0}, "width must be from 1 to 16384, got 0"),
        ((3,), {"samples": 0}, "samples must be from 1 to 65536, got 0"),
    ],
)
def test_frames_that_cannot_be(desk, given, named, why):
    with pytest.raises(ValueError, match=why):
        desk("Renderer.Frames", *given, **named)


def test_tiles_make_the_frame(desk):
    frame = desk("Frame", 1, 2, 50, 40, 1)
    tiles = desk("Renderer.SplitTiles", frame, 2, 2)
    assert [(tile.x, tile.y, tile.width, tile.height) for tile in tiles] == [
        (0, 0, 32, 32),
        (32, 0, 18, 32),
        (0, 32, 32, 8),
        (32, 32, 18, 8),
    ]
    rendered = [desk("Renderer.RenderTile", tile) for tile in reversed(tiles)]
    whole = desk("Renderer.RenderFrame", frame)
    assert desk("Renderer.AssembleTiles", rendered) == whole
    assert desk("Image.Width", desk.member("TileImage", rendered[0], "Image")) == 18
    with pytest.raises(ValueError, match="1024 of 2000 pixels are covered by no tile"):
        desk("Renderer.AssembleTiles", rendered[:-1])
    with pytest.raises(ValueError, match=r"tiles\[1\] is NULL"):
        desk("Renderer.AssembleTiles", [rendered[0], None])
    with pytest.raises(ValueError, match="there are no tiles"):
        desk("Renderer.AssembleTiles", [])
    other = desk("TileImage", desk("Tile", desk("Frame", 2, 2, 50, 40, 1), 0, 0, 32, 32), rendered[0].image)
    with pytest.raises(ValueError, match=r"tiles\[1\] belongs to another frame: its number is 2"):
        desk("Renderer.AssembleTiles", [rendered[0], other])
    with pytest.raises(ValueError, match="columns and rows must be from 1 to 1000, got 0 and 2"):
        desk("Renderer.SplitTiles", frame, 0, 2)
    with pytest.raises(ValueError, match=r"tile \(x=40.*does not lie within the 50x40 frame"):
        desk("Tile", frame, 40, 0, 32, 32)


def test_scene_files(desk):
    (desk.root / "ball.xml").write_text(SPHERE)
    scene = desk("Renderer.Scene", "ball.xml")
    assert scene.media_type == "application/xml"
    one, two = (desk("Renderer.RenderFrame", frame) for frame in desk("Renderer.Frames", 2, **TINY, scene=scene))
    assert desk("Image.Difference", one, two) > 1
    with pytest.raises(FileNotFoundError, match=r"absent\.xml"):
        desk("Renderer.Scene", "absent.xml")
    with pytest.raises(PermissionError, match="outside the folders"):
        desk("Renderer.Scene", "/etc/hostname")
    (desk.root / "no.xml").write_text("no scene")
    with pytest.raises(ValueError, match="XML is broken"):
        desk("Renderer.Scene", "no.xml")


def test_version(desk):
    assert desk("Renderer.Version").endswith(" scalar_rgb")


def test_mitsuba_is_not_loaded_before_it_renders():
    program = (
        "import sys; from meshwit.plugins.renderer.controller import Renderer;"
        "assert Renderer().Frames(2)[1].number == 2; Renderer().SplitTiles(Renderer().Frames(1)[0], 2, 2);"
        "print({'PIL', 'numpy', 'av', 'mitsuba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_text_of_a_frame_inside_a_tile(desk):
    tile = desk("Tile", desk("Frame", 3, 9), 0, 0, 5, 4)
    shown = "Number: 3, Count: 9, Width: 320, Height: 180, Samples: 16, Scene: NULL"
    assert desk.text("Tile", tile) == f"Tile(Frame: Frame({shown}), X: 0, Y: 0, Width: 5, Height: 4)"
