"""From the words of the command line to the values of a job's parameters: syntax only.

`--name value`, `--name=value`, `--name value value …` and a repeated `--name` for collections. What a text means
follows from the parameter's type:

- a `String`, a date, a colour and the like take it as it is;
- a file type (`Blob`, `Image`, `Video`) takes it as a path;
- numbers, `true`, `false` and `NULL` are read; what starts like JSON is read as JSON;
- a collection takes `1,2,3`, ranges with both ends included (`1:240`, `1:240:10`), and `[1, 2]`.

Whether a value fits its type is decided where the job is started, which has the language's own conversions.
"""

from __future__ import annotations

import decimal
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import msgpack

from meshwit.cli.exit_codes import CommandError
from meshwit.lang.program import JobParameter
from meshwit.lang.text import quote_text
from meshwit.lang.types import COLLECTION_ITEMS_MAX, CollectionType, ScriptType

PREFIX = "param."
"""`--param.json x` gives the parameter `json`, where `--json` is an option of the command."""

VERBATIM = frozenset({"String", "Guid", "Color", "DateTime", "DateTimeOffset", "TimeSpan", "ProcessingOptions"})
_NUMBERS = frozenset(("Byte", "SByte", "Short", "UShort", "Int", "UInt", "Long", "ULong", "Float", "Double", "Decimal"))
_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_RANGE = re.compile(r"([+-]?\d+):([+-]?\d+)(?::([+-]?\d+))?")
_OPTION = re.compile(r"--[^\W\d][\w.-]*(=.*)?", re.DOTALL)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


def split_arguments(arguments: Sequence[str]) -> dict[str, list[list[str]]]:
    """Name -> the values of each time it was given: `--a 1 2 --a=3` gives `{"a": [["1", "2"], ["3"]]}`.

    What begins with one dash is a value (`--n -5`). Raises CommandError for a value without a name.
    """
    given: dict[str, list[list[str]]] = {}
    current: list[str] | None = None
    for argument in arguments:
        if _OPTION.fullmatch(argument):
            name, assigned, value = argument[2:].partition("=")
            values = [value] if assigned else []
            given.setdefault(_plain_name(name), []).append(values)
            current = None if assigned else values
        elif current is None:
            raise CommandError(f"unexpected `{argument}`", "parameters are given by name: --name value")
        else:
            current.append(argument)
    return given


def _plain_name(name: str) -> str:
    return name.removeprefix(PREFIX).replace("-", "_")


def read_parameters(
    arguments: Sequence[str], parameters: Sequence[JobParameter], types: Mapping[str, ScriptType]
) -> dict[str, object]:
    """The values given on the command line, by parameter name. Raises CommandError."""
    known = {one.name: one for one in parameters}
    values: dict[str, object] = {}
    for name, times in split_arguments(arguments).items():
        if name not in known:
            raise unknown_parameter(name, parameters, types)
        try:
            values[name] = _value(times, types[known[name].type])
        except ValueError as reason:
            raise CommandError(f"parameter `{name}` ({known[name].type}): {reason}") from None
    return values


def read_parameters_file(
    path: Path, parameters: Sequence[JobParameter], types: Mapping[str, ScriptType]
) -> dict[str, object]:
    """The values in a JSON or MessagePack file (`.msgpack`): an object with the parameters as keys.

    A text for a collection is read as on the command line (`"1:240"`), one for a file type as a path relative to the
    folder of the file. Raises CommandError.
    """
    known = {one.name: one for one in parameters}
    values: dict[str, object] = {}
    for name, value in _loaded(path).items():
        if name not in known:
            raise unknown_parameter(name, parameters, types)
        try:
            values[name] = _from_file(value, types[known[name].type], path.parent)
        except ValueError as reason:
            raise CommandError(f"{path}: parameter `{name}` ({known[name].type}): {reason}") from None
    return values


