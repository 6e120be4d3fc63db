"""The operations of control flow: what a composite activity may ask of the interpreter.

A control activity is a generator. It yields one of these operations, is resumed with its outcome, and returns a
`Signal` (or None) as a statement, or a value where the activity has one. It must be deterministic: given the same
outcomes it yields the same operations, since a job is continued elsewhere by running it again over what is known.
Failures of what it runs are thrown into it as `Failed`; `Return` and cancellation pass through it untouched.
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

import msgspec


class Signal(enum.Enum):
    """How a body ended, besides by running to its end (None)."""

    BREAK = "break"
    CONTINUE = "continue"


class Failure(msgspec.Struct, frozen=True):
    """Why something failed, as data that crosses between peers.

    Attributes:
        message: what happened, in one or two sentences.
        span: where in the script; (0, 0) until known.
        activity: which activity failed, or empty.
        item: position in the Grid step, or None.
        item_text: the item itself, shortened.
        peer: where it ran, or empty.
        worker: which worker process of the peer, or None.
        traceback: last lines of the remote traceback, or empty.
        output: what the activity had printed, shortened.
    """

    message: str
    span: tuple[int, int] = (0, 0)
    activity: str = ""
    item: int | None = None
    item_text: str = ""
    peer: str = ""
    worker: int | None = None
    traceback: str = ""
    output: str = ""


class Failed(Exception):  # noqa: N818 - a failure of the script, not of this program
    """A statement of the script failed; `Try` may hold it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Lazy(msgspec.Struct, frozen=True):
    """An argument that is evaluated on demand, each time anew."""

    index: int


class Body(msgspec.Struct, frozen=True):
    """The block of a composite (`index` 0) or of one of its clauses; `statements` counts its statements."""

    index: int
    statements: int


class Arrow(msgspec.Struct, frozen=True):
    """The call behind `=>`."""


class ClauseCall(msgspec.Struct, frozen=True):
    """A clause that follows a composite: its name, its arguments (values and `Lazy`), its body."""

    name: str
    arguments: tuple[Any, ...]
    body: Body


class Evaluate(msgspec.Struct, frozen=True):
    """Evaluate a lazy argument; resumed with its value."""

    lazy: Lazy


class Run(msgspec.Struct, frozen=True):
    """Run a body, with `item` as its item or declared variable; resumed with a `Signal` or None."""

    body: Body
    item: Any = None


class RunAll(msgspec.Struct, frozen=True):
    """Run a body once per item, all at once; resumed with the list of signals, in order.

    As far as variables and exits are concerned the result is that of running them one after another.
    """

    body: Body
    items: Sequence[Any]


class RunStatements(msgspec.Struct, frozen=True):
    """Run the statements of a body all at once; resumed with the list of signals, in order."""

    body: Body


class Apply(msgspec.Struct, frozen=True):
    """Apply the arrow's call to one item, here; resumed with its value."""

    arrow: Arrow
    item: Any


class Spread(msgspec.Struct, frozen=True):
    """Apply the arrow's call to every item, on every capable peer; resumed with the list of results, in order."""

    arrow: Arrow
    items: Sequence[Any]
    options: Any = None


class Sleep(msgspec.Struct, frozen=True):
    """Wait; `text` tells the watcher why. `since_last`: counted from the end of this activity's last wait."""

    duration_ms: int
    text: str = ""
    since_last: bool = False


class Text(msgspec.Struct, frozen=True):
    """Ask for the text of a value, in the form of its script type."""

    value: Any


class Emit(msgspec.Struct, frozen=True):
    """Send a text to whoever watches."""

    text: str


class Fail(msgspec.Struct, frozen=True):
    """Fail here with a message; never resumed with a value."""

    message: str


class Leave(msgspec.Struct, frozen=True):
    """End the job with these values; never resumed."""

    values: tuple[Any, ...]


Operation: TypeAlias = Evaluate | Run | RunAll | RunStatements | Apply | Spread | Sleep | Text | Emit | Fail | Leave
Control: TypeAlias = Generator[Operation, Any, Any]
