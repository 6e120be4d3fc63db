"""Scheduling: which items run where, and in batches of what size."""
