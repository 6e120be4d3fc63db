"""What a device of several lacks, in words that follow its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.bench.requirements import parse_requirement
from meshwit.bench.shortfalls import shortfalls

GIB = 2**30
PHONE = {"os": "android", "cpu.cores": 4, "memory": 4 * GIB, "gpu": False, "battery": True, "python": "3.10.2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memory >= 8GiB", ["has memory 4.0 GiB, 8 GiB are required"]),
        ("memory < 4GiB", ["has memory 4.0 GiB, less than 4 GiB are required"]),
        ("cpu.cores > 4", ["has cpu.cores 4, more than 4 are required"]),
        ("python >= 3.11", ["has python '3.10.2', 3.11 is required"]),
        ("gpu.cuda", ["lacks gpu.cuda"]),
        ("gpu", ["lacks gpu"]),
        ("gpu == true", ["has gpu false, true is required"]),
        ("site == 'berlin'", ["lacks site, 'berlin' is required"]),
        ("os != 'android'", ["has os 'android', anything but 'android' is required"]),
        ("not battery", ["has battery, which is not wanted"]),
        ("not os == 'android'", ["has os 'android', os == 'android' is not wanted"]),
        ("not (battery and os)", ["does not meet not (battery and os)"]),
        ("gpu and cpu.cores >= 2 and arch", ["lacks gpu", "lacks arch"]),
        ("gpu and arch or cpu.cores >= 8", ["lacks gpu and lacks arch or else has cpu.cores 4, 8 are required"]),
        ("cpu.cores >= 2 or gpu", []),
        ("", []),
    ],
)
def test_words(text, words):
    assert shortfalls(parse_requirement(text), PHONE) == words


@given(
    st.sampled_from(["a", "a >= 3", "not a", "a == 'x' or not b", "not (a and not b >= 8GiB)", "a < 3 and b"]),
    st.dictionaries(st.sampled_from("ab"), st.none() | st.booleans() | st.integers() | st.floats() | st.text()),
)
def test_no_words_exactly_where_nothing_is_missing(text, capabilities):
    """A peer is refused if and only if something is said of it."""
    requirement = parse_requirement(text)
    assert (shortfalls(requirement, capabilities) == []) == requirement.met_by(capabilities)