def _loaded(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise CommandError(f"cannot read the parameters in {path}: {reason.strerror}") from None
    try:
        found = msgpack.decode(data) if path.suffix in (".msgpack", ".mpk") else json.loads(data)
    except (ValueError, RecursionError) as reason:
        raise CommandError(f"{path} is no valid parameters file: {reason}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise CommandError(f"{path} must hold an object with the parameters as keys", 'such as {"width": 640}')
    return found


def _from_file(value: Any, kind: ScriptType, folder: Path) -> object:
    if isinstance(value, list):
        element = element_of(kind)
        return value if element is None else [_from_file(item, element, folder) for item in value]
    if not isinstance(value, str):
        return value
    if kind.media and not isinstance(kind, CollectionType):
        return _existing(folder / value)
    if element_of(kind) is not None and not is_media_collection(kind):
        return _items([value], kind)
    return value


def _value(times: list[list[str]], kind: ScriptType) -> object:
    if element_of(kind) is not None:
        if not all(times):
            raise ValueError("a value is missing")
        return _items([text for texts in times for text in texts], kind)
    if len(times) > 1:
        raise ValueError("it is given more than once")
    texts = times[0]
    if not texts and kind.name == "Bool":
        return True
    if len(texts) != 1:
        raise ValueError(f"it takes one value, not {len(texts)}" if texts else "a value is missing")
    return _scalar(texts[0], kind)


def _items(texts: list[str], kind: ScriptType) -> list[object]:
    """The items that texts stand for, one after another. Raises ValueError."""
    element = element_of(kind)
    items: list[object] = []
    for text in texts:
        if text.lstrip().startswith("["):
            items += [_json_item(item, element) for item in _json(text)]
        elif is_media_collection(kind):
            items.append(_existing(Path(text)))
        else:
            for part in text.split(","):
                items += _range(part.strip(), element) or [_scalar(part.strip(), element)]
        if len(items) > COLLECTION_ITEMS_MAX:
            raise ValueError(f"{len(items):,} items, at most {COLLECTION_ITEMS_MAX:,} are allowed")
    return items


def _range(text: str, element: ScriptType | None) -> list[object]:
    """The numbers of `1:240` or `1:240:10`, both ends included; empty if it is no range."""
    found = _RANGE.fullmatch(text)
    if found is None or (element is not None and element.name in VERBATIM):
        return []
    start, stop = int(found[1]), int(found[2])
    step = int(found[3]) if found[3] else 1
    if step == 0:
        raise ValueError(f"the range {text} has a step of zero")
    numbers = range(start, stop + (1 if step > 0 else -1), step)
    if not numbers:
        backwards = f"{start}:{stop}:{-step}"
        raise ValueError(f"the range {text} holds nothing: write {backwards} if that is meant")
    if len(numbers) > COLLECTION_ITEMS_MAX:
        raise ValueError(f"the range {text} has {len(numbers):,} items, at most {COLLECTION_ITEMS_MAX:,} are allowed")
    return list(numbers)


def _scalar(text: str, kind: ScriptType | None) -> object:
    """One value as its text says. What cannot be read stays text, so that the language's own conversion complains."""
    if kind is not None and kind.media:
        return _existing(Path(text))
    if kind is not None and kind.name in VERBATIM:
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return _whole(text)
    if _FLOAT.fullmatch(text):
        return decimal.Decimal(text) if kind is not None and kind.name == "Decimal" else float(text)
    return _json(text) if text[:1] in ("[", "{", '"') else text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text[:20]}… has too many digits") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as reason:
        raise ValueError(f"this is no JSON: {reason.msg} at character {reason.pos + 1}") from None
    except (ValueError, RecursionError) as reason:
        raise ValueError(f"this JSON cannot be read: {reason}") from None


def _json_item(item: Any, element: ScriptType | None) -> object:
    return _existing(Path(item)) if element is not None and element.media and isinstance(item, str) else item


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, a file is needed")
    return path


def element_of(kind: ScriptType) -> ScriptType | None:
    """The type of the items where a parameter takes several values; None where it takes one."""
    if isinstance(kind, CollectionType):
        return kind.element_type
    if kind.name in ("Array", "Tuple") or (kind.element in _NUMBERS):
        return _ANY
    return None


def is_media_collection(kind: ScriptType) -> bool:
    """Whether each item is a file."""
    return isinstance(kind, CollectionType) and kind.media


_ANY = ScriptType()


def unknown_parameter(name: str, parameters: Sequence[JobParameter], types: Mapping[str, ScriptType]) -> CommandError:
    """The error for a parameter that the job does not have: what was probably meant, and all that there are."""
    near = difflib.get_close_matches(name.casefold(), [one.name.casefold() for one in parameters], n=1)
    meant = [one.name for one in parameters if near and one.name.casefold() == near[0]]
    lines = [f"did you mean --{meant[0]}?"] if meant else []
    return CommandError(f"the job has no parameter `{name}`", "\n".join(lines + list_parameters(parameters, types)))


def list_parameters(parameters: Sequence[JobParameter], types: Mapping[str, ScriptType]) -> list[str]:
    """The parameters of a job for people, a line each."""
    if not parameters:
        return ["it takes no parameters"]
    names = max(len(one.name) for one in parameters)
    kinds = max(len(one.type) for one in parameters)
    return [
        f"--{one.name.ljust(names)}  {one.type.ljust(kinds)}  {_usage(one, types.get(one.type))}".rstrip()
        for one in parameters
    ]


def _usage(parameter: JobParameter, kind: ScriptType | None) -> str:
    if parameter.optional:
        return f"= {quote_text(parameter.default, kind)}"
    if kind is None:
        return ""
    element = element_of(kind)
    if element is None:
        return "a file" if kind.media else kind.literal_forms
    if element.media:
        return "files"
    return "a,b,c" if element.name in VERBATIM else "1:240 or 1,2,3"
