"""The examples run on real input and give what they promise."""

import collections
import os
import re
from pathlib import Path

import pytest

from tests.examples.running import EXAMPLES, run_example


def test_the_film_is_a_film(tmp_path: Path) -> None:
    """As many frames as asked for, of the size asked for, playable, and not all the same picture."""
    pytest.importorskip("mitsuba")
    av = pytest.importorskip("av")
    outcome = run_example("film", tmp_path, "--frames", "6", "--width", "96", "--height", "54", "--samples", "2")
    assert outcome["state"] == "completed"
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].codec_context.name == "h264"
    assert [frame.shape for frame in frames] == [(54, 96, 3)] * 6
    assert abs(frames[0].astype(int) - frames[3].astype(int)).mean() > 1
    assert len(list((tmp_path / "images").glob("*.png"))) == 6


def test_the_contact_sheet_shows_every_photo(tmp_path: Path) -> None:
    """Real photographs, one that is none among them: its place stays empty, the others are there."""
    image = pytest.importorskip("PIL.Image")
    skimage = pytest.importorskip("skimage")
    shipped = Path(skimage.__file__).parent / "data"
    photos = tmp_path / "photos"
    photos.mkdir()
    names = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]
    for name in names:
        (photos / name).write_bytes((shipped / name).read_bytes())
    (photos / "broken.jpg").write_bytes(b"no picture at all")
    outcome = run_example(
        "contact_sheet", tmp_path, "--root", str(photos), "--pattern", "*", "--columns", "3", "--cell", "64"
    )
    thumbnails = outcome["variables"]["thumbnails"]
    assert [one is None for one in thumbnails] == [name == "broken.jpg" for name in sorted([*names, "broken.jpg"])]
    with image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 3 * 64
        assert sheet.height > 2 * 64
        assert len(sheet.convert("RGB").getcolors(maxcolors=1 << 24)) > 1000


def test_the_sparse_product_is_that_of_scipy(tmp_path: Path) -> None:
    """Rows multiplied one by one on the workers give what scipy gives in one piece."""
    pytest.importorskip("scipy")
    meshwit = pytest.importorskip("meshwit")
    outcome = meshwit.run(EXAMPLES / "sparse_product.wit", size=120, density=0.05)
    assert outcome.state == "completed", str(outcome.error)
    variables = outcome.variables
    expected = variables["a"].csr @ variables["b"].csr
    assert abs(variables["product"].csr - expected).max() < 1e-9
    assert variables["product"].csr.nnz == expected.nnz > 0


def test_the_words_are_counted(tmp_path: Path) -> None:
    """Over the sources of the standard library's email package, against a plain count in Python."""
    folder = Path(os.__file__).parent / "email"
    outcome = run_example("words", tmp_path, "--root", str(folder), "--pattern", "*.py", "--top", "25")
    counts: collections.Counter[str] = collections.Counter()
    for path in folder.glob("*.py"):
        counts.update(re.findall(r"[^\W_]+(?:['’][^\W_]+)*", path.read_text(encoding="utf-8").casefold()))
    found = [tuple(entry) for entry in outcome["variables"]["frequencies"]]
    assert len(found) == 25
    assert found[0][1] > 500
    for word, count in found:
        if word.isalpha():
            assert abs(counts[word] - count) <= 0.02 * count
