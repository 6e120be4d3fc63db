"""Which versions of a controller give the same results."""

from __future__ import annotations

import pytest

from meshwit.peer.job.workers import compatible


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("1.2.3", "1.4.0", True),
        ("1.2.3", "1.2.3", True),
        ("1.2", "2.2", False),
        ("2.0.0", "1.0.0", False),
        ("0.1.0", "0.1.5", True),
        ("0.1", "0.2", False),
        ("0.1.0", "1.1.0", False),
        ("0.0.1", "0.0.1", True),
        ("0.0.1", "0.0.2", False),
        ("", "", True),
        ("", "1.0", False),
        ("1", "10", False),
    ],
)
def test_versions_are_compatible_up_to_the_first_number_above_zero(ours, theirs, same):
    assert compatible(theirs, ours) is same
    assert compatible(ours, theirs) is same
