"""Leading a job: from the interpreter's wishes to batches of tasks, and back to values and events."""
