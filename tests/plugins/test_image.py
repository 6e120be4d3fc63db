"""Image activities on real photographs: what comes out, the same bits every time, and what is refused."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

pytest.importorskip("PIL")

from calling import Desk, photo_file
from PIL import Image as Pillow
from PIL import ImageCms

from meshwit.plugins.image import load_image
from meshwit.plugins.image.controller import Images
from meshwit.plugins.image.filters import FILTERS
from meshwit.plugins.variables.simple import Color

PHOTO = photo_file("china.jpg")


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path, Images())


@pytest.fixture
def photo(desk):
    (desk.root / "china.jpg").write_bytes(PHOTO.read_bytes())
    return desk("Image.Open", "china.jpg")


def png(mode="RGB", size=(4, 3), color=0, **info):
    buffer = io.BytesIO()
    Pillow.new(mode, size, color).save(buffer, "PNG", **info)
    return buffer.getvalue()


def size(desk, image):
    return desk("Image.Width", image), desk("Image.Height", image)


def test_neither_pillow_nor_numpy_is_loaded_with_the_controller():
    program = "import sys, meshwit.plugins.image.controller; print({'PIL', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_a_photo_is_opened_as_it_is(desk, photo):
    assert photo.media_type == "image/jpeg"
    assert photo.read() == PHOTO.read_bytes()
    assert size(desk, photo) == (640, 427)
    assert desk.text("Image", photo).endswith("(image/jpeg, 196.7 kB)")


def test_sizes(desk, photo):
    assert size(desk, desk("Image.Resize", photo, 64, 48)) == (64, 48)
    assert size(desk, desk("Image.Resize", photo, 320)) == (320, 214)
    assert size(desk, desk("Image.Thumbnail", photo, 100)) == (100, 67)
    assert size(desk, desk("Image.Thumbnail", photo, 300, 50)) == (75, 50)
    assert size(desk, desk("Image.Thumbnail", photo, 2000)) == (640, 427)
    assert size(desk, desk("Image.Crop", photo, 10, 20, 30, 40)) == (30, 40)
    assert size(desk, desk("Image.Rotate", photo, 90)) == (427, 640)
    assert size(desk, desk("Image.Rotate", photo, 45, expand=False)) == (640, 427)


def test_a_part_is_that_part(desk, photo):
    part = load_image(desk("Image.Crop", photo, 100, 50, 20, 10))
    np.testing.assert_array_equal(np.asarray(part), np.asarray(load_image(photo))[50:60, 100:120])


@pytest.mark.parametrize("name", FILTERS)
def test_filters_change_the_picture_and_keep_its_size(desk, photo, name):
    small = desk("Image.Thumbnail", photo, 64)
    changed = desk("Image.Filter", small, name.lower())
    assert size(desk, changed) == size(desk, small)
    assert desk("Image.Difference", small, changed) > 0.1


def test_filters_keep_transparency(desk):
    half = desk("Image.Color", 8, 8, "#80FF0000")
    for name in FILTERS:
        assert load_image(desk("Image.Filter", half, name)).getpixel((4, 4))[3] == 0x80


def test_tone(desk, photo):
    dark = np.asarray(load_image(desk("Image.Brightness", photo, 0.5))).mean()
    assert dark == pytest.approx(np.asarray(load_image(photo)).mean() / 2, rel=0.02)
    grey = np.asarray(load_image(desk("Image.Saturation", photo, 0)))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    assert np.asarray(load_image(desk("Image.Contrast", photo, 0))).std() == 0


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("PNG", "image/png"),
        ("jpg", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("TIFF", "image/tiff"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
    ],
)
def test_formats(desk, photo, kind, media_type):
    converted = desk("Image.Convert", photo, kind)
    assert converted.media_type == media_type
    assert size(desk, converted) == (640, 427)
    assert desk("Image.Difference", photo, converted) < 8


def test_quality(desk, photo):
    assert desk("Image.Convert", photo, "JPEG", 20).size < desk("Image.Convert", photo, "JPEG", 95).size
    with pytest.raises(ValueError, match="quality must be from 1 to 100, got 0"):
        desk("Image.Convert", photo, "WEBP", 0)
    with pytest.raises(ValueError, match="PNG has no quality"):
        desk("Image.Convert", photo, "PNG", 80)
    with pytest.raises(ValueError, match='unknown image format "XCF": there are PNG, JPEG'):
        desk("Image.Convert", photo, "XCF")


def test_the_same_picture_gives_the_same_bytes(desk, photo):
    def work():
        turned = desk("Image.Rotate", desk("Image.Filter", desk("Image.Thumbnail", photo, 90), "Sharpen"), 12.5)
        sheet = desk("Image.ContactSheet", [turned, photo], captions=["one", "two"], cell=64)
        return [
            turned.hash,
            sheet.hash,
            desk("Image.Convert", sheet, "JPEG").hash,
            desk("Image.Text", sheet, "Hi").hash,
        ]

    assert work() == work()


def test_contact_sheet(desk, photo):
    red = desk("Image.Color", 40, 20, "#FF0000")
    sheet = desk("Image.ContactSheet", [red, None, photo], columns=2, cell=32, background="#0000FF")
    assert size(desk, sheet) == (70, 70)
    pixels = load_image(sheet)
    assert pixels.getpixel((18, 18)) == (255, 0, 0)
    assert pixels.getpixel((18, 5)) == (0, 0, 255)
    assert pixels.getpixel((52, 18)) == (0, 0, 255)
    assert desk("Image.Height", desk("Image.ContactSheet", [red], captions=["a very long caption indeed"])) > 200
    with pytest.raises(ValueError, match="no images"):
        desk("Image.ContactSheet", [])
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        desk("Image.ContactSheet", [red, red], captions=["a"])
    with pytest.raises(ValueError, match=r"contact sheet of .* pixels: at most"):
        desk("Image.ContactSheet", [red] * 400, cell=4096)


def test_pictures_stand_upright(desk):
    exif = Pillow.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, :8] = 255
    Pillow.fromarray(wide).save(buffer, "JPEG", exif=exif, quality=100, subsampling=0)
    image = desk("Image.FromBlob", desk.blobs.put(buffer.getvalue()))
    assert size(desk, image) == (8, 16)
    upright = np.asarray(load_image(image))
    assert upright[:7].min() > 200
    assert upright[9:].max() < 50


def test_colour_profiles_are_applied(desk):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile, expected in [
        (srgb, (200, 0, 0)),
        (swapped, (0, 200, 0)),
        (lab, (200, 0, 0)),
        (b"no profile", (200, 0, 0)),
    ]:
        image = desk("Image.FromBlob", desk.blobs.put(png(color=(200, 0, 0), icc_profile=profile)))
        np.testing.assert_allclose(load_image(image).getpixel((0, 0)), expected, atol=2)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, ("L", 255)),
        ("L", 7, ("L", 7)),
        ("LA", (7, 9), ("RGBA", (7, 7, 7, 9))),
        ("P", 3, ("RGB", None)),
        ("I;16", 0x7F12, ("L", 0x7F)),
        ("RGBA", (1, 2, 3, 4), ("RGBA", (1, 2, 3, 4))),
    ],
)
def test_modes_become_eight_bits(desk, mode, color, expected):
    pixels = load_image(desk("Image.FromBlob", desk.blobs.put(png(mode, color=color))))
    assert pixels.mode == expected[0]
    assert expected[1] in (None, pixels.getpixel((1, 1)))


def test_results_are_adopted(desk):
    kind = desk.offer.type("Image")
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for value in (grey, np.dstack([grey] * 3), np.dstack([grey] * 4), Pillow.fromarray(grey), png()):
        adopted = kind.adopt(value, desk.blobs)
        assert adopted.media_type == "image/png"
        assert size(desk, adopted) == (4, 3)
    assert kind.adopt(np.dstack([grey] * 3)[::-1], desk.blobs).media_type == "image/png"
    jpeg = io.BytesIO()
    Pillow.fromarray(grey).save(jpeg, "JPEG")
    assert kind.adopt(jpeg.getvalue(), desk.blobs).read() == jpeg.getvalue()
    for wrong, why in [
        (np.zeros((2, 2, 3)), r"float64 and shape \(2, 2, 3\) is no Image: uint8 of shape"),
        (np.zeros((2, 2, 5), np.uint8), r"shape \(2, 2, 5\) is no Image"),
        (np.zeros((0, 2, 3), np.uint8), "2 x 0 pixels"),
        (b"no image", "a result of 8 bytes is no image that can be read"),
        (7, "7 is no Image"),
        (desk.blobs.put(b"text", "text/plain"), "a blob of type text/plain is no Image"),
    ]:
        with pytest.raises(ValueError, match=why):
            kind.adopt(wrong, desk.blobs)


def bomb():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return png()[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png()[33:]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty, 0 bytes"),
        (b"%PDF-1.7 and so on", "no image that can be read: 18 B that begin with b'%PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (PHOTO.read_bytes()[:9000], "broken or cut short: image file is truncated"),
        (png(size=(64, 64))[:-30], "broken or cut short"),
        (bomb(), "decompression bomb: more than 178,956,970 pixels"),
    ],
    ids=["empty", "PDF", "EPS", "cut JPEG", "cut PNG", "bomb"],
)
def test_what_is_no_image_is_refused(desk, content, why):
    blob = desk.blobs.put(content)
    (desk.root / "file.png").write_bytes(content)
    with pytest.raises(ValueError, match=why) as refused:
        desk("Image.FromBlob", blob)
    assert blob.hash[:10] in str(refused.value)
    with pytest.raises(ValueError, match=r"file\.png is"):
        desk("Image.Open", "file.png")


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("Resize", 0, 5), r"0 x 5 pixels: width and height must be at least 1"),
        (("Resize", 100_000, 100_000), "at most 178,956,970 pixels"),
        (("Thumbnail", -3), "box of -3 x -3 pixels"),
        (
            ("Crop", 600, 0, 100, 10),
            r"part at \(600, 0\) of 100 x 10 pixels does not lie within the picture",
        ),
        (("Crop", 0, 0, 0, 1), "a part of 0 x 1"),
        (("Rotate", float("nan")), "degrees must be a finite number"),
        (("Filter", "Blurr"), 'unknown filter "Blurr": there are Blur, Sharpen'),
        (("Brightness", -1.0), "factor must be from 0 to 1000, got -1"),
        (("Text", "x", 0, 0, 1), "size must be from 4"),
    ],
)
def test_wrong_arguments_are_refused_with_their_values(desk, photo, call, why):
    with pytest.raises(ValueError, match=why):
        desk(f"Image.{call[0]}", photo, *call[1:])


def test_difference_needs_one_size(desk, photo):
    assert desk("Image.Difference", photo, photo) == 0.0
    white, black = desk("Image.Color", 2, 2, "#FFFFFF"), desk("Image.Color", 2, 2, "#000000")
    assert desk("Image.Difference", white, black) == 255.0
    with pytest.raises(ValueError, match="640 x 427 and 2 x 2 pixels cannot be compared"):
        desk("Image.Difference", photo, white)


def test_save_writes_whole_files_inside_the_allowed_folder(desk, photo):
    desk("Image.Save", photo, "new/folder/copy.jpg")
    assert (desk.root / "new/folder/copy.jpg").read_bytes() == PHOTO.read_bytes()
    desk("Image.Save", photo, "copy.webp")
    with Pillow.open(desk.root / "copy.webp") as saved:
        assert (saved.format, saved.size) == ("WEBP", (640, 427))
    assert [one.name for one in desk.root.iterdir() if one.name.endswith(".part")] == []
    with pytest.raises(ValueError, match=r'"copy\.doc" does not end like an image file: \.png'):
        desk("Image.Save", photo, "copy.doc")
    with pytest.raises(PermissionError, match="outside the folders"):
        desk("Image.Save", photo, "../copy.png")
    with pytest.raises(PermissionError, match="outside the folders"):
        desk("Image.Open", "/etc/hostname")
    with pytest.raises(FileNotFoundError, match=r'no file ".*absent\.png"'):
        desk("Image.Open", "absent.png")


def test_colours(desk):
    assert load_image(desk("Image.Color", 3, 2, Color(1, 2, 3))).getpixel((2, 1)) == (1, 2, 3)
    over = load_image(desk("Image.Convert", desk("Image.Color", 1, 1, "#00000000"), "BMP"))
    assert over.getpixel((0, 0)) == (255, 255, 255)
