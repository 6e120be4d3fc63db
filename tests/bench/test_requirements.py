"""Requirement expressions: reading, deciding, and saying in words what is missing."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshwit.bench.requirements import (
    DEPTH_MAX,
    LENGTH_MAX,
    NOTHING,
    Compare,
    Every,
    Has,
    Not,
    Number,
    Size,
    Some,
    Text,
    Truth,
    all_of,
    is_name,
    parse_requirement,
)
from meshwit.bench.sizes import exact_size, parse_size, rough_size

GIB = 2**30

WORKSTATION = {
    "os": "linux",
    "os.version": "6.5.0-41-generic",
    "cpu.cores": 16,
    "memory": 64 * GIB,
    "python": "3.11.7",
    "gpu": True,
    "gpu.cuda": "12.4",
    "gpu.memory": 24 * GIB,
    "gpu.name": "NVIDIA L4",
    "site": "berlin",
    "load": 0.5,
    "scratch": "500 GB",
    "rank": "3",
    "fast": "true",
    "spare": "false",
}
PHONE = {"os": "android", "cpu.cores": 4, "memory": 4 * GIB, "gpu": False, "battery": True}


def met(text: str, capabilities: dict[str, object] = WORKSTATION) -> bool:
    return parse_requirement(text).met_by(capabilities)


# --- reading ---------------------------------------------------------------------------------------------------


def test_an_empty_text_requires_nothing():
    for text in ("", "  \n"):
        assert parse_requirement(text) == NOTHING
    assert NOTHING.met_by({})
    assert NOTHING.lacks({}) == []
    assert str(NOTHING) == ""


def test_and_binds_tighter_than_or_and_not_tighter_than_and():
    a, b, c = Has("a"), Has("b"), Has("c")
    assert parse_requirement("a or b and c") == Some((a, Every((b, c))))
    assert parse_requirement("(a or b) and c") == Every((Some((a, b)), c))
    assert parse_requirement("not a and b") == Every((Not(a), b))
    assert parse_requirement("not (a and b)") == Not(Every((a, b)))
    assert parse_requirement("not a == 1") == Not(Compare("a", "==", Number("1")))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8GiB", Size(8 * GIB)),
        ("8 gib", Size(8 * GIB)),
        ("1.5GiB", Size(3 * GIB // 2)),
        ("500MB", Size(500_000_000)),
        ("3", Number("3")),
        ("3.10", Number("3.10")),
        ("3.11.2", Number("3.11.2")),
        ("'berlin'", Text("berlin")),
        ('"it\'s"', Text("it's")),
        ("true", Truth(True)),
    ],
)
def test_values(text, value):
    assert parse_requirement(f"a.b-c.0 >= {text}") == Compare("a.b-c.0", ">=", value)


def test_the_value_may_stand_first():
    assert parse_requirement("8GiB <= memory") == parse_requirement("memory >= 8GiB")
    assert parse_requirement("8GiB > memory") == parse_requirement("memory < 8GiB")
    assert parse_requirement("'x' == site") == parse_requirement("site == 'x'")


def test_what_is_said_twice_is_said_once():
    assert parse_requirement("a and (b and a)") == Every((Has("a"), Has("b")))
    assert parse_requirement("a or a") == Has("a")
    assert all_of([NOTHING, Has("a"), Every((Has("a"), Has("b")))]) == Every((Has("a"), Has("b")))
    assert all_of([]) == NOTHING


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("memory >= and", 11, 'expected a value (a number, a size such as 8GiB, or a text in quotes), found "and"'),
        ("memory >=", 10, "but it ends there"),
        ("os == linux", 7, "write 'linux' if that is the text meant"),
        ("memory >= 8GiBs", 11, "expected a number, or a size such as 8GiB or 500MB"),
        ("memory >= 1.2.3GB", 11, "expected a number, or a size"),
        ("a = 1", 3, "expected ==, found ="),
        ("a b", 3, 'expected `and`, `or` or the end, found "b"'),
        ("a and", 6, "expected what is required"),
        ("and a", 1, "expected what is required"),
        ("()", 2, "expected what is required"),
        ("(a", 3, 'expected `and`, `or` or ")"'),
        ("a)", 2, "or the end"),
        ("5", 2, "expected a comparison"),
        ("5 < 6", 5, "expected the name of what to compare"),
        ("1 < x < 3", 7, "or the end"),
        ("site == 'ber", 9, "the text that begins there never ends"),
        ("a & b", 3, 'found "&"'),
        ("a\x00", 2, 'found "?"'),
        ("(" * (DEPTH_MAX + 1) + "a", DEPTH_MAX + 1, f"nested more than {DEPTH_MAX} deep"),
        ("not " * (DEPTH_MAX + 1) + "a", 4 * DEPTH_MAX + 1, f"nested more than {DEPTH_MAX} deep"),
    ],
)
def test_faults_tell_where_and_what_was_expected(text, position, words):
    with pytest.raises(ValueError, match="is no requirement") as caught:
        parse_requirement(text)
    assert f"at character {position}," in str(caught.value)
    assert words in str(caught.value)


def test_limits():
    deep = "(" * DEPTH_MAX + "a" + ")" * DEPTH_MAX
    assert parse_requirement(deep) == Has("a")
    assert parse_requirement("a" * LENGTH_MAX) == Has("a" * LENGTH_MAX)
    with pytest.raises(ValueError, match="at most 2,000 characters"):
        parse_requirement("a" * (LENGTH_MAX + 1))
    with pytest.raises(ValueError, match="written out"):
        parse_requirement(" and ".join(f"a{number}<1" for number in range(185)))


def test_names():
    assert all(map(is_name, ("site", "gpu.0.memory", "has-ssd", "größe", "_x")))
    assert not any(map(is_name, ("", "and", "true", "2fast", "a b", "a.", ".a", "a..b", "a'b")))


# --- deciding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "gpu.cuda and memory >= 8GiB and site == 'berlin'",
        "memory >= 68719476736",
        "memory == 64GiB",
        "cpu.cores > 15.5",
        "load < 1 and load != 0.6",
        "python >= 3.11 and python < 3.12",
        "python >= 3.9",
        "python == 3.11 and python <= 3.11 and not python > 3.11",
        "python >= 3.11.7 and not python >= 3.11.8",
        "python > '3.9'",
        "os.version >= 6.5 and os.version < 6.10",
        "gpu.cuda >= 12 and gpu.cuda <= 12.4.0",
        "scratch >= 100GiB",
        "rank >= 2.5",
        "gpu == true and fast == true and spare == false",
        "fast and not spare",
        "nowhere or site != 'paris'",
        "not nowhere",
        "not nowhere == 3",
    ],
)
def test_met(text):
    requirement = parse_requirement(text)
    assert requirement.met_by(WORKSTATION)
    assert requirement.lacks(WORKSTATION) == []


@pytest.mark.parametrize(
    "text",
    [
        "nowhere",
        "nowhere == 3",
        "nowhere != 3",
        "site == 3",
        "site != 3",
        "site < 'c'",
        "memory >= '8GiB'",
        "cpu.cores >= 1.2.3",
        "gpu == 1",
        "gpu >= true",
        "site == true",
        "site == 'Berlin'",
        "site > 1GiB",
        "spare",
        "python > 3.11",
        "python == '3.11'",
        "not gpu",
    ],
)
def test_not_met(text):
    requirement = parse_requirement(text)
    assert not requirement.met_by(WORKSTATION)
    assert len(requirement.lacks(WORKSTATION)) == 1


def test_what_counts_as_having():
    given = {"a": 0, "b": "", "c": "no", "d": None, "e": [], "f": object(), "g": "0", "h": "False"}
    assert not any(met(name, given) for name in given)
    assert all(met(name, {name: value}) for name, value in zip("abcde", (1, "x", 0.5, ["x"], True), strict=True))


# --- in words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memory >= 8GiB", ["memory >= 8 GiB: this device has 4.0 GiB"]),
        ("gpu.cuda", ["gpu.cuda: none"]),
        ("gpu", ["gpu: none"]),
        ("gpu and cpu.cores >= 4 and os == 'linux'", ["gpu: none", "os == 'linux': this device has 'android'"]),
        ("gpu.memory >= 8GiB", ["gpu.memory >= 8 GiB: this device has none"]),
        ("not battery", ["not battery: this device has it"]),
        ("not os == 'android'", ["not os == 'android': this device has 'android'"]),
        ("gpu == true", ["gpu == true: this device has false"]),
        ("cpu.cores >= 8", ["cpu.cores >= 8: this device has 4"]),
        (
            "gpu and arch or memory >= 8GiB",
            ["gpu: none and arch: none, or else memory >= 8 GiB: this device has 4.0 GiB"],
        ),
    ],
)
def test_what_is_missing(text, words):
    assert parse_requirement(text).lacks(PHONE) == words


def test_sizes_are_told_apart():
    wanted = parse_requirement("memory >= 8GiB")
    assert wanted.lacks({"memory": 8 * GIB - 2**23}) == ["memory >= 8 GiB: this device has 7.99 GiB"]
    assert wanted.lacks({"memory": 8 * GIB - 1}) == [f"memory >= 8 GiB: this device has {8 * GIB - 1} B"]
    assert parse_requirement("memory != 8GiB").lacks({"memory": 8 * GIB}) == [
        "memory != 8 GiB: this device has 8.0 GiB"
    ]


def test_words_hold_no_control_characters_and_no_endless_text():
    (words,) = parse_requirement("a == 'b'").lacks({"a": "\x1b[31m" + "x" * 1000})
    assert words.isprintable()
    assert len(words) < 120


# --- properties ------------------------------------------------------------------------------------------------

names = st.from_regex(r"[a-z_][a-z0-9_-]{0,5}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True).filter(is_name)
texts = st.text(max_size=8).map(lambda text: Text(text.replace("'", "")))
values = st.one_of(
    texts,
    st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3}){0,3}", fullmatch=True).map(Number),
    st.integers(0, 2**60).map(Size),
    st.booleans().map(Truth),
)
conditions = st.one_of(
    names.map(Has), st.builds(Compare, names, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), values)
)
requirements = st.recursive(
    conditions,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda parts: parse_requirement(" and ".join(f"({p})" for p in parts))
        ),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda parts: parse_requirement(" or ".join(f"({p})" for p in parts))
        ),
    ),
    max_leaves=8,
)
words = st.one_of(
    st.sampled_from(["and", "or", "not", "(", ")", "==", ">=", "memory", "8GiB", "8 ", "'a'", "'", '"', "3.11", " "]),
    st.text(string.printable, max_size=3),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.builds(object)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=5,
)


@given(st.one_of(st.text(), st.lists(words).map(" ".join), st.lists(words).map("".join)))
def test_any_text_is_a_requirement_or_a_value_error(text):
    try:
        found = parse_requirement(text)
    except ValueError as reason:
        assert str(reason)  # noqa: PT017 - or it is one, both are well
        return
    assert parse_requirement(str(found)) == found


@given(requirements)
def test_its_text_reads_back_equal(requirement):
    assert parse_requirement(str(requirement)) == requirement


@given(requirements, st.data())
@example(Compare("a", ">=", Number("9" * 1999)), None)
def test_no_capability_raises_and_lacks_agrees_with_met_by(requirement, data):
    capabilities = {"a": 10**5000} if data is None else data.draw(st.dictionaries(names, anything))
    met_by = requirement.met_by(capabilities)
    assert (requirement.lacks(capabilities) == []) == met_by
    assert Not(requirement).met_by(capabilities) == (not met_by)


@given(values, anything)
@example(Size(1), 10**5000)
@example(Number("1"), "9" * 5000)
@example(Number("1"), float("nan"))
@example(Size(1), "9" * 5000 + "GiB")
def test_any_value_can_be_compared_and_described(value, capability):
    for symbol in ("==", "<"):
        requirement = Compare("a", symbol, value)
        assert (requirement.lacks({"a": capability}) == []) == requirement.met_by({"a": capability})


@given(st.integers(0, 2**70))
def test_an_exact_size_reads_back(size):
    assert parse_size(exact_size(size)) == size


@pytest.mark.parametrize(("text", "size"), [("2GiB", 2**31), ("500 MB", 500_000_000), ("1000", 1000), ("1.5kib", 1536)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1 PB", "1e9", "2GiBs", "1.2.3", "9" * 200])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_rough_sizes():
    assert [rough_size(size) for size in (12, 4 * GIB, 2**20, 3 * 2**40)] == ["12 B", "4.0 GiB", "1.0 MiB", "3.0 TiB"]
