"""The Mitsuba engine: same inputs give the same bits, tiles give the frame, scenes stay within themselves."""

import io
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest

pytest.importorskip("mitsuba")

from PIL import Image

from meshwit.plugins.renderer import demo, scene

WIDTH, HEIGHT, SAMPLES = 48, 40, 2

SPHERE = b"""<scene version="3.0.0">
    <integrator type="path"/>
    <sensor type="perspective">
        <transform name="to_world"><lookat origin="0, -4, 0" target="0, 0, 0" up="0, 0, 1"/></transform>
        <film type="hdrfilm"><integer name="width" value="7"/></film>
    </sensor>
    <emitter type="constant"/>
    <shape type="sphere">
        <transform name="to_world"><rotate z="1" angle="$angle"/><translate x="$time" y="0" z="0"/></transform>
        <bsdf type="diffuse"><rgb name="reflectance" value="0.5, 0.$frame, 0.1"/></bsdf>
    </shape>
</scene>"""


def render(source=None, frame=1, frames=4, tile=None):
    return scene.render_frame(source, frame, frames, WIDTH, HEIGHT, SAMPLES, tile)


def test_same_inputs_give_the_same_bits():
    first = render()
    scene._load.cache_clear()
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert first.dtype == np.uint8
    assert first.std() > 10
    np.testing.assert_array_equal(first, render())


