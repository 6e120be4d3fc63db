"""Names and slots while a job is checked: scopes, spaces, and what the branches of parallel blocks share."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwit.lang.tree import Span


@dataclass(slots=True, eq=False)
class Space:
    """Storage of a job, of a branch or of an arrow: a row of slots below the space around it."""

    depth: int
    size: int = 0

    def new_slot(self) -> int:
        """The next free slot."""
        self.size += 1
        return self.size - 1


@dataclass(slots=True, eq=False)
class Variable:
    """A declared variable."""

    id: int
    name: str
    type: str
    space: Space
    slot: int
    span: Span
    loop_depth: int
    assigned: bool
    """Whether a value was given somewhere before, in the order of the text."""
    always_set: bool
    """Whether it was declared with a value."""
    read: bool = False


@dataclass(slots=True, eq=False)
class Region:
    """A parallel block being checked: which branch touches and writes which variable declared outside of it."""

    depth: int
    """Depth of the branches' spaces: variables of a lower depth are shared."""
    many: bool
    """Whether one body runs as many branches, so that each shared write meets its own twin."""
    branch: int = 0
    touched: dict[int, set[int]] = field(default_factory=dict)
    written: dict[int, set[int]] = field(default_factory=dict)

    def contended(self) -> frozenset[int]:
        """Variables that one branch writes and another touches."""
        if self.many:
            return frozenset(self.written)
        return frozenset(
            variable for variable, writers in self.written.items() if len(writers | self.touched[variable]) > 1
        )

    def owned(self) -> list[tuple[int, int]]:
        """The other variables that a branch writes: (branch, counted from 0; variable)."""
        contended = self.contended()
        return [(min(by) - 1, variable) for variable, by in self.written.items() if variable not in contended]


class Scopes:
    """The names visible at a point of a job, innermost last; no name hides another."""

    def __init__(self) -> None:
        self.space = Space(0)
        self.regions: list[Region] = []
        self.loop_depth = 0
        self.variables: list[Variable] = []
        self._scopes: list[dict[str, Variable]] = [{}]

    def find(self, name: str) -> Variable | None:
        """The variable of that name, if one is visible."""
        for scope in reversed(self._scopes):
            found = scope.get(name)
            if found is not None:
                return found
        return None

    def names(self) -> list[str]:
        """All visible names."""
        return [name for scope in self._scopes for name in scope]

    def declare(self, name: str, type: str, span: Span, *, with_value: bool) -> Variable:
        """A new variable in the innermost scope; the caller has made sure that the name is free."""
        made = Variable(
            len(self.variables),
            name,
            type,
            self.space,
            self.space.new_slot(),
            span,
            self.loop_depth,
            with_value,
            with_value,
        )
        self.variables.append(made)
        self._scopes[-1][name] = made
        return made

    def touch(self, variable: Variable, *, write: bool) -> int:
        """Note an access; returns how many spaces up the variable lives."""
        for region in self.regions:
            if variable.space.depth < region.depth:
                region.touched.setdefault(variable.id, set()).add(region.branch)
                if write:
                    region.written.setdefault(variable.id, set()).add(region.branch)
        return self.space.depth - variable.space.depth

    def push(self) -> None:
        """Open a block."""
        self._scopes.append({})

    def pop(self) -> list[Variable]:
        """Close a block; returns what it declared."""
        return list(self._scopes.pop().values())

    def enter_space(self) -> Space:
        """Open a space below the present one; returns the present one, for `leave_space`."""
        outer = self.space
        self.space = Space(outer.depth + 1)
        return outer

    def leave_space(self, outer: Space) -> int:
        """Close the present space; returns its size."""
        size = self.space.size
        self.space = outer
        return size
