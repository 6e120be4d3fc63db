"""What one core answers to what is said to it; the dialogues stand in `dialogues/`, one situation each."""

from __future__ import annotations

from pathlib import Path

import pytest

from .dialogue import perform

DIALOGUES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))


def test_there_are_dialogues():
    assert len(DIALOGUES) > 12


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_dialogue(path):
    perform(path)
