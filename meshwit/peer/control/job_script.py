"""What a job runs, for those who did not submit it."""

from __future__ import annotations

import msgspec


class JobScript(msgspec.Struct, frozen=True):
    """Whoever did not submit a job can tell its results and faults by that.

    Attributes:
        text: of the script; `filename` is what messages call it.
        job: its name in the script.
    """

    text: str
    filename: str
    job: str
