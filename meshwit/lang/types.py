"""What the language asks of a type: conversions, text, members, index. The types themselves are plugins.

A value is a plain Python object; its script type is known to the checker and checked at the borders (parameters,
`Object` variables, results of activities). Two conversions exist. `coerce` takes a value of another type where
nothing can be lost. `literal` also takes the written forms: numbers, strings such as `"2025/07/18"`, arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from meshwit.codec import WireType
from meshwit.lang.sameness import same
from meshwit.lang.text import quote_text

STRING_CHARS_MAX = 16 * 1024 * 1024
COLLECTION_ITEMS_MAX = 10_000_000

OBJECT = "Object"


class Member(msgspec.Struct, frozen=True):
    """`value.Name`: the type of what it gives, and how to get it (raises ValueError with the reason)."""

    type: str
    get: Callable[[Any], object]


class ScriptType:
    """One type of the language. Subclass it, set the attributes, override what differs.

    Attributes:
        name: as scripts write it.
        aliases: other names for it (`Boolean`).
        element: name of the type that iterating or indexing gives; None where there is none.
        widens_from: names of the types whose every value this type holds with nothing lost.
        widens_to: the same, said by the narrower type: an Image is a Blob.
        literal_forms: how a literal of it looks, for error messages.
        collection: whether `<name>Collection` exists.
        members: what stands behind the dot.
        wire: how its values cross between processes; None for what the codec knows by itself.
        media: values are blobs, or like them: a result of this type is written to a file.
    """

    name: str = ""
    aliases: tuple[str, ...] = ()
    element: str | None = None
    widens_from: frozenset[str] = frozenset()
    widens_to: frozenset[str] = frozenset()
    literal_forms: str = ""
    collection: bool = True
    members: Mapping[str, Member] = {}
    wire: WireType | None = None
    media: bool = False

    def holds(self, value: object) -> bool:
        """Whether `value` is a value of this type as it is."""
        raise NotImplementedError

    def coerce(self, value: object) -> object:
        """The value as one of this type, nothing lost. Raises ValueError with the reason."""
        if self.holds(value):
            return value
        raise ValueError(f"{describe(value)} is no {self.name}")

    def literal(self, value: object) -> object:
        """The value a literal stands for (int, float, str, bool or nested lists). Raises ValueError with the reason."""
        return self.coerce(value)

    def adopt(self, value: object, blobs: Any) -> object:
        """What an activity returned, as a value of this type. `blobs` stores bytes. Raises ValueError."""
        return self.coerce(value)

    def text(self, value: Any) -> str:
        """The value as `Trace` shows it."""
        return str(value)

    def equals(self, left: Any, right: Any) -> bool:
        """Whether two values of this type are the same."""
        return same(left, right)

    def member(self, name: str) -> Member | None:
        """What `.name` gives, or None if there is no such member."""
        return self.members.get(name)

    def item(self, value: Any, index: int) -> object:
        """`value[index]`; raises IndexError."""
        return value[index]

    def items(self, value: Any) -> Iterable[object]:
        """What `ForEach` walks through."""
        return value  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<type {self.name}>"


class CollectionType(ScriptType):
    """`<element>Collection`: a list of values of one type; NULL may stand in it for an item that was skipped."""

    collection = False

    def __init__(self, element: ScriptType) -> None:
        self.name = f"{element.name}Collection"
        self.aliases = tuple(f"{alias}Collection" for alias in element.aliases)
        self.element = element.name
        self.element_type = element
        self.widens_from = frozenset(f"{name}Collection" for name in element.widens_from)
        self.widens_to = frozenset(f"{name}Collection" for name in element.widens_to)
        self.literal_forms = "an array"
        self.media = element.media
        self.members = {"Count": Member("Int", len)}

    def holds(self, value: object) -> bool:
        if type(value) is not list:
            return False
        holds = self.element_type.holds
        return all(item is None or holds(item) for item in value)

    def coerce(self, value: object) -> object:
        return self._each(value, self.element_type.coerce)

    def literal(self, value: object) -> object:
        return self._each(value, self.element_type.literal)

    def adopt(self, value: object, blobs: Any) -> object:
        return self._each(value, lambda item: self.element_type.adopt(item, blobs))

    def _each(self, value: object, convert: Callable[[object], object]) -> object:
        if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
            raise ValueError(f"{describe(value)} is no {self.name}: an array is needed")
        result: list[object] = []
        for position, item in enumerate(value):
            try:
                result.append(None if item is None else convert(item))
            except ValueError as reason:
                raise ValueError(f"item {position}: {reason}") from None
            if position >= COLLECTION_ITEMS_MAX:
                raise ValueError(f"a collection holds at most {COLLECTION_ITEMS_MAX:,} items")
        return result

    def equals(self, left: Any, right: Any) -> bool:
        equal = self.element_type.equals
        if type(self.element_type).equals is ScriptType.equals:
            return same(left, right)
        return len(left) == len(right) and all(
            one is other or (one is not None and other is not None and equal(one, other))
            for one, other in zip(left, right, strict=True)
        )

    def text(self, value: Any) -> str:
        return "[" + ", ".join(quote_text(item, self.element_type) for item in value) + "]"


def describe(value: object) -> str:
    """A value in an error message: its kind and, where short, its text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the string "{value}"' if len(value) <= 40 else f'the string "{value[:37]}..."'
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    if isinstance(value, (int, float)):
        return repr(value) if abs(value) < 1e40 else f"{value:.3e}"
    if isinstance(value, (list, tuple)):
        kind = "an array" if isinstance(value, list) else "a tuple"
        return f"{kind} of {len(value)} items"
    return f"a value of type {type(value).__name__}"
