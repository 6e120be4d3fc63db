"""What a job leaves behind: its variables on stdout, its files on disk, and where each of them is.

Results are the variables of the job's outer block without its parameters, and what `Return` sent. What holds blobs is
written to files (`result_files.py`), the rest is text. What a Grid step had finished when its job failed or was
cancelled is kept too: its files and its values go to `<name>.partial/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from meshwit.blob import Blob, size_text
from meshwit.cli.json_values import json_value
from meshwit.cli.result_files import Written, write_result
from meshwit.cli.sources import write_whole
from meshwit.cli.terminal import count_text, one_line
from meshwit.lang.program import CheckedJob
from meshwit.lang.text import quote_text, short_text
from meshwit.lang.types import CollectionType, ScriptType
from meshwit.outcome import JobState, Outcome

RETURNED = "returned"
PARTIAL = ".partial"
TEXT_CHARS = 200
_ITEMS_SHOWN = 20
_DEPTH_SHOWN = 3


class Result(NamedTuple):
    """A variable with its value; `kind` is its script type where it is known, `files` what was written of it."""

    name: str
    value: Any
    kind: ScriptType | None
    files: Written | None


class Results(NamedTuple):
    """Everything of one outcome.

    Attributes:
        variables: in source order.
        returned: the list of what `Return` sent; None if that is nothing.
        partial: folder of each step that did not finish -> how many items are in it.
        errors: what could not be written, one line each.
        complete: whether the job came to its end.
    """

    variables: list[Result]
    returned: Result | None
    partial: dict[Path, int]
    errors: list[str]
    complete: bool


def result_names(job: CheckedJob) -> list[str]:
    """The variables of a job that are results."""
    parameters = {one.name for one in job.parameters}
    return [name for name, _, _ in job.results if name not in parameters]


def collect(
    outcome: Outcome, job: CheckedJob, types: dict[str, ScriptType], out: Path, only: Collection[str] = ()
) -> Results:
    """Write what is to be files, below the folder `out`; with `only`, nothing but the results of those names.

    Never raises for a file that cannot be written: that is in `errors`.
    """
    kinds = {name: types.get(kind) for name, _, kind in job.results}
    names = [name for name in result_names(job) if name in outcome.variables and (not only or name in only)]
    variables = [
        Result(name, outcome.variables[name], kinds[name], write_result(name, outcome.variables[name], out))
        for name in names
    ]
    returned = None
    if outcome.returned and (not only or RETURNED in only):
        value = _one_or_all(outcome.returned)
        same = next((one.files for one in variables if _is_same(one.value, value)), None)
        returned = Result(RETURNED, outcome.returned, None, same or write_result(RETURNED, value, out))
    errors = [error for one in (*variables, returned) if one and one.files for error in one.files.errors]
    partial: dict[Path, int] = {}
    for name, items in outcome.partial.items():
        if items and (not only or name in only):
            folder = out / f"{_file_stem(name)}{PARTIAL}"
            errors += _write_partial(folder, items)
            partial[folder] = len(items)
    return Results(variables, returned, partial, errors, outcome.state is JobState.COMPLETED)


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _is_same(left: Any, right: Any) -> bool:
    return left is right or (isinstance(left, Blob) and isinstance(right, Blob) and left == right)


def _file_stem(name: str) -> str:
    """`line 7` is `line-7`."""
    return re.sub(r"[^\w.-]+", "-", name)


def _write_partial(folder: Path, items: dict[int, Any]) -> list[str]:
    """The files of the items, and all their values in `items.json`, by item; gives what went wrong."""
    written = write_result(folder.name, items, folder.parent)
    files = written.files if written else {}
    record = json_value(items, lambda blob: _blob_json(blob, files))
    path = folder / "items.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, [json.dumps(record, indent=1).encode()])
    except OSError as reason:
        return [*(written.errors if written else []), f"cannot write {path}: {reason.strerror}"]
    return written.errors if written else []


# --- as text ---------------------------------------------------------------------------------------------------


def text_lines(results: Results) -> Iterator[str]:
    """`name = value` for each result, short; what a job that did not complete never gave a value is left out."""
    for one in results.variables:
        if one.value is None and not results.complete:
            continue
        yield f"{one.name} = {_shown(one.value, one)}"
    if results.returned is not None:
        yield f"{RETURNED} = {_shown(_one_or_all(results.returned.value), results.returned)}"


def _shown(value: Any, result: Result) -> str:
    files = result.files
    if files is None:
        return _value_text(value, result.kind)
    if files.folder is not None:
        where = f"{files.folder}/ ({count_text(files.written, 'file')})"
        return where if _only_blobs(value) else f"{one_line(_mixed_text(value), TEXT_CHARS)} in {where}"
    blob, path = next(iter(files.files.items()), (None, None))
    return f"{path} ({blob.media_type}, {size_text(blob.size)})" if blob else "(not written)"


def _only_blobs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(item is None or isinstance(item, Blob) for item in value)


def _mixed_text(value: Any, depth: int = 0) -> str:
    """A value that is not only blobs; they are named by their kind, since their files are told of beside it."""
    if isinstance(value, Blob):
        return f"<{value.media_type}>"
    if isinstance(value, (list, tuple)):
        if depth >= _DEPTH_SHOWN:
            return "[…]"
        items = ", ".join(_mixed_text(item, depth + 1) for item in value[:_ITEMS_SHOWN])
        return f"[{items}{', …' if len(value) > _ITEMS_SHOWN else ''}]"
    return _beginning(value, None)


def _value_text(value: Any, kind: ScriptType | None) -> str:
    if isinstance(value, (list, tuple)) and len(value) > _ITEMS_SHOWN:
        element = kind.element_type if isinstance(kind, CollectionType) else None
        first = ", ".join(_beginning(item, element) for item in value[:_ITEMS_SHOWN])
        return f"{one_line(f'[{first}', TEXT_CHARS)}, …] ({len(value):,} items)"
    return one_line(_beginning(value, kind), TEXT_CHARS)


def _beginning(value: Any, kind: ScriptType | None) -> str:
    """The text of a value, or how it begins where it is too long or too deep to be made as a whole."""
    try:
        return quote_text(value, kind)
    except ValueError:
        return short_text(value, 2 * TEXT_CHARS)


def notes(results: Results) -> Iterator[str]:
    """What the text of the results does not say: partial results, files of earlier runs."""
    for folder, count in results.partial.items():
        yield f"{count_text(count, 'finished item')} of a step that did not end: {folder}/"
    for one in (*results.variables, results.returned):
        if one and one.files and one.files.older:
            verb = "is" if one.files.older == 1 else "are"
            yield f"{one.files.folder}/ also holds {count_text(one.files.older, 'file')} that {verb} not of this run"


# --- as JSON ---------------------------------------------------------------------------------------------------


def results_json(results: Results) -> dict[str, Any]:
    """The results for programs; a blob is `{"file", "media_type", "size", "hash"}`."""
    return {
        "variables": {one.name: _result_json(one) for one in results.variables},
        "returned": [] if results.returned is None else _result_json(results.returned),
        "partial": {str(folder): count for folder, count in results.partial.items()},
        "write_errors": results.errors,
    }


def _result_json(result: Result) -> Any:
    files = result.files.files if result.files else {}
    return json_value(result.value, lambda blob: _blob_json(blob, files))


def _blob_json(blob: Blob, files: dict[Blob, Path]) -> dict[str, Any]:
    path = files.get(blob)
    return {
        "file": None if path is None else str(path),
        "media_type": blob.media_type,
        "size": blob.size,
        "hash": blob.hash,
    }
