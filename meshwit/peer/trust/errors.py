"""What goes wrong with keys and memberships on this device, and what its owner can do about it."""

from __future__ import annotations


class TrustError(Exception):
    """A key, a membership or a file of theirs cannot be used.

    Attributes:
        message: what happened, with the values.
        hint: what to do, one sentence; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.message = message
        self.hint = hint
