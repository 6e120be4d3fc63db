"""What a job leaves behind, as text, JSON and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.results import Results, collect, notes, result_names, results_json, text_lines
from meshwit.cli.run_options import parse_size
from meshwit.lang.offer import Offer
from meshwit.lang.program import Block, CheckedJob, JobParameter
from meshwit.outcome import JobState, Outcome
from meshwit.peer.blobs import BlobStore
from meshwit.plugins.variables import Variables

TYPES = Offer(Variables.types, (), (), {}).types


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def job(*variables: tuple[str, str], parameters: tuple[str, ...] = ()) -> CheckedJob:
    """A job with these variables (name, type) in its outer block."""
    given = tuple(JobParameter(name, "Int", False, None) for name in parameters)
    results = tuple((name, slot, kind) for slot, (name, kind) in enumerate(variables))
    return CheckedJob("J", given, Block(()), len(variables), results)


def ended(state: JobState = JobState.COMPLETED, returned=(), partial=None, **variables) -> Outcome:
    return Outcome(state, variables, list(returned), [], partial=partial or {})


def lines(results: Results) -> list[str]:
    return list(text_lines(results))


def test_variables_stand_in_source_order_without_parameters(tmp_path):
    made = job(("n", "Int"), ("b", "Int"), ("a", "String"), parameters=("n",))

    assert result_names(made) == ["b", "a"]
    assert lines(collect(ended(n=1, a="x", b=2), made, TYPES, tmp_path)) == ["b = 2", 'a = "x"']


def test_texts_are_short_and_on_one_line(tmp_path):
    made = job(("text", "String"), ("many", "IntCollection"), ("matrix", "Object"), ("nothing", "Int"), ("f", "Double"))
    outcome = ended(text="a\nb\x1b" * 1000, many=list(range(1000)), matrix=np.zeros((50, 50)), nothing=None, f=2.0)

    text, many, matrix, nothing, number = lines(collect(outcome, made, TYPES, tmp_path))

    assert max(len(line) for line in (text, many, matrix)) < 250
    assert "\x1b" not in text
    assert many.startswith("many = [0, 1, 2, ")
    assert many.endswith("(1,000 items)")
    assert (nothing, number) == ("nothing = NULL", "f = 2.0")


def test_files_are_named_for_their_variables(tmp_path, store):
    out = tmp_path / "out"
    made = job(("film", "Blob"), ("images", "BlobCollection"), ("count", "Int"))
    image = store.put(b"i", "image/png")

    results = collect(ended(film=store.put(b"f", "video/mp4"), images=[image, None], count=1), made, TYPES, out)

    assert lines(results) == [
        f"film = {out / 'film.mp4'} (video/mp4, 1 B)",
        f"images = {out / 'images'}/ (1 file)",
        "count = 1",
    ]
    record = results_json(results)["variables"]
    assert record["film"]["file"] == str(out / "film.mp4")
    assert record["images"][0] == {
        "file": str(out / "images" / "0000.png"),
        "media_type": "image/png",
        "size": 1,
        "hash": image.hash,
    }
    assert record["images"][1] is None


def test_what_is_returned_is_a_result_too(tmp_path, store):
    film = store.put(b"f", "video/mp4")

    results = collect(ended(returned=[film]), job(), TYPES, tmp_path / "out")

    assert lines(results) == [f"returned = {tmp_path / 'out' / 'returned.mp4'} (video/mp4, 1 B)"]
    assert [one["media_type"] for one in results_json(results)["returned"]] == ["video/mp4"]


def test_a_returned_variable_is_not_written_twice(tmp_path, store):
    film = store.put(b"f", "video/mp4")

    results = collect(ended(returned=[film], film=film), job(("film", "Blob")), TYPES, tmp_path / "out")

    assert [one.name for one in (tmp_path / "out").iterdir()] == ["film.mp4"]
    assert all(line.split(" = ")[1].startswith(str(tmp_path / "out" / "film.mp4")) for line in lines(results))


def test_files_among_other_values_are_told_beside_them(tmp_path, store):
    image = store.put(b"i", "image/png")

    results = collect(ended(returned=[3, "a", [image, image]]), job(), TYPES, tmp_path)

    folder = tmp_path / "returned"
    assert lines(results) == [f'returned = [3, "a", [<image/png>, <image/png>]] in {folder}/ (2 files)']
    assert sorted(one.name for one in folder.iterdir()) == ["0002-0000.png", "0002-0001.png"]


def test_only_some_results(tmp_path, store):
    made = job(("a", "Blob"), ("b", "Blob"))
    blob = store.put(b"f", "text/plain")

    collect(ended(a=blob, b=blob, returned=[blob]), made, TYPES, tmp_path / "out", only=["b"])

    assert [one.name for one in (tmp_path / "out").iterdir()] == ["b.txt"]


def test_partial_results_are_kept(tmp_path, store):
    partial = {"images": {3: store.put(b"i", "image/png")}, "line 7": {0: 1.5, 2: float("nan")}}
    outcome = ended(JobState.FAILED, partial=partial, images=None)

    results = collect(outcome, job(("images", "BlobCollection")), TYPES, tmp_path)

    assert lines(results) == []
    assert (tmp_path / "images.partial" / "0003.png").read_bytes() == b"i"
    items = json.loads((tmp_path / "images.partial" / "items.json").read_text())
    assert items["3"]["file"] == str(tmp_path / "images.partial" / "0003.png")
    assert json.loads((tmp_path / "line-7.partial" / "items.json").read_text()) == {"0": 1.5, "2": "NaN"}
    assert f"2 finished items of a step that did not end: {tmp_path / 'line-7.partial'}/" in list(notes(results))


def test_what_cannot_be_written_is_told_and_stops_nothing(tmp_path, store):
    (tmp_path / "a.txt").mkdir()
    (tmp_path / "a.txt" / "keep").touch()
    (tmp_path / "c.partial").touch()
    blob = store.put(b"f", "text/plain")
    outcome = ended(JobState.FAILED, a=blob, b=blob, partial={"c": {0: 1}})

    results = collect(outcome, job(("a", "Blob"), ("b", "Blob")), TYPES, tmp_path)

    assert len(results.errors) == 2
    assert (tmp_path / "b.txt").read_bytes() == b"f"
    assert lines(results)[0] == "a = (not written)"
    assert results_json(results)["variables"]["a"]["file"] is None


def test_files_of_an_earlier_run_are_pointed_out(tmp_path, store):
    made = job(("images", "BlobCollection"))
    image = store.put(b"i", "image/png")
    collect(ended(images=[image] * 3), made, TYPES, tmp_path)

    results = collect(ended(images=[image]), made, TYPES, tmp_path)

    assert list(notes(results)) == [f"{tmp_path / 'images'}/ also holds 2 files that are not of this run"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("512 MB", 512_000_000), ("1.5g", 1_500_000_000), ("1000", 1000), ("64Ki", 65536), ("5b", 5)],
)
def test_sizes(text, size):
    assert parse_size(text, "--memory-limit") == size


@pytest.mark.parametrize("text", ["", "much", "-1", "0", "1 PB", "1e9", "2GiBs", "nan", "9" * 19, "9" * 400])
def test_wrong_sizes(text):
    with pytest.raises(CommandError, match="is no size"):
        parse_size(text, "--memory-limit")


def test_a_result_too_large_for_a_text_is_shown_by_its_beginning(tmp_path):
    made = job(("texts", "Array"), ("number", "Object"))
    long, number = lines(collect(ended(texts=["x" * 1_000_000] * 6, number=10**4999), made, TYPES, tmp_path))

    assert long.startswith('texts = ["xxxx')
    assert len(long) < 250
    assert number == "number = a number of about 5000 digits"


def test_results_that_are_endless_when_written_out(tmp_path, store):
    wide, deep, files = [1], [1], [store.put(b"x", "text/plain")]
    for _ in range(60):
        wide = [wide, wide]
        files = [files, files]
    for _ in range(5000):
        deep = [deep]
    made = job(("wide", "Array"), ("deep", "Array"), ("files", "Array"))
    results = collect(ended(wide=wide, deep=deep), made, TYPES, tmp_path)

    assert [len(line) < 250 for line in lines(results)] == [True, True]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meshwit.cli.json_values.VALUES_MAX", 1000)
        patch.setattr("meshwit.cli.result_files.FILES_MAX", 100)
        assert results_json(results)["variables"] == {
            "wide": {"omitted": "more than 1000 values"},
            "deep": {"omitted": "nested deeper than 100"},
        }
        many = collect(ended(files=files), made, TYPES, tmp_path)
    assert many.errors == ["`files` holds more than 100 files: none was written"]
    assert lines(many)[0].startswith("files = ")
