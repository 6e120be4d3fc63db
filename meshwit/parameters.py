"""Values for the parameters of a job: matched by place and name, converted to their types, all faults told at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meshwit.blob import BlobSource
from meshwit.lang import program as ir
from meshwit.lang.offer import Offer
from meshwit.lang.types import CollectionType, ScriptType
from meshwit.plugins.owned_files import media_type_of


class ParameterError(ValueError):
    """A parameter is missing, unknown or of the wrong kind; the message is for people."""


def named_job(program: ir.Program, name: str | None) -> ir.CheckedJob:
    """The job of a program that has this name, the first one by default. Raises ParameterError if there is none."""
    if name is None:
        return next(iter(program.jobs.values()))
    if name not in program.jobs:
        raise ParameterError(f"there is no job `{name}`; the script has {', '.join(f'`{j}`' for j in program.jobs)}")
    return program.jobs[name]


def bind_parameters(
    job: ir.CheckedJob, args: Sequence[Any], params: Mapping[str, Any], offer: Offer, blobs: BlobSource
) -> list[Any]:
    """The values of a job's parameters, in order.

    Raises:
        ParameterError: naming every parameter that is wrong.
    """
    wrong: list[str] = []
    names = [parameter.name for parameter in job.parameters]
    if len(args) > len(names):
        wrong.append(f"{len(args)} values for {_listed(job)}")
    given = dict(zip(names, args, strict=False))
    for name, value in params.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f", did you mean `{near[0]}`?" if near else f"; it has {_listed(job)}"
            wrong.append(f"job `{job.name}` has no parameter `{name}`{hint}")
        elif name in given:
            wrong.append(f"parameter `{name}` is given twice")
        else:
            given[name] = value
    values = []
    for parameter in job.parameters:
        if parameter.name not in given:
            if not parameter.optional:
                wrong.append(f"parameter `{parameter.name}` ({parameter.type}) is missing")
            values.append(parameter.default)
            continue
        try:
            values.append(_converted(offer.types[parameter.type], given[parameter.name], blobs))
        except (ValueError, OSError) as reason:
            wrong.append(f"parameter `{parameter.name}` ({parameter.type}): {reason}")
    if wrong:
        raise ParameterError("; ".join(wrong))
    return values


def _listed(job: ir.CheckedJob) -> str:
    if not job.parameters:
        return "no parameters"
    return "the parameters " + ", ".join(f"`{one.name}` ({one.type})" for one in job.parameters)


def _converted(kind: ScriptType, value: Any, blobs: BlobSource) -> Any:
    if value is None:
        return None
    if isinstance(value, Path):
        return kind.coerce(_stored(value, blobs))
    if (
        isinstance(kind, CollectionType)
        and isinstance(value, (list, tuple))
        and any(isinstance(v, Path) for v in value)
    ):
        value = [_stored(one, blobs) if isinstance(one, Path) else one for one in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return kind.adopt(value, blobs)
    return kind.literal(value)


def _stored(path: Path, blobs: BlobSource) -> Any:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return blobs.put_file(path, media_type_of(path.name))
