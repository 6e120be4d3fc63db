"""Regular expressions given by scripts, and what replaces their matches."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache

from meshwit.lang.types import describe

PATTERN_CHARS_MAX = 1000
_REFERENCE = re.compile(r"\\(?:(\d{1,2})|g<(\w+)>|([\\nt])|)")
_ESCAPED = {"\\": "\\", "n": "\n", "t": "\t"}


@lru_cache(maxsize=64)
def compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """The pattern, ready. Raises ValueError with the position of what is wrong."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise ValueError(f"a pattern of {len(pattern):,} characters; at most {PATTERN_CHARS_MAX:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as reason:
        where = "" if reason.pos is None else f" at character {reason.pos + 1}"
        raise ValueError(f'the pattern "{pattern}" is wrong{where}: {reason.msg}') from None
    except (OverflowError, RecursionError):
        raise ValueError(f"the pattern {describe(pattern)} is too large") from None


def replacement_parts(replacement: str, pattern: re.Pattern[str]) -> list[str | int]:
    """What a replacement is made of: texts, and numbers of groups. Raises ValueError with the position of a fault.

    Python's own reading of it is done anew for each match, up to version 3.11.
    """
    parts: list[str | int] = []
    end = 0
    for found in _REFERENCE.finditer(replacement):
        number, name, character = found.groups()
        group = int(number) if number else pattern.groupindex.get(name or "", -1)
        if character is None and not 0 <= group <= pattern.groups:
            where = f"at character {found.start() + 1} of the replacement {describe(replacement)}"
            raise ValueError(f"{found[0]} {where}: the pattern has no such group, and a backslash is written twice")
        parts += [replacement[end : found.start()], group if character is None else _ESCAPED[character]]
        end = found.end()
    return [part for part in (*parts, replacement[end:]) if part != ""]


def replaced(text: str, pattern: re.Pattern[str], parts: list[str | int]) -> Iterator[str]:
    """The text in pieces, its matches replaced."""
    end = 0
    for match in pattern.finditer(text):
        yield text[end : match.start()]
        for part in parts:
            yield part if isinstance(part, str) else match[part] or ""
        end = match.end()
    yield text[end:]
