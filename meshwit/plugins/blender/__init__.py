"""Rendering of `.blend` files with Blender as a module: frame by frame or tile by tile."""
