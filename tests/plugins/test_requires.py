"""What activities require: the decorators, and how they join."""

from __future__ import annotations

import pytest

from meshwit.plugins import (
    Controller,
    Int,
    activity,
    composite,
    requires,
    requires_cpu,
    requires_gpu,
    requires_memory,
    requires_os,
)
from meshwit.plugins.controller import read_controller


def requirement(controller: type[Controller], name: str) -> str:
    found = {one.name: one.requires for one in read_controller(controller())[0]}
    return found[name]


class Site(Controller):
    """Activities that ask for something."""

    @requires("site == 'berlin'")
    @activity
    def Above(self) -> Int:
        """The decorator stands above."""
        return 1

    @activity(requires="gpu.cuda")
    @requires_memory(min="8GiB")
    @requires_cpu(min_logical_cores=8)
    @requires("a or b")
    def Many(self) -> Int:
        """Several, below `@activity`."""
        return 1

    @requires_gpu(min_vram="8GiB", features=("cuda", "metal"))
    @activity
    @requires_os("linux", "windows")
    def Around(self) -> Int:
        """On both sides."""
        return 1

    @activity
    def Free(self) -> Int:
        """Nothing."""
        return 1


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Site.Above", "site == 'berlin'"),
        ("Site.Many", "gpu.cuda and memory >= 8 GiB and cpu.cores >= 8 and (a or b)"),
        (
            "Site.Around",
            "gpu and gpu.memory >= 8 GiB and gpu.cuda and gpu.metal and (os == 'linux' or os == 'windows')",
        ),
        ("Site.Free", ""),
    ],
)
def test_conditions_join(name, wanted):
    assert requirement(Site, name) == wanted


def test_bytes_are_a_size():
    class Sized(Controller):
        """Sizes as numbers."""

        @requires_memory(2**30)
        @requires_gpu(min_vram=2**31)
        @activity
        def Run(self) -> Int:
            """Runs."""
            return 1

    assert requirement(Sized, "Sized.Run") == "memory >= 1 GiB and gpu and gpu.memory >= 2 GiB"


@requires_os("linux")
@requires_gpu(features="cuda")
class Fast(Controller):
    """Everything here needs a GPU, but for what runs at the leader."""

    @requires("gpu")
    @activity
    def Run(self) -> Int:
        """Runs."""
        return 1

    @activity(inline=True)
    def Count(self) -> Int:
        """Runs at the leader."""
        return 1


class Faster(Fast):
    """Inherits what its base requires."""

    @requires_cpu(2)
    @activity
    def Walk(self) -> Int:
        """Walks."""
        return 1


def test_a_controller_requires_for_all_its_activities():
    assert requirement(Fast, "Fast.Run") == "os == 'linux' and gpu and gpu.cuda"
    assert requirement(Fast, "Fast.Count") == ""
    assert requirement(Faster, "Faster.Walk") == "os == 'linux' and gpu and gpu.cuda and cpu.cores >= 2"


def test_forms_of_one_activity_join():
    class Shape(Controller):
        """Two forms."""

        @requires("a")
        @activity(name="Shape.Area")
        def square(self, side: Int) -> Int:
            """Of a square."""
            return side

        @activity(name="Shape.Area", requires="b")
        def rectangle(self, width: Int, height: Int) -> Int:
            """Of a rectangle."""
            return width * height

    assert requirement(Shape, "Shape.Area") == "a and b"


def broken(expression: str) -> type[Controller]:
    class Broken(Controller):
        """Cannot be read."""

        @requires(expression)
        @activity
        def Run(self) -> Int:
            """Runs."""
            return 1

    return Broken


@pytest.mark.parametrize("expression", ["memory >= and", "a or) (b", "x" * 3000])
def test_a_bad_expression_names_the_activity(expression):
    controller = broken(expression)()
    with pytest.raises(TypeError, match=r"^Broken\.Run: .*requirement"):
        read_controller(controller)


def test_a_bad_expression_of_the_activity_or_the_class():
    class Given(Controller):
        """By the option."""

        @activity(requires="memory >")
        def Run(self) -> Int:
            """Runs."""
            return 1

    with pytest.raises(TypeError, match=r"^Given\.Run: "):
        read_controller(Given())
    with pytest.raises(TypeError, match=r"^Broken\.Run: "):
        read_controller(requires("(")(broken("gpu"))())


def test_what_runs_at_the_leader_can_require_nothing():
    class Inline(Controller):
        """Asks in vain."""

        @requires("gpu")
        @activity(inline=True)
        def Run(self) -> Int:
            """Runs."""
            return 1

    class Control(Controller):
        """Asks in vain."""

        @requires("gpu")
        @composite()
        def Run(self):
            """Runs."""
            yield

    for controller in (Inline, Control):
        with pytest.raises(TypeError, match="in the leader's own process"):
            read_controller(controller())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: requires_memory("lots"), ValueError, "is no size"),
        (lambda: requires_memory("8GiB or gpu"), ValueError, "is no size"),
        (lambda: requires_memory(0), ValueError, "above 0"),
        (lambda: requires_cpu(0), ValueError, "min_logical_cores"),
        (lambda: requires_cpu(True), ValueError, "min_logical_cores"),
        (lambda: requires_gpu(features=("a b",)), ValueError, "cannot be a feature"),
        (lambda: requires_os("Linux"), ValueError, '"Linux" is no system: there are linux, windows, macos'),
        (lambda: requires_os(), ValueError, "no system is named"),
        (lambda: requires(broken), TypeError, "in quotes"),
    ],
)
def test_arguments_that_cannot_be(make, error, words):
    with pytest.raises(error, match=words):
        make()
