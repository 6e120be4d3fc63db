"""What crossed the wire, counted."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(slots=True)
class Traffic:
    """Bytes and messages both ways, as handed to and taken from the transport (TLS and IP add to it)."""

    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0

    def received(self, size: int) -> None:
        """One message came."""
        self.bytes_in += size
        self.messages_in += 1

    def sent(self, size: int) -> None:
        """One message went."""
        self.bytes_out += size
        self.messages_out += 1

    def add(self, other: Traffic) -> None:
        """Counts another's in."""
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.messages_in += other.messages_in
        self.messages_out += other.messages_out

    def copy(self) -> Traffic:
        """As it stands now."""
        return replace(self)
