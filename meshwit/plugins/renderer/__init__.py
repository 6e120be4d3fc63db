"""Rendering on the processor with Mitsuba: an animated scene, frame by frame or tile by tile."""
