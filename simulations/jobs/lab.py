"""The activities of simulated jobs. What they give follows from their arguments, and for `Draw` from which run of the
task it was: so that results of one run cannot pass for those of another."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

from meshwit.lang import program as ir
from meshwit.lang.checker import compile_script
from meshwit.peer.job.software import Owner
from meshwit.plugins import Controller, Int, String, activity
from meshwit.plugins.grid import Grid
from meshwit.plugins.registry import Registry
from meshwit.plugins.special import Parallel, Special, Transform
from meshwit.plugins.variables import Variables
from simulations.jobs.codec import PlainCodec

DRAWN: Final = 100_000
"""What `Draw` gives is the number of its run times this, and its argument."""
FRAIL: Final = 5


class Lab(Controller):
    """What simulated jobs do.

    Attributes:
        run: the number of the run that is being computed.
    """

    run = 0

    @activity
    def Square(self, x: Int) -> Int:
        """The same for all."""
        return x * x

    @activity
    def Add(self, x: Int, y: Int) -> Int:
        """The same for all."""
        return x + y

    @activity
    def Draw(self, x: Int) -> Int:
        """Another value each time."""
        return self.run * DRAWN + x

    @activity
    def Tag(self, x: Int, text: String) -> String:
        """Shows what was captured."""
        return f"{x} {text}"

    @activity
    def Frail(self, x: Int) -> Int:
        """Fails for some."""
        if x % FRAIL == 2:
            raise ValueError("it is frail")
        return x

    @activity(once=True)
    def Send(self, x: Int) -> Int:
        """Must not happen twice."""
        return x + 1

    @activity(inline=True, volatile=True)
    def Stamp(self) -> Int:
        """Another value each time; simulated peers answer it themselves."""
        return 0


LAB: Final = Lab()
BUILT_IN: Final = (Variables(), Special(), Parallel(), Transform(), Grid())
REGISTRY: Final = Registry([*BUILT_IN, LAB])
REGISTRY_WITHOUT: Final = Registry(BUILT_IN)
"""Of a peer that lacks the controller."""
OFFER: Final = REGISTRY.offer
CODEC: Final = PlainCodec()
VERSION: Final = "1.0.0"
"""Of the controller that jobs are submitted for."""
OTHER_VERSIONS: Final = ("1.1.0", "2.0.0")
LAB_REFERENCE: Final = next(each for each, controller in REGISTRY.controllers.items() if controller is LAB)


def is_like(version: str) -> bool:
    """Whether a version of the controller gives the results that jobs want."""
    return version.startswith("1.")


@cache
def controllers_of(version: str) -> dict[str, str]:
    """The controllers of a device that has this version of the lab's."""
    return dict.fromkeys(REGISTRY.controllers, VERSION) | {LAB_REFERENCE: version}


@cache
def owners_of(version: str) -> dict[str, Owner]:
    """The same, by what they own."""
    controllers = controllers_of(version)
    return {name: Owner(reference, controllers[reference]) for name, reference in REGISTRY.owners.items()}


@lru_cache(maxsize=512)
def compiled(text: str) -> ir.Program:
    """A script, checked."""
    return compile_script(text, OFFER)


def function_of(name: str, form: int) -> Callable[..., Any]:
    """What computes a form of an activity."""
    function = OFFER.implementation(name, form)
    if function is None:
        raise KeyError(name)
    return function


def otherwise(value: Any) -> Any:
    """What another version gives where the one that jobs want gives this."""
    return value + 1 if isinstance(value, int) else f"{value}!"
