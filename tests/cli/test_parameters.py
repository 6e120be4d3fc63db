"""From words to values."""

from __future__ import annotations

import decimal
import json
from pathlib import Path

import msgspec
import pytest

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.parameters import list_parameters, read_parameters, read_parameters_file, split_arguments
from meshwit.lang.offer import Offer
from meshwit.lang.program import JobParameter
from meshwit.lang.types import ScriptType
from meshwit.plugins.variables import Variables


class Frame(ScriptType):
    name = "Frame"


class Vector(ScriptType):
    name = "Vector"
    element = "Double"


TYPES = Offer((*Variables.types, Frame(), Vector()), (), (), {}).types


def parameter(type: str, name: str = "x", **more) -> JobParameter:
    return JobParameter(name, type, optional="default" in more, default=more.get("default"))


def value_of(type: str, *words: str) -> object:
    return read_parameters(["--x", *words], [parameter(type)], TYPES)["x"]


# --- splitting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--a", "1"], {"a": [["1"]]}),
        (["--a=1"], {"a": [["1"]]}),
        (["--a", "-5", "--b", "-1:-3:-1"], {"a": [["-5"]], "b": [["-1:-3:-1"]]}),
        (["--a", "1", "2", "--a", "3"], {"a": [["1", "2"], ["3"]]}),
        (["--fast", "--b", "x"], {"fast": [[]], "b": [["x"]]}),
        (["--a=--b"], {"a": [["--b"]]}),
        (["--a="], {"a": [[""]]}),
        (["--a=x=y\n"], {"a": [["x=y\n"]]}),
        (["--frame-count", "1"], {"frame_count": [["1"]]}),
        (["--param.json", "1", "--param.out=2"], {"json": [["1"]], "out": [["2"]]}),
        ([], {}),
    ],
)
def test_words_are_split_by_name(words, expected):
    assert split_arguments(words) == expected


@pytest.mark.parametrize("words", [["1:240"], ["--a=1", "2"], ["-x", "3"]])
def test_a_value_without_a_name_is_an_error(words):
    with pytest.raises(CommandError, match="unexpected"):
        split_arguments(words)


# --- one value -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "word", "expected"),
    [
        ("Int", "5", 5),
        ("Int", "-5", -5),
        ("Int", "007", 7),
        ("Int", "1e3", 1000.0),
        ("Int", "many", "many"),
        ("Double", ".5", 0.5),
        ("Double", "-1e-3", -1e-3),
        ("Decimal", "0.10", decimal.Decimal("0.10")),
        ("Bool", "true", True),
        ("Bool", "FALSE", False),
        ("Bool", "perhaps", "perhaps"),
        ("String", "5", "5"),
        ("String", "true", "true"),
        ("String", "1:3", "1:3"),
        ("String", '"quoted"', '"quoted"'),
        ("TimeSpan", "6:12:14", "6:12:14"),
        ("Color", "#336699", "#336699"),
        ("Object", "NULL", None),
        ("Object", '"5"', "5"),
        ("Object", "[1, [2]]", [1, [2]]),
    ],
)
def test_a_value_is_read_by_its_type(type, word, expected):
    found = value_of(type, word)
    assert (found, found.__class__) == (expected, expected.__class__)


def test_a_bool_needs_no_value():
    assert value_of("Bool") is True


@pytest.mark.parametrize("words", [(), ("1", "2"), ("1", "--x", "2")])
def test_a_single_value_is_given_once(words):
    with pytest.raises(CommandError, match=r"parameter `x` \(Int\)"):
        value_of("Int", *words)


def test_a_number_of_absurd_length_is_an_error():
    with pytest.raises(CommandError, match="too many digits"):
        value_of("Int", "9" * 10_000)


