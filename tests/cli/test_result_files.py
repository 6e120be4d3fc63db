"""Results that are files, and values as JSON."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import stat
import uuid
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import sparse

from meshwit.blob import Blob
from meshwit.cli.json_values import json_value
from meshwit.cli.result_files import write_result
from meshwit.cli.sources import write_whole
from meshwit.peer.blobs import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def names(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


class Framed(msgspec.Struct, frozen=True):
    number: int
    image: Blob


def test_a_blob_is_a_file_of_its_kind(store, out):
    written = write_result("result", store.put(b"film", "video/mp4"), out)

    assert (out / "result.mp4").read_bytes() == b"film"
    assert (written.folder, written.written, written.errors) == (None, 1, [])


def test_a_collection_is_a_folder_and_gaps_stay_gaps(store, out):
    images = [store.put(b"a", "image/png"), None, store.put(b"c", "image/jpeg")]

    written = write_result("images", images, out)

    assert names(out) == ["images/0000.png", "images/0002.jpg"]
    assert (written.folder, written.written, written.older) == (out / "images", 2, 0)


def test_equal_items_are_a_file_each(store, out):
    image = store.put(b"a", "image/png")

    assert write_result("images", [image, image], out).written == 2
    assert names(out) == ["images/0000.png", "images/0001.png"]


def test_blobs_inside_tuples_and_records_are_found(store, out):
    first, second = store.put(b"a", "image/png"), store.put(b"b", "image/png")

    write_result("parts", [(7, first), Framed(8, second)], out)

    assert names(out) == ["parts/0000-0001.png", "parts/0001-image.png"]


@pytest.mark.parametrize("value", [None, 3, "text", [1, 2], [], {"a": 1}, np.zeros(3)])
def test_what_holds_no_blob_is_no_file(value, out):
    assert write_result("x", value, out) is None
    assert not out.exists()


def test_a_result_replaces_the_one_before(store, out):
    write_result("result", store.put(b"old", "image/png"), out)
    write_result("result", store.put(b"new", "image/png"), out)

    assert names(out) == ["result.png"]
    assert (out / "result.png").read_bytes() == b"new"


def test_files_of_an_earlier_run_are_counted_and_left(store, out):
    image = store.put(b"a", "image/png")
    write_result("images", [image] * 3, out)

    assert write_result("images", [image], out).older == 2
    assert len(names(out)) == 3


def test_what_cannot_be_written_stops_nothing_else(store, out):
    (out / "images" / "0001.png").mkdir(parents=True)
    (out / "images" / "0001.png" / "keep").touch()

    written = write_result("images", [store.put(text, "image/png") for text in (b"a", b"b", b"c")], out)

    assert written.written == 2
    assert len(written.errors) == 1
    assert "0001.png" in written.errors[0]
    assert names(out / "images") == ["0000.png", "0001.png/keep", "0002.png"]


def test_the_same_failure_of_many_files_is_one_line(store, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")

    written = write_result("images", [store.put(text, "image/png") for text in (b"a", b"b", b"c")], tmp_path / "out")

    assert written.written == 0
    assert len(written.errors) == 1
    assert "nor 2 more of 3 files" in written.errors[0]


def test_a_file_is_whole_or_untouched(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def half():
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(path, half())
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX")
def test_a_rewritten_file_keeps_its_permissions_and_its_link(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)

    write_whole(link, [b"after"])

    assert link.is_symlink()
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- as JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**63, 2**63),
        (1.5, 1.5),
        (float("inf"), "Infinity"),
        ((1, [2, "a"]), [1, [2, "a"]]),
        ({3: "x"}, {"3": "x"}),
        (decimal.Decimal("0.10"), "0.10"),
        (datetime.timedelta(hours=6, minutes=12), "06:12:00"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (np.float64(2.5), 2.5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([np.nan]), ["NaN"]),
        (
            sparse.csr_array(([5.0], ([1], [2])), shape=(2, 3)),
            {"shape": [2, 3], "rows": [1], "columns": [2], "values": [5.0]},
        ),
    ],
)
def test_values_as_json(value, expected):
    found = json_value(value, str)

    assert found == expected
    json.dumps(found, allow_nan=False)


def test_a_huge_array_is_only_described():
    found = json_value(np.zeros((2000, 1000)), str)

    assert found["shape"] == [2000, 1000]
    assert "omitted" in found


def test_records_and_blobs_as_json(store):
    blob = store.put(b"a", "image/png")

    assert json_value(Framed(3, blob), lambda one: one.media_type) == {"number": 3, "image": "image/png"}
