"""The interpreter against an independent serial evaluator: random scripts, their wishes answered in random order.

Whatever runs at once must end as if it had run in order: variables, what was returned, and the failure that is told.
"""

from __future__ import annotations

import random

import pytest
from machine import Machine, compiled
from random_scripts import random_script
from serial import run_serially

SEEDS = 300
PER_TEST = 10


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_random_scripts_end_as_if_run_in_order(first):
    for seed in range(first, first + PER_TEST):
        text = random_script(seed)
        arguments = random.Random(seed).choices(range(97), k=2)
        expected = run_serially(text, *arguments)
        program = compiled(text)
        for order in (None, random.Random(1), random.Random(2)):
            assert Machine(program, *arguments).run(order) == expected, f"seed {seed}\n{text}"
