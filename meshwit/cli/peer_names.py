"""Which peer a person means: by name, by id, or by the start of either where only one starts so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from meshwit.cli.exit_codes import CommandError
from meshwit.cli.terminal import one_line
from meshwit.ids import short
from meshwit.lang.findings import did_you_mean

NAME_CHARS_MAX = 40


class Named(Protocol):
    """Has a name that need not be its own, and an id that is."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def pick(name: str, known: Sequence[N], what: str = "peer is known") -> N:
    """The one that is meant.

    Args:
        name: as typed.
        known: all that may be meant.
        what: of those: `no <what> as <name>`.

    Raises:
        CommandError: none is, or several may be.
    """
    wanted = name.strip().casefold()
    as_id = wanted.replace("-", "")
    exact = [one for one in known if wanted in (one.name.casefold(), one.id, short(one.id)) and wanted]
    starts = [
        one
        for one in known
        if wanted and (one.name.casefold().startswith(wanted) or (len(as_id) >= 4 and one.id.startswith(as_id)))
    ]
    for found in (exact, starts):
        if len(found) == 1:
            return found[0]
        if found:
            among = ", ".join(f"{shown(one.name)} ({short(one.id)})" for one in found[:10])
            raise CommandError(f"`{shown(name)}` may be any of {len(found)}", f"say which, by its id: {among}")
    names = sorted({one.name for one in known})
    listed = f"there are: {', '.join(shown(one) for one in names[:20])}" if names else ""
    hint = "\n".join(filter(None, (did_you_mean(name, names), listed)))
    raise CommandError(f"no {what} as `{shown(name)}`", hint)


def shown(name: str) -> str:
    """A name that a device gave itself, fit for a line."""
    return one_line(name, NAME_CHARS_MAX)
