"""Builds a small animated `.blend` through Blender: balls of many colours running through a standing metal ring.

Decides what is to be seen; the film loops over its frames and needs no textures, add-ons or scripts.
"""

from __future__ import annotations

import colorsys
import math
from pathlib import Path
from typing import Any

from meshwit.plugins.blender.session import blender, forget, plain, quiet_stdout

BALLS = 9
ORBIT_RADIUS = 1.55
RING_RADIUS = 1.15


def build_demo_scene(
    path: str | Path, frames: int = 48, width: int = 320, height: int = 180, samples: int = 16
) -> Path:
    """Saves the demo scene, for Cycles, frames 1 to `frames` at 24 per second.

    Args:
        path: of the `.blend` to write.
        frames: length of the loop, at least 2.
        width: pixels.
        height: pixels.
        samples: Cycles' light paths per pixel.

    Returns:
        The absolute path.

    Raises:
        ValueError: fewer than 2 frames, or a path that cannot be written.
    """
    if frames < 2:
        raise ValueError(f"an animation has at least 2 frames, got {frames}")
    target = Path(path).resolve()
    bpy = blender()
    forget()
    with quiet_stdout():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        # Keys made from here on are linear: the loop has no eased start or end to stumble over.
        bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
        scene = bpy.context.scene
        scene.frame_start, scene.frame_end = 1, frames
        scene.render.fps = 24
        scene.render.engine = "CYCLES"
        scene.render.resolution_x, scene.render.resolution_y = width, height
        scene.cycles.samples = samples
        scene.cycles.max_bounces = 4
        scene.cycles.caustics_reflective = False
        scene.view_settings.view_transform = "Standard"
        _surroundings(bpy, scene)
        _ring(bpy, scene, frames)
        _balls(bpy, scene, frames)
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(target), compress=True, check_existing=False)
        except RuntimeError as error:
            raise ValueError(f"cannot write {target}: {plain(error)}") from error
    return target


def _surroundings(bpy: Any, scene: Any) -> None:
    world = bpy.data.worlds.new("sky")
    scene.world = world
    if world.node_tree is None:  # until 4.5
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (0.52, 0.60, 0.75, 1)
    background.inputs["Strength"].default_value = 0.55
    bpy.ops.mesh.primitive_plane_add(size=600)
    bpy.context.object.data.materials.append(_material(bpy, "floor", (0.35, 0.36, 0.40), roughness=0.6))
    lamp = bpy.data.lights.new("key", "AREA")
    lamp.energy, lamp.size = 900, 5
    lamp_object = _placed(bpy, scene, "key", lamp, (-4, -4, 7))
    camera = bpy.data.cameras.new("camera")
    camera.lens = 42
    scene.camera = _placed(bpy, scene, "camera", camera, (2.6, -7.4, 3.7))
    middle = _placed(bpy, scene, "middle", None, (0, 0, 1.05))
    for watcher in (lamp_object, scene.camera):
        track = watcher.constraints.new("TRACK_TO")
        track.target = middle


def _ring(bpy: Any, scene: Any, frames: int) -> None:
    bpy.ops.mesh.primitive_torus_add(
        location=(0, 0, 1.45), major_radius=RING_RADIUS, minor_radius=0.2, major_segments=96, minor_segments=32
    )
    ring = bpy.context.object
    ring.name = "ring"
    bpy.ops.object.shade_smooth()
    ring.data.materials.append(_material(bpy, "gold", (1.0, 0.71, 0.29), roughness=0.18, metallic=1.0))
    for frame, turn in ((1, 0.0), (frames + 1, math.pi)):  # a torus looks the same after half a turn
        ring.rotation_euler = (math.pi / 2, 0, turn)
        ring.keyframe_insert("rotation_euler", frame=frame)


def _balls(bpy: Any, scene: Any, frames: int) -> None:
    carrier = _placed(bpy, scene, "carrier", None, (0, 0, 0))
    for i in range(BALLS):
        angle = 2 * math.pi * i / BALLS
        place = (ORBIT_RADIUS * math.cos(angle), ORBIT_RADIUS * math.sin(angle), 0.36)
        bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, radius=0.36, location=place)
        ball = bpy.context.object
        ball.name = f"ball {i}"
        bpy.ops.object.shade_smooth()
        red, green, blue = colorsys.hsv_to_rgb(i / BALLS, 0.85, 0.9)
        ball.data.materials.append(_material(bpy, ball.name, (red**2.2, green**2.2, blue**2.2), roughness=0.15))
        ball.parent = carrier
    for frame, turn in ((1, 0.0), (frames + 1, 2 * math.pi)):
        carrier.rotation_euler = (0, 0, turn)
        carrier.keyframe_insert("rotation_euler", frame=frame)


def _placed(bpy: Any, scene: Any, name: str, data: Any, location: tuple[float, float, float]) -> Any:
    made = bpy.data.objects.new(name, data)
    made.location = location
    scene.collection.objects.link(made)
    return made


def _material(bpy: Any, name: str, colour: tuple[float, float, float], roughness: float, metallic: float = 0.0) -> Any:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # until 4.5
        material.use_nodes = True
    surface = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    surface.inputs["Base Color"].default_value = (*colour, 1)
    surface.inputs["Roughness"].default_value = roughness
    surface.inputs["Metallic"].default_value = metallic
    return material
