"""What `meshwit run` was asked to do, read from its options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from meshwit.cli.exit_codes import CommandError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d|w)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
KEEP_MAX_S = 366 * 86400
SIZE_BYTES_MAX = 2**63 - 1
"""What systems and messages can say."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class RunOptions(NamedTuple):
    """The options of one run; `arguments` are the words that are no own option, `alone` keeps it in this process.

    With `detach` nobody follows it. Its outcome is kept for `keep_s` seconds; `standbys` peers would lead it on.
    """

    script: str
    job: str
    params: Path | None
    only: tuple[str, ...]
    out: Path
    as_json: bool
    watch: bool
    quiet: bool
    workers: int | None
    roots: tuple[Path, ...]
    time_limit_s: float | None
    memory_limit_bytes: int | None
    arguments: tuple[str, ...]
    here: bool = False
    plan: bool = False
    detach: bool = False
    keep_s: float = 86400.0
    standbys: int = 2

    @property
    def alone(self) -> bool:
        """Whether no peer is to lead: worker processes can only be counted here."""
        return self.here or self.workers is not None


def parse_size(text: str, option: str) -> int:
    """Bytes of `2GiB`, `512 MB`, `1.5g` or a plain number; `k`, `m`, `g` with an `i` count by 1024.

    Raises:
        CommandError: it is no size, zero, or more than any device has.
    """
    found = _SIZE.fullmatch(text.strip())
    size = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()] if found else 0
    if not 1 <= size <= SIZE_BYTES_MAX:
        raise CommandError(f"{option}: `{text}` is no size", "write it such as 2GiB, 512MB or 1000000")
    return int(size)


def parse_duration(text: str, option: str) -> float:
    """Seconds of `90s`, `30min`, `12h`, `7d` or `2w`.

    Raises:
        CommandError: it is no duration, or longer than a year.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _SECONDS[found[2].lower()] if found else -1.0
    if seconds < 0:
        raise CommandError(f"{option}: `{text}` is no duration", "write it such as 90s, 30min, 12h or 7d")
    if seconds > KEEP_MAX_S:
        raise CommandError(f"{option}: `{text}` is longer than a year")
    return seconds


def checked_roots(roots: list[Path]) -> tuple[Path, ...]:
    """The folders that activities may read and write; by default the current one. Raises CommandError."""
    for root in roots:
        if not root.is_dir():
            raise CommandError(f"--root: there is no folder {root}")
    return tuple(roots) or (Path.cwd(),)
