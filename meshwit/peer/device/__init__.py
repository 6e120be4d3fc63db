"""Peers of one user on one device: they prove that they are, and pass large buffers through memory and files."""
