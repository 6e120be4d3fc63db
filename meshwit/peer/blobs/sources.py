"""One source of a fetch: what it has, what it owes, and how much may be asked of it at once. Core."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from meshwit.ids import PeerId
from meshwit.peer.blobs.settings import BlobSettings

Mask = npt.NDArray[np.bool_]
GAIN: Final = 0.25
"""Weight of the newest latency in the smoothed one."""


class Source:
    """What a fetch knows of a peer that has, or will have, chunks.

    Attributes:
        named: given by who wanted the blob, not learned from others.
        whole: it says that it has everything.
        digest: of its manifest, empty where not known.
        has: the chunks it has; None until it answered.
        asked: chunks it owes, and since when.
        late: chunks it was asked for and no longer owes, and since when; they may still come, and tell how slow it is.
        ever: all chunks it was asked for; one that was given up and asked again may come twice.
        answer_since: when it was asked what it has, or for hashes; None if it owes no answer.
        out: why it is not asked any more; empty while it is.
    """

    def __init__(self, peer: PeerId, named: bool, now: float, settings: BlobSettings) -> None:
        self.peer = peer
        self.named = named
        self.whole = False
        self.digest = b""
        self.has: Mask | None = None
        self.asked: dict[int, float] = {}
        self.late: dict[int, float] = {}
        self.ever: set[int] = set()
        self.answer_since: float | None = None
        self.asked_at = -1e9
        self.heard_at = now
        self.paused_until = 0.0
        self.busy_until = 0.0
        self.silences = 0
        self.out = ""
        self.absent = False
        self.window = float(settings.window_first)
        self.latency = 0.0
        self._settings = settings

    @property
    def first(self) -> bool:
        """Whether it is a holder to spare: one whose upload all others depend on."""
        return self.named and self.whole

    def usable(self, now: float) -> bool:
        """Whether anything may be asked of it."""
        return not self.out and now >= self.paused_until

    @property
    def room(self) -> int:
        """How many chunks more it may be asked for."""
        return int(self.window) - len(self.asked)

    def heard(self, now: float) -> None:
        """It said something."""
        self.heard_at = now
        self.silences = 0
        self.paused_until = 0.0

    def ask(self, index: int, now: float) -> None:
        """It owes a chunk."""
        self.asked[index] = now
        self.ever.add(index)
        self.late.pop(index, None)

    def gave(self, index: int, now: float) -> None:
        """A chunk came; the window follows the latency, so that queues on the way stay short."""
        late = self.late.pop(index, None)
        since = self.asked.pop(index, late)
        if since is None:
            return
        took = now - since
        self.latency = took if not self.latency else self.latency + GAIN * (took - self.latency)
        if took < self._settings.latency_low_s:
            self.window = min(self.window + 1, self._settings.window_max)
        elif took > self._settings.latency_high_s:
            self.window = max(1.0, self.window * 0.8)

    def shrink(self) -> None:
        """It could not follow."""
        self.window = max(1.0, self.window / 2)

    @property
    def patience_s(self) -> float:
        """How long it may be silent."""
        return max(self._settings.silence_s, 4 * self.latency)

    def silent(self, now: float) -> bool:
        """Whether it owes something and has said nothing for too long."""
        owed = [*self.asked.values()] if self.answer_since is None else [self.answer_since, *self.asked.values()]
        return bool(owed) and now - max(self.heard_at, min(owed)) > self.patience_s

    def set_aside(self, now: float) -> list[int]:
        """Leave it alone for a while; gives the chunks that are now to be asked elsewhere."""
        self.paused_until = now + min(self._settings.pause_s * 2**self.silences, self._settings.pause_max_s)
        self.silences = min(self.silences + 1, 16)
        self.answer_since = None
        self.shrink()
        return self.release()

    def release(self) -> list[int]:
        """It owes no chunk any more; gives those that it did."""
        owed = list(self.asked)
        self.late.update(self.asked)
        self.asked.clear()
        return owed

    def overdue(self, now: float) -> list[int]:
        """Chunks it owes for very long though it gives others; they are not owed any more."""
        late = [index for index, since in self.asked.items() if now - since > 2 * self.patience_s]
        for index in late:
            self.late[index] = self.asked.pop(index)
        return late
