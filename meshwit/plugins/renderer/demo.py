"""The built-in animated scene: a trefoil knot of glossy beads turning around a golden ball.

Decides what is to be seen at a moment of the loop; knows nothing of frames, pixels or samples. Everything is a
smooth function of `time` with period 1, so a film of any number of frames closes on itself: the beads slide along
the knot by whole bead spacings, the knot turns by 120 degrees, which maps its three lobes onto each other.
The result is a plain dictionary in the form `mitsuba.load_dict` takes; transforms are built with the `mitsuba`
module that the caller hands in.
"""

from __future__ import annotations

import colorsys
import math
from typing import Any

BEADS = 63
SPACINGS_PER_LOOP = 3
KNOT_RADIUS = 1.0
BEAD_RADIUS = 0.2
KNOT_HEIGHT = 1.2
BALL_RADIUS = 0.6
BALL_HEIGHT = 1.3

Colour = tuple[float, float, float]
Point = tuple[float, float, float]


def knot(u: float, turn: float) -> Point:
    """A point of the trefoil knot, z up, its middle at the origin.

    Args:
        u: place along the curve, period 1.
        turn: rotation about the z axis, radians.
    """
    a = 2 * math.pi * u
    ring = KNOT_RADIUS * (1.45 + 0.62 * math.cos(3 * a))
    return ring * math.cos(2 * a + turn), ring * math.sin(2 * a + turn), 0.62 * math.sin(3 * a)


def palette(u: float) -> Colour:
    """Linear RGB along the knot: three times around a warm to cool range, so that each lobe looks like the others."""
    phase = 0.5 - 0.5 * math.cos(2 * math.pi * 3 * u)
    hue = 0.09 - 0.52 * phase
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, 0.86, 0.9)
    return red**2.2, green**2.2, blue**2.2


def beads(time: float) -> list[tuple[Point, Colour]]:
    """Centre and colour of each bead at `time`; the set at time 1 is the set at time 0."""
    placed = []
    for i in range(BEADS):
        u = (i + SPACINGS_PER_LOOP * time) / BEADS
        placed.append((knot(u, turn=2 * math.pi / 3 * time), palette(u)))
    return placed


def demo_scene(mi: Any, time: float) -> dict[str, Any]:
    """The scene at `time` (period 1) without film and sampler, which belong to the caller.

    Args:
        mi: the `mitsuba` module with its variant set.
        time: place in the loop, 0 at its start and 1 at its end.
    """
    transform = mi.ScalarTransform4f
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 3},
        "sensor": {
            "type": "perspective",
            "fov": 36,
            "fov_axis": "x",
            "to_world": transform().look_at(origin=[0.0, -7.0, 4.6], target=[0.0, 0.0, 1.0], up=[0, 0, 1]),
        },
        "sky": {"type": "constant", "radiance": _rgb((0.52, 0.59, 0.72))},
        "key": _lamp(transform, origin=[-5.0, -3.0, 7.5], size=3.4, radiance=(5.6, 4.8, 3.8)),
        "floor": {
            "type": "disk",
            "to_world": transform().scale(40.0),
            "bsdf": {"type": "diffuse", "reflectance": _rgb((0.42, 0.43, 0.47))},
        },
        "ball": {
            "type": "sphere",
            "center": [0.0, 0.0, BALL_HEIGHT + 0.16 * math.sin(2 * math.pi * time)],
            "radius": BALL_RADIUS,
            "bsdf": {"type": "roughconductor", "material": "Au", "alpha": 0.09},
        },
    }
    for i, ((x, y, z), colour) in enumerate(beads(time)):
        scene[f"bead{i:02}"] = {
            "type": "sphere",
            "center": [x, y, z + KNOT_HEIGHT],
            "radius": BEAD_RADIUS,
            "bsdf": {"type": "plastic", "diffuse_reflectance": _rgb(colour), "nonlinear": True},
        }
    return scene


def _lamp(transform: Any, origin: list[float], size: float, radiance: Colour) -> dict[str, Any]:
    aim = transform().look_at(origin=origin, target=[0.0, 0.0, 0.8], up=[0, 0, 1])
    return {
        "type": "rectangle",
        "to_world": aim @ transform().scale(size),
        "emitter": {"type": "area", "radiance": _rgb(radiance)},
    }


def _rgb(value: Colour) -> dict[str, Any]:
    return {"type": "rgb", "value": list(value)}
