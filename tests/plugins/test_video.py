"""Video activities: films of real pictures that decode to those pictures, the same bytes every time."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")

import av
from calling import Desk, photo_file

from meshwit.plugins.image import load_image
from meshwit.plugins.image.controller import Images
from meshwit.plugins.video import encoding
from meshwit.plugins.video.controller import Videos
from meshwit.plugins.video.encoding import encode_film

PHOTO = photo_file("flower.jpg")
COUNT, WIDTH, HEIGHT = 13, 96, 64


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return Desk(tmp_path_factory.mktemp("device"), Images(), Videos())


@pytest.fixture(scope="module")
def pictures(desk):
    photo = desk("Image.Resize", desk("Image.FromBlob", desk.blobs.put(PHOTO.read_bytes())), 320)
    return [desk("Image.Crop", photo, 12 * i, 8 * i, WIDTH, HEIGHT) for i in range(COUNT)]


@pytest.fixture(scope="module")
def film(desk, pictures):
    return desk("Video.Compose", pictures, crf=10)


def test_a_film_is_what_players_expect(desk, film):
    assert film.media_type == "video/mp4"
    info = desk("Video.Probe", film)
    assert (info.width, info.height, info.frames, info.fps, info.codec) == (WIDTH, HEIGHT, COUNT, 24.0, "h264")
    assert info.duration_seconds == pytest.approx(COUNT / 24, abs=1e-3)
    assert desk.member("VideoInfo", info, "DurationSeconds") == info.duration_seconds
    with av.open(str(film.path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.colorspace, context.color_range) == ("yuv420p", 1, 1)
    data = film.read()
    assert data.index(b"moov") < data.index(b"mdat"), "it must start to play before it is loaded whole"
    assert b"Lavf" not in data


def test_frames_come_back_in_order(desk, film, pictures):
    frames = desk("Video.ExtractFrames", film)
    assert len(frames) == COUNT
    for number, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        assert desk("Image.Difference", frame, picture) < 6, number
    assert desk("Video.ExtractFrames", film, 2, 11, 4) == frames[2:11:4]
    assert desk("Video.ExtractFrames", film, start=COUNT) == []
    for index in (0, 1, COUNT - 1):
        assert desk("Video.ExtractFrame", film, index) == frames[index]


def test_the_same_pictures_give_the_same_bytes(desk, film, pictures):
    assert desk("Video.Compose", pictures, crf=10) == film
    assert desk("Video.Compose", pictures, crf=40).size < film.size


def test_the_same_bytes_whatever_lay_in_memory_before(tmp_path):
    """The encoder looks ahead over many frames, and what it notes of them must rest on nothing but them."""
    photo = load_image(PHOTO)
    frames = [photo.crop((step, step // 2, step + 160, step // 2 + 96)).convert("RGB") for step in range(0, 96, 2)]
    made = set()
    for turn in range(12):
        encode_film(
            ((str(number), each) for number, each in enumerate(frames)), tmp_path / "film.mp4", Fraction(24), 18
        )
        made.add((tmp_path / "film.mp4").read_bytes())
        larger = photo.crop((0, 0, 200 + 32 * turn, 160))
        encode_film((("", larger) for _ in range(4)), tmp_path / "other.mp4", Fraction(24), 18)
    assert len(made) == 1


def test_odd_sides_are_made_even_by_repeating_the_last_row_and_column(desk):
    info = desk("Video.Probe", desk("Video.Compose", [desk("Image.Color", 7, 5, "#FF0000")] * 2))
    assert (info.width, info.height) == (8, 6)
    corner = load_image(desk("Video.ExtractFrame", desk("Video.Compose", [desk("Image.Color", 7, 5, "#FF0000")]), 0))
    np.testing.assert_allclose(corner.getpixel((7, 5)), (255, 0, 0), atol=6)


def test_scaled(desk, pictures):
    for given, expected in [
        ({"width": 48}, (48, 32)),
        ({"height": 128}, (192, 128)),
        ({"width": 50, "height": 20}, (50, 20)),
    ]:
        info = desk("Video.Probe", desk("Video.Compose", pictures[:2], **given))
        assert (info.width, info.height) == expected


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(25.0, (25, 1)), (23.976, (24000, 1001)), (29.97, (30000, 1001)), (12.5, (25, 2)), (0.5, (1, 2))],
)
def test_speeds(fps, expected):
    assert encoding.checked_fps(fps).as_integer_ratio() == expected


def test_transparent_pictures_stand_on_black(desk):
    film = desk("Video.Compose", [desk("Image.Color", 16, 16, "#00FFFFFF")])
    assert max(load_image(desk("Video.ExtractFrame", film, 0)).getpixel((8, 8))) < 5


def test_pictures_of_another_size_are_named(desk, pictures):
    with pytest.raises(ValueError, match=r"images\[1\] has 5 x 5 pixels, the first has 96 x 64: all"):
        desk("Video.Compose", [pictures[0], desk("Image.Color", 5, 5, "#000000")])


def test_missing_pictures(desk, pictures):
    given = [None, pictures[0], None, pictures[5]]
    with pytest.raises(ValueError, match=r"2 of 4 pictures are NULL \(images\[0\], images\[2\]\): render"):
        desk("Video.Compose", given)
    held = desk("Video.ExtractFrames", desk("Video.Compose", given, missing="Hold"))
    assert [desk("Image.Difference", held[i], pictures[k]) < 9 for i, k in enumerate((0, 0, 0, 5))] == [True] * 4
    assert desk("Video.Probe", desk("Video.Compose", given, missing="Skip")).frames == 2
    with pytest.raises(ValueError, match='unknown value "Guess" of missing: there are Fail, Hold, Skip'):
        desk("Video.Compose", given, missing="Guess")
    with pytest.raises(ValueError, match="film of no pictures"):
        desk("Video.Compose", [None], missing="Skip")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"fps": 0.0}, "fps must be from 0.01 to 1000 frames per second, got 0"),
        ({"fps": float("nan")}, "got nan"),
        ({"crf": 52}, r"crf must be from 0 \(best\) to 51 \(smallest\), got 52"),
        ({"width": 0}, "a film of 0 x 1 pixels"),
        ({"width": 40_000}, "a film of 40000 x 26667 pixels: at most"),
    ],
)
def test_wrong_numbers_are_refused(desk, pictures, given, why):
    with pytest.raises(ValueError, match=why):
        desk("Video.Compose", pictures[:1], **given)
    with pytest.raises(ValueError, match="film of no pictures"):
        desk("Video.Compose", [])


def test_frame_numbers_beyond_the_film(desk, film):
    for index in (-1, COUNT):
        with pytest.raises(ValueError, match=rf"has the frames 0 to {COUNT - 1}, there is no frame {index}"):
            desk("Video.ExtractFrame", film, index)
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        desk("Video.ExtractFrames", film, step=0)


def test_concatenate_joins_without_loss(desk, film, pictures):
    whole = desk("Video.Concatenate", [film, film])
    frames = desk("Video.ExtractFrames", film)
    assert desk("Video.ExtractFrames", whole) == frames + frames
    assert desk("Video.Probe", whole).duration_seconds == pytest.approx(2 * COUNT / 24, abs=1e-3)
    slow = desk("Video.Compose", pictures[:3], fps=12)
    encoded = desk("Video.Probe", desk("Video.Concatenate", [slow, film]))
    assert (encoded.frames, encoded.fps) == (3 + COUNT, 12.0)
    small = desk("Video.Compose", [desk("Image.Color", 8, 8, "#000000")])
    with pytest.raises(ValueError, match=r"videos\[1\] has 8 x 8 pixels, the first has 96 x 64"):
        desk("Video.Concatenate", [film, small])
    with pytest.raises(ValueError, match=r"videos\[1\] is NULL"):
        desk("Video.Concatenate", [film, None])
    with pytest.raises(ValueError, match="there are none"):
        desk("Video.Concatenate", [])


def test_phones_note_a_rotation(desk, film):
    data = bytearray(film.read())
    at = data.index(b"tkhd") + 44
    upright = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    assert data[at : at + 36] == b"".join(number.to_bytes(4, "big") for number in upright)
    turned = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in turned)
    video = desk("Video.FromBlob", desk.blobs.put(bytes(data)))
    assert desk("Video.Probe", video).width == HEIGHT
    clockwise = desk("Image.Rotate", desk("Video.ExtractFrame", film, 3), -90)
    assert desk("Image.Difference", desk("Video.ExtractFrame", video, 3), clockwise) == 0


def test_what_is_no_video_is_refused(desk, film, tmp_path):
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    for content, why in [
        (b"", "no video that can be read"),
        (b"%PDF-1.7", "no video that can be read"),
        (playlist, "no video that can be read"),
        (PHOTO.read_bytes(), "no video that can be read"),
        (film.read()[:700], "no video that can be read"),
        (sound.read_bytes(), "has no pictures: its tracks are audio"),
    ]:
        blob = desk.blobs.put(content)
        with pytest.raises(ValueError, match=why) as refused:
            desk("Video.FromBlob", blob)
        assert blob.hash[:10] in str(refused.value)


def test_files(desk, film):
    desk("Video.Save", film, "films/flower.mp4")
    assert desk("Video.Open", "films/flower.mp4") == film
    with pytest.raises(ValueError, match=r'"flower\.webm" does not end like a file of type video/mp4: \.mp4'):
        desk("Video.Save", film, "flower.webm")
    with pytest.raises(PermissionError, match="outside the folders"):
        desk("Video.Open", "/etc/hostname")
    kind = desk.offer.type("Video")
    assert kind.adopt(film.read(), desk.blobs) == film
    with pytest.raises(ValueError, match="a blob of type image/png is no Video"):
        kind.adopt(desk("Image.Color", 2, 2, "#000000"), desk.blobs)


def test_without_x264_another_encoder_is_used_and_says_so(desk, pictures, monkeypatch, capfd):
    monkeypatch.setattr(encoding, "_ENCODERS", ("libsomething", "mpeg4"))
    other = desk("Video.Compose", pictures[:3])
    assert "no libx264, so mpeg4 is used" in capfd.readouterr().err
    assert desk("Video.Probe", other).codec == "mpeg4"
    assert desk("Image.Difference", desk("Video.ExtractFrame", other, 0), pictures[0]) < 12
    monkeypatch.setattr(encoding, "_ENCODERS", ("libsomething",))
    with pytest.raises(RuntimeError, match="has none of the encoders libsomething"):
        desk("Video.Compose", pictures[:1])
