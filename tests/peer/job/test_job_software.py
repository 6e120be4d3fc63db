"""Which versions of a controller give the same results, and what a job wants of them."""

from __future__ import annotations

import pytest

from meshwit.peer.job.software import Owner, compatible, installed, unlike, wanted_for


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


OWNERS = {
    "type Int": Owner("meshwit.plugins.variables:Variables", "0.5.0"),
    "type Mesh": Owner("shapes.solids:Solids", "1.4.0"),
    "MeshCollection": Owner("shapes.solids:Solids", "1.4.0"),
    "Cut.Apart": Owner("shapes.cutting:Cutting", "1.4.0"),
    "Text.Upper": Owner("texts:Texts", "2.0.0"),
}


def test_a_job_wants_the_packages_of_its_activities_and_types_and_no_others():
    assert wanted_for(["Int", "Cut.Apart", "unheard of"], OWNERS) == {"meshwit": "0.5.0", "shapes": "1.4.0"}
    assert wanted_for(["MeshCollection"], OWNERS) == wanted_for(["Mesh"], OWNERS) == {"shapes": "1.4.0"}
    assert wanted_for([], OWNERS) == {}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({}, ""),
        ({"meshwit": "0.5.3", "shapes": "1.0.0"}, ""),
        ({"shapes": "2.0.0"}, "has shapes 1.4.0, the job wants 2.0.0"),
        ({"shapes": "2.0.0", "paint": "1.0", "texts": "2.1"}, "has no paint and has shapes 1.4.0, the job wants 2.0.0"),
    ],
)
def test_what_is_installed_does_or_it_is_said_why_not(wanted, why):
    assert unlike(installed(OWNERS), wanted) == why
