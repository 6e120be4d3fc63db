"""Numbers of succession. Times are seconds of the caller's clock."""

from __future__ import annotations

from typing import Final

BEAT_S: Final = 0.25
"""A leader tells its standbys so often that it lives."""
SILENCE_S: Final = 2.5
"""Of a leader whose connection stands, until a standby takes over: a hiccup of the network or of a busy device is
shorter; a takeover that was not needed costs work, never results."""
GRACE_S: Final = 0.25
"""From the end of the connection until a standby takes over: links are replaced by better ones within less."""
BUSY_S: Final = 10.0
"""So long a leader may say nothing of its job while other things come from it: a beat is at the end of what the line
has taken already, which is 8 MiB at most."""
WAKE_S: Final = 30.0
"""After this device was suspended, until it takes over from a leader that it has not heard since: its network comes
back after some seconds, and finds the old connections ended."""
STAGGER_S: Final = 0.4
"""Each standby waits so much longer than the one before it: by then that one has said that it leads."""
KNOWN_MAX: Final = 8192
"""Jobs remembered, of which most only by who leads them."""
TIMED_MIN: Final = 32
"""Jobs for which time mattered are looked through for those for which it does no more when they are so many."""
STANDBYS_MAX: Final = 16
APPEND_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of the records of one message, where they are not longer singly."""