# --- collections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "words", "expected"),
    [
        ("IntCollection", ["1:5"], [1, 2, 3, 4, 5]),
        ("IntCollection", ["1:240:100"], [1, 101, 201]),
        ("IntCollection", ["3:1:-1"], [3, 2, 1]),
        ("IntCollection", ["-1:1"], [-1, 0, 1]),
        ("IntCollection", ["4:4"], [4]),
        ("IntCollection", ["1:3,10, 20:22"], [1, 2, 3, 10, 20, 21, 22]),
        ("IntCollection", ["1", "2", "--x", "3"], [1, 2, 3]),
        ("IntCollection", ["[1, 2]", "3"], [1, 2, 3]),
        ("IntCollection", ["[]"], []),
        ("FrameCollection", ["1:3"], [1, 2, 3]),
        ("DoubleCollection", ["0.5,1"], [0.5, 1]),
        ("Array", ["1,a,true"], [1, "a", True]),
        ("Vector", ["1,2.5"], [1, 2.5]),
        ("StringCollection", ["a,1:3"], ["a", "1:3"]),
        ("StringCollection", ["a", "--x", "b"], ["a", "b"]),
        ("StringCollection", ['["a,b"]'], ["a,b"]),
        ("TimeSpanCollection", ["1:00:00,2:00:00"], ["1:00:00", "2:00:00"]),
    ],
)
def test_a_collection_takes_ranges_lists_and_json(type, words, expected):
    assert value_of(type, *words) == expected


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("5:1", "write 5:1:-1 if"),
        ("1:5:0", "step of zero"),
        ("1:99999999999", "at most"),
        ("[1, 2", "no JSON"),
        ("[" * 100_000, "cannot be read|no JSON"),
    ],
)
def test_a_wrong_collection_says_why(word, reason):
    with pytest.raises(CommandError, match=reason):
        value_of("IntCollection", word)


def test_a_collection_needs_a_value():
    with pytest.raises(CommandError, match="missing"):
        value_of("IntCollection")


# --- files -----------------------------------------------------------------------------------------------------


def test_a_blob_is_a_file(tmp_path: Path):
    file = tmp_path / "a,b.bin"
    file.write_bytes(b"x")

    assert value_of("Blob", str(file)) == file
    assert value_of("BlobCollection", str(file), str(file)) == [file, file]
    assert value_of("BlobCollection", json.dumps([str(file)])) == [file]


def test_a_missing_file_is_an_error(tmp_path: Path):
    with pytest.raises(CommandError, match="there is no file"):
        value_of("Blob", str(tmp_path / "nothing"))
    with pytest.raises(CommandError, match="is a folder"):
        value_of("Blob", str(tmp_path))


# --- unknown ones ----------------------------------------------------------------------------------------------

FILM = [parameter("FrameCollection", "frames"), parameter("Int", "width", default=640), parameter("String", "title")]


def test_an_unknown_parameter_is_answered_with_all_there_are():
    with pytest.raises(CommandError) as caught:
        read_parameters(["--widht", "5"], FILM, TYPES)

    assert caught.value.code is ExitCode.USAGE
    assert "no parameter `widht`" in caught.value.message
    assert "did you mean --width?" in caught.value.hint
    assert "--frames  FrameCollection" in caught.value.hint


def test_parameters_are_listed_with_types_and_defaults():
    assert list_parameters(FILM, TYPES) == [
        "--frames  FrameCollection  1:240 or 1,2,3",
        "--width   Int              = 640",
        '--title   String           text in double quotes, "..."',
    ]
    assert list_parameters([], TYPES) == ["it takes no parameters"]


# --- parameter files -------------------------------------------------------------------------------------------


def from_file(path: Path, *parameters: JobParameter) -> dict[str, object]:
    return read_parameters_file(path, parameters, TYPES)


def test_a_json_file_gives_parameters(tmp_path: Path):
    (tmp_path / "scene.bin").write_bytes(b"x")
    file = tmp_path / "params.json"
    file.write_text('{"frames": "1:3", "width": 320, "title": "1:3", "scene": "scene.bin", "sizes": [1, 2]}')

    found = from_file(file, *FILM, parameter("Blob", "scene"), parameter("IntCollection", "sizes"))

    assert found == {
        "frames": [1, 2, 3],
        "width": 320,
        "title": "1:3",
        "scene": tmp_path / "scene.bin",
        "sizes": [1, 2],
    }


def test_a_messagepack_file_gives_parameters(tmp_path: Path):
    file = tmp_path / "params.msgpack"
    file.write_bytes(msgspec.msgpack.encode({"width": 320}))

    assert from_file(file, *FILM) == {"width": 320}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"heigth": 1}', "\x80"])
def test_a_wrong_file_is_an_error(tmp_path: Path, text):
    file = tmp_path / "params.json"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(CommandError):
        from_file(file, *FILM)


def test_a_missing_parameter_file_is_an_error(tmp_path: Path):
    with pytest.raises(CommandError, match="No such file"):
        from_file(tmp_path / "params.json", *FILM)
