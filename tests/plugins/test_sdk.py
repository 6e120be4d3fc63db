"""The controller SDK: what a class with annotated methods becomes, and what is told about one that is wrong."""

from __future__ import annotations

import decimal
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from calling import Desk

from meshwit.lang.offer import Parameter
from meshwit.lang.types import Member, ScriptType
from meshwit.plugins import (
    Bool,
    Context,
    Controller,
    Int,
    IntCollection,
    Object,
    Operator,
    Script,
    String,
    WireType,
    activity,
)
from meshwit.plugins.registry import ControllerClash, Registry, load_controller
from meshwit.plugins.variables import Variables


class Primes(Controller):
    """Prime numbers."""

    @activity
    def Count(self, start: Int, stop: Int) -> Int:
        """How many primes lie in [start, stop)."""
        return sum(1 for number in range(start, stop) if self.IsPrime(number))

    @activity(inline=True)
    def IsPrime(self, number: Int) -> Bool:
        """Whether a number is prime."""
        return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))

    @activity
    def Below(self, stop: Int) -> IntCollection:
        """All primes below a number."""
        return [number for number in range(stop) if self.IsPrime(number)]


def activity_of(controller: Controller, name: str) -> Any:
    return Registry([controller]).offer.activities[name]


def types_of(controller: Controller, name: str, form: int = 0) -> list[str]:
    return [one.type for one in activity_of(controller, name).forms[form].parameters]


def test_twenty_lines_make_a_useful_controller(tmp_path: Path) -> None:
    assert len(inspect.getsource(Primes).strip().splitlines()) <= 20
    desk = Desk(tmp_path, Primes())
    assert desk("Primes.Count", 0, 100) == 25
    assert desk("Primes.Below", 12) == [2, 3, 5, 7, 11]
    assert desk("Primes.IsPrime", 91) is False
    count = desk.offer.activities["Primes.Count"]
    assert count.doc == "How many primes lie in [start, stop)."
    assert count.forms[0].parameters == (Parameter("start", "Int"), Parameter("stop", "Int"))
    assert count.forms[0].returns == "Int"
    assert count.controller == "test_sdk:Primes"


# --- annotations -------------------------------------------------------------------------------------------------


class Plain(Controller):
    """Python's own types as annotations."""

    @activity
    def Many(
        self, a: bool, b: int, c: float, d: str, e: list[int], f: Sequence[float], g: Any, h: decimal.Decimal
    ) -> int:
        """All of them."""
        return 0

    @activity
    def Rest(self, first: tuple, *others: list[list[str]], last: str | None = None) -> list[Any]:
        """Further kinds."""
        return []

    @activity
    def Nothing(self, x: Annotated[int, "about x", Script("Byte")]) -> None:
        """Has no value."""


def test_python_types_are_script_types() -> None:
    expected = "Bool Long Double String IntCollection DoubleCollection Object Decimal".split()  # noqa: SIM905
    assert types_of(Plain(), "Plain.Many") == expected
    assert activity_of(Plain(), "Plain.Many").forms[0].returns == "Int"
    assert types_of(Plain(), "Plain.Nothing") == ["Byte"]
    assert activity_of(Plain(), "Plain.Nothing").forms[0].returns is None
    form = activity_of(Plain(), "Plain.Rest").forms[0]
    first, others, last = form.parameters
    assert (first.type, first.optional, first.rest) == ("Tuple", False, False)
    assert (others.type, others.rest) == ("StringCollectionCollection", True)
    assert (last.type, last.optional, last.default) == ("String", True, None)
    assert form.returns == "Array"


class NoAnnotation(Controller):
    @activity
    def Run(self, x) -> Int:
        return x


class NoReturn(Controller):
    @activity
    def Run(self, x: Int):
        return x


class UnknownType(Controller):
    @activity
    def Run(self, x: complex) -> Int:
        return 0


class UnknownReturn(Controller):
    @activity
    def Run(self) -> set[int]:
        return set()


class TwoTypes(Controller):
    @activity
    def Run(self, x: int | str) -> Int:
        return 0


class NoSuchName(Controller):
    @activity
    def Run(self, x: Strng) -> Int:  # noqa: F821
        return 0


