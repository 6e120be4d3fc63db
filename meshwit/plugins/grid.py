"""Grid: one call over many items, on every capable peer."""

from __future__ import annotations

from meshwit.lang import control
from meshwit.lang.control import Control
from meshwit.plugins.annotations import Arrow, Each
from meshwit.plugins.controller import Controller, composite
from meshwit.plugins.variables.controller import Options
from meshwit.plugins.variables.options import ProcessingOptions

DEFAULTS = ProcessingOptions()


class Grid(Controller):
    """Work spread over the mesh."""

    @composite()
    def ForEach(self, each: Each, arrow: Arrow, options: Options = DEFAULTS) -> Control:
        """Applies a call to every item on every capable peer; gives the results in the order of the items."""
        return (yield control.Spread(arrow, each, options))