def test_another_process_gives_the_same_bits():
    program = (
        "import zlib; from meshwit.plugins.renderer.scene import render_frame;"
        f"print(zlib.crc32(render_frame(None, 1, 4, {WIDTH}, {HEIGHT}, {SAMPLES}).tobytes()))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert int(other.stdout) == zlib.crc32(render().tobytes())


def test_frames_differ():
    assert scene.frames(3) == [1, 2, 3]
    assert (render(frame=1) != render(frame=2)).any()


def test_film_closes_on_itself():
    start, end = demo.beads(0.0), demo.beads(1.0)
    for centre, colour in end:
        distance, twin = min((np.linalg.norm(np.subtract(centre, other)), shade) for other, shade in start)
        assert distance < 1e-9
        np.testing.assert_allclose(colour, twin, atol=1e-9)


@pytest.mark.parametrize(
    "tiles",
    [
        scene.frame_tiles(WIDTH, HEIGHT, 2, 2),
        scene.tile_grid(WIDTH, HEIGHT, 3, 2),
        [(0, 0, 48, 1), (0, 1, 5, 39), (5, 1, 43, 39)],
    ],
    ids=["on the grid", "off the grid", "odd shapes"],
)
def test_tiles_equal_the_whole_frame(tiles):
    parts = [(tile, render(tile=tile)) for tile in reversed(tiles)]
    np.testing.assert_array_equal(scene.assemble(parts, WIDTH, HEIGHT), render())


def test_grid_tiles_cover_the_frame_with_no_more_than_its_cells():
    assert scene.frame_tiles(64, 40, 1, 2) == [(0, 0, 32, 40), (32, 0, 32, 40)]
    assert scene.frame_tiles(20, 20, 4, 4) == [(0, 0, 20, 20)]


@pytest.mark.parametrize(
    ("tiles", "why"),
    [
        ([((0, 0, 2, 4), (4, 2))], "8 of 16 pixels are covered by no tile, the first at x=2, y=0"),
        ([((0, 0, 4, 4), (4, 4)), ((1, 1, 1, 1), (1, 1))], "another tile covers already"),
        ([((0, 0, 4, 4), (4, 3))], "do not fit"),
        ([((2, 0, 4, 4), (4, 4))], "does not lie within the 4x4 frame"),
    ],
)
def test_assemble_refuses_what_is_not_a_frame(tiles, why):
    with pytest.raises(ValueError, match=why):
        scene.assemble([(tile, np.zeros((*shape, 3), np.uint8)) for tile, shape in tiles], 4, 4)


def test_scene_file_gets_its_parameters():
    first, second = render(SPHERE, frame=1, frames=2), render(SPHERE, frame=2, frames=2)
    assert first.shape == (HEIGHT, WIDTH, 3)
    middle = HEIGHT // 2, WIDTH // 2
    assert second[middle][1] > first[middle][1]
    assert np.abs(first.astype(int) - second).max() > 50


def test_scene_file_travels_with_its_textures(tmp_path):
    (tmp_path / "maps").mkdir()
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "maps" / "red.png")
    texture = b'<texture name="reflectance" type="bitmap"><string name="filename" value="maps/red.png"/></texture>'
    textured = SPHERE.replace(b'<rgb name="reflectance" value="0.5, 0.$frame, 0.1"/>', texture)
    path = tmp_path / "ball.xml"
    path.write_bytes(textured)
    packed = scene.load_scene(path)
    assert packed == scene.load_scene(path)
    (tmp_path / "maps" / "red.png").unlink()
    red, green, blue = render(packed)[HEIGHT // 2, WIDTH // 2]
    assert red > 100
    assert max(green, blue) < 20
    with pytest.raises(ValueError, match=r"a lone \.xml cannot bring along"):
        render(textured)
    with pytest.raises(ValueError, match=r"cannot read .*red\.png"):
        scene.load_scene(path)


def test_plain_scene_file_is_sent_as_it_is(tmp_path):
    (tmp_path / "ball.xml").write_bytes(SPHERE)
    assert scene.load_scene(tmp_path / "ball.xml") == SPHERE
    with pytest.raises(ValueError, match=r"cannot read .*absent\.xml: No such file"):
        scene.load_scene(tmp_path / "absent.xml")


def archive_of(**entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # its date is fixed: these bytes are names of tests
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (b"", "XML is broken, no element found"),
        (b"BLENDER-v500", "XML is broken"),
        (b"<html/>", "outermost element is <html>"),
        (b'<scene version="3.0.0"/>', "no <sensor>"),
        (SPHERE.replace(b'"sphere"', b'"spere"'), 'Plugin "spere" not found'),
        (SPHERE.replace(b"$angle", b"$angel"), r"undefined parameter: \$angel"),
        (SPHERE.replace(b'"path"', b'"ptracer"'), r"AdjointIntegrator.*does not work pixel by pixel"),
        (SPHERE.replace(b'"path"', b'"../path"'), "not the name of a plugin"),
        (SPHERE.replace(b"</scene>", b'<include filename="/etc/hosts"/></scene>'), "<include> is not supported"),
        (SPHERE.replace(b"</scene>", b'<spectrum name="x" filename="../x.spd"/></scene>'), "must be relative"),
        (archive_of(), "exactly one .xml at its top, found none"),
        (archive_of(**{"readme.txt": b""}), "exactly one .xml at its top, found none"),
        (archive_of(**{"a.xml": SPHERE, "../../up.png": b""}), "within its folder"),
        (archive_of(**{"a.xml": SPHERE})[:40], "archive of 40 bytes is broken"),
    ],
)
def test_bad_scene_is_refused_in_plain_words(source, why):
    with pytest.raises(ValueError, match=why):
        render(source)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((None, 0, 4, 8, 8, 1), "frame must be from 1 to 4, got 0"),
        ((None, 5, 4, 8, 8, 1), "frame must be from 1 to 4, got 5"),
        ((None, 1, 0, 8, 8, 1), "frames must be from 1"),
        ((None, 1, 1, 0, 8, 1), "width must be from 1 to 16384, got 0"),
        ((None, 1, 1, 8, 8, 0), "samples must be from 1"),
        ((None, 1, 1, 8, 8, 1, (4, 0, 8, 8)), r"tile \(x=4, y=0, width=8, height=8\) does not lie within the 8x8"),
    ],
)
def test_arguments_out_of_range(arguments, why):
    with pytest.raises(ValueError, match=why):
        scene.render_frame(*arguments)


def test_probe_names_what_renders():
    found = scene.probe()
    assert found.variant == "scalar_rgb"
    assert int(found.version.split(".")[0]) >= 3
