"""Which activities a job may call, known before it runs."""

from __future__ import annotations

from typing import Any

import msgspec

from meshwit.lang import program as ir
from meshwit.lang.offer import Activity


def activities_used(program: ir.Program, job: str) -> list[str]:
    """The activities that peers may run for a job and for the jobs that it calls: each once, in source order.

    Not control activities, which place others, and not `local` ones, which run where the job is led.
    """
    names: dict[str, None] = {}
    jobs = {job}
    pending: list[Any] = [program.jobs[job].body]
    while pending:
        node = pending.pop()
        match node:
            case ir.Constant() | Activity():
                continue
            case ir.Invoke(activity=activity) if not (activity.control or activity.local):
                names[activity.name] = None
            case ir.InvokeJob(job=called) if called not in jobs:
                jobs.add(called)
                pending.append(program.jobs[called].body)
        match node:
            case tuple():
                pending += reversed(node)
            case msgspec.Struct():
                pending += [getattr(node, field) for field in reversed(node.__struct_fields__)]
    return list(names)
