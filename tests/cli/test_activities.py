"""`meshwit activities`."""

from __future__ import annotations

import json

import pytest


def test_everything_is_listed_by_controller(cli):
    done = cli("activities")

    assert done.returncode == 0
    assert "While(Bool condition) { … }" in done.stdout
    assert "Grid.ForEach(item in items" in done.stdout
    assert "Parallel.ForEach(item in items) { … }" in done.stdout
    assert "NewGuid() -> Guid" in done.stdout


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"), [("guid", "NewGuid", "While"), ("*.Invoke", "Parallel.Invoke", "NewGuid")]
)
def test_a_pattern_chooses(cli, pattern, found, not_found):
    done = cli("activities", pattern)

    assert found in done.stdout
    assert not_found not in done.stdout


def test_a_whole_name_shows_its_page(cli):
    done = cli("activities", "Try")

    assert done.stdout.startswith("Try() { … }") or done.stdout.startswith("Try { … }")
    assert "Runs its block; if an activity fails there" in done.stdout
    assert "may be followed by: Catch" in done.stdout
    assert "controller: Special" in done.stdout


def test_an_alias_leads_to_its_activity(cli):
    done = cli("activities", "Delayed")

    assert "Delay(Int milliseconds) { … }" in done.stdout
    assert "also: Delayed" in done.stdout


def test_only_one_controller(cli):
    done = cli("activities", "--controller", "parallel")

    assert "Parallel.Invoke" in done.stdout
    assert "Grid.ForEach" not in done.stdout


def test_json_has_every_form(cli):
    record = json.loads(cli("activities", "Color", "--json").stdout)

    (color,) = record["activities"]
    assert color["name"] == "Color"
    assert len(color["forms"]) == 2
    assert color["forms"][0]["parameters"][3] == {
        "name": "alpha",
        "type": "Int",
        "role": "value",
        "optional": True,
        "rest": False,
    }
    assert color["forms"][0]["returns"] == "Color"


def test_types_show_their_literals(cli):
    done = cli("activities", "--types")

    assert "a whole number from 0 to 255" in done.stdout
    assert '"#RRGGBB" or "#AARRGGBB"' in done.stdout
    assert "also: Boolean" in done.stdout

    record = json.loads(cli("activities", "--types", "Color", "--json").stdout)
    assert record["types"][0]["collection"] == "ColorCollection"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("Whyle",), "did you mean `While`?"),
        (("--types", "Colour"), "did you mean `Color`?"),
        (("--controller", "Paralel"), "did you mean `Parallel`?"),
    ],
)
def test_an_unknown_name_is_answered_with_what_was_meant(cli, arguments, hint):
    done = cli("activities", *arguments)

    assert done.returncode == 2
    assert hint in done.stderr
