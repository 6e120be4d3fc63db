"""Which activities a job may call, and what it is made of, found before it runs."""

from __future__ import annotations

import meshwit
from meshwit.lang.uses import activities_used, names_used
from meshwit.plugins import Controller, Int, activity
from meshwit.plugins.grid import Grid
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Special
from meshwit.plugins.variables import Variables


class Sums(Controller):
    """Some activities."""

    @activity
    def Add(self, left: Int, right: Int) -> Int:
        """Adds."""
        return left + right

    @activity
    def Twice(self, number: Int) -> Int:
        """Doubles."""
        return 2 * number

    @activity(local=True)
    def Here(self, number: Int) -> Int:
        """Runs where the job is led."""
        return number

    @activity
    def Grow(self, number: Int) -> Int:
        """Runs in a Grid step."""
        return number + 1

    @activity
    def Unused(self, number: Int) -> Int:
        """Is called by another job."""
        return number


REGISTRY = Registry([Variables(), Special(), Grid(), Sums()])
SCRIPT = """
Job:Main(IntCollection:numbers)
{
    Int:a = Other(1);
    If (a > 1 && Sums.Here(2) == 2)
    {
        a = Sums.Add(Sums.Twice(a), Sums.Twice(3) + 1);
    }
    IntCollection:all = Grid.ForEach(number in numbers) => Sums.Grow(number);
}

Job:Other(Int:number)
{
    Int:last = Sums.Unused(number);
}

Job:Third()
{
    Int:a = 1 + 2;
}
"""


def test_calls_in_conditions_arguments_blocks_and_arrows_count_and_those_of_jobs_called():
    program = meshwit.compile(SCRIPT, registry=REGISTRY)

    assert activities_used(program, "Main") == ["Sums.Unused", "Sums.Add", "Sums.Twice", "Sums.Grow"]


def test_local_and_control_activities_do_not_count():
    """They are placed on no peer."""
    used = activities_used(meshwit.compile(SCRIPT, registry=REGISTRY), "Main")

    assert not {"Sums.Here", "If", "Grid.ForEach"} & set(used)


def test_jobs_that_are_not_called_do_not_count():
    program = meshwit.compile(SCRIPT, registry=REGISTRY)

    assert activities_used(program, "Other") == ["Sums.Unused"]
    assert activities_used(program, "Third") == []


def test_all_that_a_job_is_made_of_is_named_whoever_runs_it():
    """Also the types of constants and of items, and what runs where the job is led."""
    script = """
    Job:Main(IntCollection:numbers)
    {
        Int:first = numbers[0];
        If (Sums.Here(2) > 1.5)
        {
            Other();
        }
    }

    Job:Other()
    {
        Return("text");
    }

    Job:Third()
    {
        Int:a = Sums.Add(1, 2);
    }
    """
    used = names_used(meshwit.compile(script, registry=REGISTRY), "Main")

    assert used == {"If", "Return", "Sums.Here", "Int", "IntCollection", "Double", "Bool", "String", "Object"}
