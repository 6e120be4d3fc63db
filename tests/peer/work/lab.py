"""A controller for tests of engines: activities that say where and when they ran. Imported inside worker processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from meshwit.plugins import Blob, Context, Controller, Double, Int, Object, String, activity
from meshwit.plugins.matrices.controller import Vector


class Lab(Controller):
    """Says where and when it ran."""

    @activity
    def Where(self, x: Int, seconds: Double) -> String:
        """The worker process that ran it, by its parent, which is what tells peers of one process apart."""
        time.sleep(seconds)
        return f"{x} {os.getpid()}"

    @activity
    def Note(self, x: Int, path: String, seconds: Double) -> Int:
        """Appends its argument to a file before it works."""
        with open(path, "ab") as file:
            file.write(f"{x} {os.getpid()}\n".encode())
        time.sleep(seconds)
        return x * x

    @activity
    def NoteAndWait(self, x: Int, folder: String, gate: String) -> Int:
        """Leaves a file of its own, named by its argument and its process, and waits for another one."""
        (Path(folder) / f"{x} {os.getpid()}").touch()
        while not os.path.exists(gate):
            time.sleep(0.005)
        return x

    @activity
    def Pass(self, x: Int, path: String, gate: String) -> Int:
        """Appends its argument to a file, and waits until the number in another one is greater."""
        self.Note(x, path, 0.0)
        while int(Path(gate).read_text() or 0) <= x:
            time.sleep(0.005)
        return x * x

    @activity
    def Twice(self, v: Vector) -> Vector:
        """Every element doubled."""
        return np.asarray(v) * 2

    @activity
    def Element(self, v: Vector, x: Int, folder: String, gate: String) -> Double:
        """An element of a vector, after it has waited like `NoteAndWait`."""
        self.NoteAndWait(x, folder, gate)
        return float(np.asarray(v)[x])

    @activity
    def Text(self, x: Int, size: Int) -> String:
        """A text of so many letters."""
        return str(x % 10) * size

    @activity
    def Make(self, context: Context, x: Int) -> Blob:
        """A blob, kept in the store of the peer that made it."""
        return context.blobs.put(f"blob {x} ".encode() * 20_000)

    @activity
    def Length(self, blob: Blob) -> Int:
        """How many bytes a blob has, all read."""
        return len(blob.read())

    @activity(local=True)
    def Own(self, path: String) -> String:
        """For the leader's own device."""
        Path(path).touch()
        return path

    @activity(local=True)
    def Roots(self, context: Context, x: Int) -> String:
        """The folders that it may use."""
        return ",".join(str(root) for root in context.roots)

    @activity
    def Granted(self, context: Context, x: Int) -> String:
        """The folders that it may use; wherever it runs."""
        return ",".join(str(root) for root in context.roots)

    @activity
    def Anything(self, x: Object) -> Object:
        """What it was given."""
        return x