class NoneAsType(Controller):
    @activity
    def Run(self, x: None) -> Int:
        return 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (NoAnnotation, "NoAnnotation.Run: parameter `x` has no annotation"),
        (NoReturn, "NoReturn.Run: what it returns has no annotation"),
        (UnknownType, "UnknownType.Run: parameter `x`: .*complex.* is no script type: annotate with"),
        (UnknownReturn, r"UnknownReturn.Run: what it returns: set\[int\] is no script type"),
        (TwoTypes, "TwoTypes.Run: parameter `x`: .* is more than one type: use one of them, or Object"),
        (NoSuchName, "NoSuchName.Run: an annotation cannot be read: name 'Strng' is not defined"),
        (NoneAsType, "NoneAsType.Run: parameter `x` is annotated as None"),
    ],
)
def test_a_wrong_annotation_is_told_with_method_and_parameter(wrong: type[Controller], reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Registry([wrong()])


# --- forms and names ---------------------------------------------------------------------------------------------


class Shapes(Controller):
    """Forms, names and properties."""

    prefix = "Shape"

    @activity(name="Shape.Area", inline=True)
    def square(self, side: Int) -> Int:
        """The area of a square or a rectangle."""
        return side * side

    @activity(name="Shape.Area")
    def rectangle(self, width: Int, height: Int) -> Int:
        """The area of a rectangle."""
        return width * height

    @activity(name="Shape.Area")
    def named(self, name: String) -> String:
        """The area of something with a name."""
        return f"area of {name}"

    @activity(aliases=("ShapeName", "Named"), timeout_s=3.5, requires="gpu.cuda", once=True, exclusive=True)
    def Name(self, sides: Int = 4) -> String:
        """Its name."""
        return {3: "triangle", 4: "square"}.get(sides, "polygon")


def test_methods_of_one_name_are_forms_in_order(tmp_path: Path) -> None:
    area = activity_of(Shapes(), "Shape.Area")
    assert [[one.type for one in form.parameters] for form in area.forms] == [["Int"], ["Int", "Int"], ["String"]]
    assert [form.returns for form in area.forms] == ["Int", "Int", "String"]
    assert area.doc.startswith("The area of a square")
    assert area.inline
    desk = Desk(tmp_path, Shapes())
    assert (desk("Shape.Area", 3), desk("Shape.Area", 3, 4), desk("Shape.Area", "x")) == (9, 12, "area of x")


def test_properties_and_aliases_reach_the_offer() -> None:
    offer = Registry([Shapes()]).offer
    name = offer.activities["Shape.Name"]
    assert (name.timeout_s, name.requires, name.once, name.exclusive) == (3.5, "gpu.cuda", True, True)
    assert [name.inline, name.local, name.volatile, name.missing] == [False, False, False, ""]
    assert offer.activities["Named"] is offer.activities["ShapeName"] is name
    assert name.forms[0].parameters == (Parameter("sides", "Int", optional=True, default=4),)


class Shape(Controller):
    """Claims a name that another has."""

    @activity
    def Area(self, side: Int) -> Int:
        """The same name."""
        return side


class Aliased(Controller):
    """Claims it by an alias."""

    @activity(aliases=("Shape.Area",))
    def Other(self, side: Int) -> Int:
        """Another name."""
        return side


@pytest.mark.parametrize("other", [Shape, Aliased])
def test_two_controllers_that_claim_one_name_are_both_named(other: type[Controller]) -> None:
    with pytest.raises(ControllerClash) as caught:
        Registry([Shapes(), other()])
    assert str(caught.value) == (
        f"`Shape.Area` is claimed by two controllers, test_sdk:Shapes and test_sdk:{other.__name__}: uninstall one"
    )


def test_the_same_controller_twice_is_one() -> None:
    assert list(Registry([Shapes(), Shapes()]).controllers) == ["test_sdk:Shapes"]


def test_controllers_are_found_by_reference() -> None:
    assert isinstance(load_controller("meshwit.plugins.text:Text"), Controller)
    with pytest.raises(TypeError, match=r"meshwit\.plugins\.text:decode_text is no controller"):
        load_controller("meshwit.plugins.text:decode_text")
    with pytest.raises(ImportError):
        load_controller("meshwit.nothing:Nothing")


# --- what is not installed, and the device -----------------------------------------------------------------------


class Needy(Controller):
    """Needs what nobody has."""

    modules = ("json", "no_such_module_anywhere")
    extra = "needs"
    distribution = "meshwit-needy"

    @activity
    def Run(self) -> Int:
        """Cannot run."""
        return 0


class Alone(Needy):
    """The same without an extra."""

    extra = ""
    modules = ("no_such_module", "nor_this")


class Contented(Needy):
    """Needs what is there."""

    modules = ("json",)


def test_a_missing_extra_is_known_by_name_and_says_what_to_install() -> None:
    assert activity_of(Needy(), "Needy.Run").missing == "pip install 'meshwit-needy[needs]'"
    assert activity_of(Alone(), "Alone.Run").missing == "pip install no_such_module nor_this"
    assert activity_of(Contented(), "Contented.Run").missing == ""


class Notes(Controller):
    """Uses the device."""

    @activity
    def Keep(self, text: String, context: Context, times: Int = 1) -> String:
        """Keeps a text; the parameter for the device may stand anywhere."""
        return context.blobs.put((text * times).encode()).hash

    @activity
    def Plain(self, text: String) -> String:
        """Does without."""
        return text


def test_scripts_do_not_see_the_context(tmp_path: Path) -> None:
    registry = Registry([Notes()])
    keep = registry.offer.activities["Notes.Keep"].forms[0]
    assert [one.name for one in keep.parameters] == ["text", "times"]
    assert registry.implementations["Notes.Keep", 0].takes_context
    assert not registry.implementations["Notes.Plain", 0].takes_context
    desk = Desk(tmp_path, Notes())
    assert desk("Notes.Keep", "ab", 2) == desk.blobs.put(b"abab").hash


# --- types and operators -----------------------------------------------------------------------------------------


class Money:
    """Cents."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.cents == other.cents

    __hash__ = None  # type: ignore[assignment]


class MoneyType(ScriptType):
    """An amount."""

    name = "Money"
    literal_forms = '"1.50"'
    wire = WireType("Money", Money, lambda value: value.cents, Money)

    def __init__(self) -> None:
        self.members = {"Cents": Member("Int", lambda value: value.cents)}

    def holds(self, value: object) -> bool:
        return isinstance(value, Money)

    def literal(self, value: object) -> object:
        return Money(round(float(value) * 100)) if isinstance(value, str) else self.coerce(value)


MoneyValue = Annotated[Money, Script("Money")]


class Moneys(Controller):
    """Amounts."""

    prefix = "Money"
    types = (MoneyType(),)
    operators = (Operator("-", "Money", "Money", "Money", lambda a, b: Money(a.cents - b.cents)),)

    @activity(name="Money.Half")
    def half_as_text(self, amount: String) -> String:
        """Half of it, in words."""
        return f"half of {amount}"

    @activity(name="Money.Half", operator="/")
    def half(self, amount: MoneyValue, by: Int) -> MoneyValue:
        """A part of it."""
        return Money(amount.cents // by)

    @activity
    def Total(self, amounts: list[MoneyValue], ignored: Object = None) -> MoneyValue:
        """The sum."""
        return Money(sum(amount.cents for amount in amounts))


def test_a_controller_brings_types_with_collections_and_wire_forms(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Moneys())
    assert types_of(Moneys(), "Money.Total") == ["MoneyCollection", "Object"]
    assert desk("Money.Total", ["1.50", "2.25"]) == Money(375)
    assert desk.member("Money", Money(5), "Cents") == 5
    assert desk.through([Money(1), None]) == [Money(1), None]
    with pytest.raises(TypeError, match="item 1: 3 is no Money"):
        desk("Money.Total", ["1.50", 3])


def test_operators_are_evaluated_or_call_the_form_of_their_types() -> None:
    offer = Registry([Variables(), Moneys()]).offer
    minus, divide = offer.operators["-", "Money", "Money"], offer.operators["/", "Money", "Int"]
    assert minus.apply is not None
    assert minus.apply(Money(5), Money(2)) == Money(3)
    assert (divide.activity, divide.returns, divide.apply) == ("Money.Half", "Money", None)
