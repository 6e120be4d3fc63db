"""What a job leaves of Grid steps that did not finish: results under names that its script's reader knows."""

from __future__ import annotations

import itertools
from typing import Any

from meshwit.lang import program as ir
from meshwit.peer.job.journal import Journal


def partial_results(program: ir.Program, job: ir.CheckedJob, journal: Journal) -> dict[str, dict[int, Any]]:
    """Results of unfinished Grid steps: by variable or by line, then by item.

    A place of the script that left several, in the rounds of a loop, is numbered from the second on: `line 4 #2`.
    """
    found: dict[str, dict[int, Any]] = {}
    names = _step_names(program, job)
    for path, items in sorted(journal.unfinished().items()):
        name = names.get(path[0], f"step {path[0]}")
        numbered = (f"{name} #{number}" for number in itertools.count(2))
        unlike = next(one for one in itertools.chain([name], numbered) if one not in found)
        found[unlike] = dict(sorted(items.items()))
    return found


def _step_names(program: ir.Program, job: ir.CheckedJob) -> dict[int, str]:
    """How the Grid steps of a job are called in messages: by the variable that takes their result, else by line."""
    slots = {slot: name for name, slot, _ in job.results}
    names: dict[int, str] = {}
    for statement in job.body.statements:
        expression = statement.value if isinstance(statement, ir.Store) else statement.call
        while isinstance(expression, ir.Convert):
            expression = expression.operand
        if isinstance(expression, ir.InvokeControl):
            line = f"line {program.line_of(statement.span)}"
            names[expression.site] = slots.get(statement.slot, line) if isinstance(statement, ir.Store) else line
    return names
