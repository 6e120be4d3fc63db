"""Ratios against other tools, measured in the same run."""
