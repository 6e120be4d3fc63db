"""Which controllers are installed: entry points of the group `meshwit.controllers`.

What ships with meshwit is listed here as well as in `pyproject.toml`, so that a checkout that was never installed
has its language, and a worker process need not scan all distributions to start.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from meshwit.plugins.controller import Controller
from meshwit.plugins.registry import Registry, load_controller

GROUP = "meshwit.controllers"

BUILT_IN = {
    "variables": "meshwit.plugins.variables:Variables",
    "special": "meshwit.plugins.special:Special",
    "parallel": "meshwit.plugins.special:Parallel",
    "transform": "meshwit.plugins.special:Transform",
    "grid": "meshwit.plugins.grid:Grid",
    "matrices": "meshwit.plugins.matrices:Matrices",
    "python": "meshwit.plugins.python:Python",
    "files": "meshwit.plugins.files:Files",
    "text": "meshwit.plugins.text:Text",
    "image": "meshwit.plugins.image.controller:Images",
    "video": "meshwit.plugins.video.controller:Videos",
    "renderer": "meshwit.plugins.renderer.controller:Renderer",
    "render": "meshwit.plugins.blender.controller:Render",
}


class BrokenController(Exception):  # noqa: N818 - the name says it
    """An installed controller could not be loaded: names the entry point and the cause."""


def installed_references() -> dict[str, str]:
    """Entry point name -> `module:class`, built in ones first."""
    found: dict[str, str] = dict(BUILT_IN)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        known = found.get(point.name)
        found[point.name if known in (None, point.value) else f"{point.name} ({_origin(point)})"] = point.value
    return found


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


@cache
def installed() -> Registry:
    """The registry of everything installed, made once per process.

    Raises:
        BrokenController: a controller cannot be imported.
        ControllerClash: two claim one name.
    """
    controllers: list[Controller] = []
    for name, reference in installed_references().items():
        try:
            controllers.append(load_controller(reference))
        except Exception as reason:
            raise BrokenController(f"controller `{name}` ({reference}) cannot be loaded: {reason}") from reason
    try:
        return Registry(controllers)
    except TypeError as reason:
        raise BrokenController(f"a controller cannot be used: {reason}") from reason
