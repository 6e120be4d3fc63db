"""The activities of the examiner's jobs: functions of their arguments alone, each run noted in a file.

Installed for the peers of an examination as a controller of its own; `EXAM_FOLDER` says where they note.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from meshwit.plugins import Controller, Int, String, activity

SHORT_S = 0.012
"""Most calls take up to this."""
LONG_S = 0.12
"""One in twelve takes this."""


def _noted(tag: int, site: int, *arguments: object) -> None:
    """Note that a call begins, then take as long as it takes: the same for the same call, everywhere."""
    text = f"{tag} {site} {' '.join(map(str, arguments))}"
    with open(Path(os.environ["EXAM_FOLDER"]) / "notes", "ab") as file:
        file.write(f"{text}\n".encode())
    length = hashlib.sha256(text.encode()).digest()
    time.sleep(LONG_S if length[0] % 12 == 0 else SHORT_S * length[1] / 255)


class Exam(Controller):
    """Each call names its job (`tag`) and its place in the script (`site`)."""

    @activity
    def Add(self, tag: Int, site: Int, a: Int, b: Int) -> Int:
        """The sum, kept small."""
        _noted(tag, site, a, b)
        return (a + b) % 97

    @activity
    def Half(self, tag: Int, site: Int, a: Int) -> Int:
        """Half of an even number; an odd one fails."""
        _noted(tag, site, a)
        if a % 2:
            raise ValueError(f"{a} is odd")
        return a // 2

    @activity
    def Unless(self, tag: Int, site: Int, a: Int, bad: Int) -> Int:
        """Fails for one number alone."""
        _noted(tag, site, a, bad)
        if a == bad:
            raise ValueError(f"{a} is bad")
        return (a * 7 + bad) % 97

    @activity
    def Second(self, tag: Int, site: Int, a: Int) -> Int:
        """Fails whenever it runs for the first time, on whatever peer that is."""
        _noted(tag, site, a)
        try:
            os.close(os.open(Path(os.environ["EXAM_FOLDER"]) / f"first-{tag}-{site}-{a}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return (a * 5 + 1) % 97
        raise ValueError("this is the first time")

    @activity
    def Echo(self, tag: Int, site: Int, a: Int, text: String) -> String:
        """What it is given."""
        _noted(tag, site, a)
        return text
