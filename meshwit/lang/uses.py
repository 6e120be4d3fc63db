"""What a job is made of, which activities it may call, and which Grid steps it may take, known before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from meshwit.lang import program as ir
from meshwit.lang.offer import Activity
from meshwit.lang.tree import Span

GRID = "Grid.ForEach"


def activities_used(program: ir.Program, job: str) -> list[str]:
    """The activities that peers may run for a job and for the jobs that it calls: each once, in source order.

    Not control activities, which place others, and not `local` ones, which run where the job is led.
    """
    names: dict[str, None] = {}
    for node in _nodes(program, job):
        if isinstance(node, ir.Invoke) and not (node.activity.control or node.activity.local):
            names[node.activity.name] = None
    return list(names)


def grid_tasks(program: ir.Program, job: str) -> list[tuple[ir.Expression, Span]]:
    """The tasks that a job and the jobs that it calls may spread over the mesh, in source order, and where they stand.

    An arrow that must run where the job is led, such as a call of a job, is none.
    """
    return [
        (node.arrow.task, node.span)
        for node in _nodes(program, job)
        if isinstance(node, ir.InvokeControl)
        and node.activity.name == GRID
        and node.arrow is not None
        and node.arrow.task is not None
    ]


def names_used(program: ir.Program, job: str) -> set[str]:
    """All activities and types that a job and the jobs that it calls are made of."""
    names: set[str] = set()
    for node in _nodes(program, job):
        if isinstance(node, Activity):
            names.add(node.name)
        else:
            names.update(getattr(node, field, "") for field in ("type", "target_type"))
    return names - {""}


def _nodes(program: ir.Program, job: str) -> Iterator[Any]:
    """All parts of a job and of the jobs that it calls, in source order."""
    jobs = {job}
    pending: list[Any] = [program.jobs[job].body]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ir.Constant | Activity):
            continue
        match node:
            case ir.InvokeJob(job=called) if called not in jobs:
                jobs.add(called)
                pending.append(program.jobs[called].body)
        match node:
            case tuple():
                pending += reversed(node)
            case msgspec.Struct():
                pending += [getattr(node, field) for field in reversed(node.__struct_fields__)]
