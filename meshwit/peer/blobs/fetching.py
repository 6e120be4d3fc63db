"""The fetch of one blob: which chunk is asked of whom. Core.

Rarest first: of what a source has, those chunks are asked of it that the fewest others have, ties in an order that each
fetcher shuffles for itself. A first holder (named by who wanted the blob, and whole) is asked only for what no other
source has; so fetchers that start together take different chunks from it and the rest from each other. What it says
another is about to have is waited for a while, and then insisted on.

Every chunk is compared with the manifest, the whole with the id. If the whole is not right the manifest was false: all
is thrown away and who gave it is not asked again.

Invariants: a chunk is open, owed by one source or more, being kept, or had; the rarity of a
chunk counts the usable sources with the same manifest that are no first holders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from meshwit.ids import PeerId, short
from meshwit.peer.blobs.effects import (
    CheckWhole,
    DropPart,
    Effect,
    Fetched,
    FetchFailed,
    KeepChunk,
    KeepManifest,
    Kept,
    Misbehaved,
    Send,
)
from meshwit.peer.blobs.manifest import Chance, Manifest, chunk_count
from meshwit.peer.blobs.messages import HASH_BYTES, Ask, AskHashes, Chunk, Has, Hashes, Want, Why
from meshwit.peer.blobs.picking import Picker
from meshwit.peer.blobs.settings import BlobSettings
from meshwit.peer.blobs.sources import Mask, Source

UNASKED = "sent of a blob what it was not asked for"
WHOLE_AGAIN = 4
"""A source that has everything has no news; it is asked more rarely."""
FAULTS_MAX = 3
"""So often a disk may lose chunks."""
FALSE_LIST = "gave a false list of the chunks of a blob"


class Fetch:
    """One blob on its way here. Methods append to `out` what is to be done.

    Attributes:
        manifest: None until a source gave it.
        have: the verified chunks.
        over: it has ended, in whatever way.
        news: verified chunks of which nobody was told.
        untold: nobody was told of the manifest.
    """

    def __init__(
        self,
        hash: bytes,
        size: int,
        *,
        chance: Chance,
        settings: BlobSettings,
        linked: Callable[[PeerId], bool],
        room: Callable[[], int],
        now: float,
    ) -> None:
        self.hash = hash
        self.size = size
        self.count = chunk_count(size, settings.chunk_bytes)
        self.sources: dict[PeerId, Source] = {}
        self.manifest: Manifest | None = None
        self.have: Mask = np.zeros(self.count, np.bool_)
        self.over = False
        self.news: list[int] = []
        self.untold = True
        self._settings = settings
        self._linked = linked
        self._room = room
        self._giver: Source | None = None
        self._pages = bytearray()
        self._refuted: set[bytes] = set()
        self._keeping: dict[int, Source] = {}
        self._checking = False
        self._faults = 0
        self._picker = Picker(self.count, chance, settings, now)
        self._heard_at = self._progress_at = now
        if self.count == 1:
            self.manifest = Manifest(size, hash, settings.chunk_bytes)

    # --- beginning -------------------------------------------------------------------------------------------------

    def begin(self, manifest: Manifest | None, have: Iterable[int], now: float, out: list[Effect]) -> None:
        """Starts, from what an earlier attempt left: its manifest and the chunks it has, verified again."""
        if manifest is not None and manifest.size == self.size and manifest.count == self.count:
            self.manifest = manifest
            for index in have:
                self.have[index] = True
            self._picker.open[:] = ~self.have
        elif self.manifest is not None:
            out.append(KeepManifest(self.hash, self.size, self.manifest.hashes))
        self._maybe_check(out)
        self._end_if_hopeless(now, out)

    def add(self, peer: PeerId, named: bool, now: float, out: list[Effect]) -> None:
        """A source more; or one that may now have what it had not."""
        source = self.sources.get(peer)
        if source is None:
            if len(self.sources) >= self._settings.sources_max and (not named or not self._make_room()):
                return
            source = self.sources[peer] = Source(peer, named, now, self._settings)
        elif source.absent or (named and not source.named):
            source.named = source.named or named
            if source.absent:
                source.absent, source.out = False, ""
            self._recount(now)
        if named:
            self._heard_at = max(self._heard_at, now)
        if not source.out and source.answer_since is None and now - source.asked_at > self._settings.ask_soon_s:
            self._ask(source, now, out)

    def _make_room(self) -> bool:
        for peer, source in self.sources.items():
            if not source.named and not source.ever and source is not self._giver:
                del self.sources[peer]
                return True
        return False

    def _ask(self, source: Source, now: float, out: list[Effect]) -> None:
        if not self._linked(source.peer):
            return
        source.asked_at = now
        if source.answer_since is None:
            source.answer_since = now
        out.append(Send(source.peer, Ask(self.hash, self.size)))

    # --- what sources say ------------------------------------------------------------------------------------------

    def told(self, peer: PeerId, has: Has, now: float, out: list[Effect]) -> None:
        """A source says what it has."""
        source = self.sources.get(peer)
        if source is None or source.out:
            return
        self._heard(source, now)
        source.answer_since = None
        if has.size != self.size:
            self._discharge(source, f"knows it with a size of {has.size} bytes, not {self.size}", now, out)
            return
        known = bool(has.digest)
        short_map = not has.whole and known and len(has.bitmap) != (self.count + 7) // 8
        if short_map or (known and len(has.digest) != HASH_BYTES) or (has.whole and not known):
            self._accuse(source, "said nonsense of what it has of a blob", now, out)
            return
        if has.digest in self._refuted:
            if has.whole:
                self._accuse(source, FALSE_LIST, now, out)
                return
            known = False
        source.whole = has.whole
        source.digest = has.digest if known else b""
        if has.whole:
            source.has = np.ones(self.count, np.bool_)
        elif known:
            bits = np.frombuffer(has.bitmap, np.uint8)
            source.has = np.unpackbits(bits, count=self.count).astype(np.bool_)
        else:
            source.has = np.zeros(self.count, np.bool_)
        self._recount(now)
        self._seek_manifest(now, out)
        self._plan(source, now, out)

    def got(self, peer: PeerId, indexes: Sequence[int], now: float, out: list[Effect]) -> None:
        """A source has more chunks."""
        source = self.sources.get(peer)
        if source is None or source.out or source.has is None:
            return
        if any(index >= self.count for index in indexes):
            self._accuse(source, "has chunks that a blob does not", now, out)
            return
        self._heard(source, now)
        new = [index for index in set(indexes) if not source.has[index]]
        source.has[new] = True
        if self._counts(source, now):
            self._picker.rarity[new] += 1
        for index in new:
            self._picker.deferred.pop(index, None)
        self._plan(source, now, out)

    def page(self, peer: PeerId, hashes: Hashes, now: float, out: list[Effect]) -> None:
        """A part of the manifest."""
        source = self.sources.get(peer)
        if source is None or source is not self._giver or self.manifest is not None:
            return
        self._heard(source, now)
        source.answer_since = None
        if hashes.first * HASH_BYTES != len(self._pages):
            return
        missing = self.count * HASH_BYTES - len(self._pages)
        if not hashes.hashes or len(hashes.hashes) % HASH_BYTES or len(hashes.hashes) > missing:
            self._accuse(source, FALSE_LIST, now, out)
            return
        self._pages += hashes.hashes
        self._progress_at = now
        if len(hashes.hashes) < missing:
            self._ask_page(source, now, out)
            return
        manifest = Manifest(self.size, bytes(self._pages), self._settings.chunk_bytes)
        self._pages.clear()
        if manifest.digest != source.digest:
            self._accuse(source, FALSE_LIST, now, out)
            return
        self.manifest = manifest
        self.untold = True
        out.append(KeepManifest(self.hash, self.size, manifest.hashes))
        self._recount(now)
        self._plan_all(now, out)

    def chunk(self, peer: PeerId, chunk: Chunk, excused: bool, now: float, out: list[Effect]) -> None:
        """A chunk came; `excused`: it may be an answer to an earlier fetch."""
        source = self.sources.get(peer)
        if source is None or chunk.index not in source.ever:
            if not excused:
                out.append(Misbehaved(peer, UNASKED))
            return
        index = chunk.index
        source.gave(index, now)
        self._heard(source, now)
        if self.manifest is None or source.out or self.have[index] or index in self._keeping:
            self._plan(source, now, out)
            return
        if len(chunk.data) != self.manifest.bytes_of(index):
            self._reopen([index])
            self._accuse(source, "gave a chunk of a wrong length", now, out)
            return
        self._picker.open[index] = False
        self._keeping[index] = source
        out.append(KeepChunk(self.hash, index, chunk.data, self.manifest.hash_of(index)))
        self._plan(source, now, out)

    def refused(self, peer: PeerId, indexes: Sequence[int], why: int, retry_s: float, now: float, out: list[Effect],
                elsewhere: PeerId | None = None) -> None:  # fmt: skip
        """A source does not give chunks, or nothing."""
        source = self.sources.get(peer)
        if source is None or source.out:
            return
        self._heard(source, now)
        returned = [index for index in indexes if source.asked.pop(index, None) is not None]
        if not indexes:
            source.answer_since = None
        self._reopen(returned)
        if why == Why.ABSENT:
            source.absent = True
            self._discharge(source, "does not have it", now, out)
        elif why == Why.LACKING:
            if source.has is not None:
                source.has[returned] = False
                source.whole = source.whole and not returned
            self._recount(now)
        elif why == Why.ELSEWHERE and elsewhere is not None and elsewhere != peer:
            until = now + self._settings.deferred_s if self._linked(elsewhere) else now
            self._picker.defer(returned, until, elsewhere)
            source.busy_until = now + self._settings.redirected_s
            self.add(elsewhere, False, now, out)
        else:
            source.busy_until = now + retry_s
            source.shrink()
            if not indexes:
                source.asked_at = now - self._settings.ask_again_s + retry_s
        self._plan_all(now, out)

    def link_down(self, peer: PeerId, now: float, out: list[Effect]) -> None:
        """Nothing comes from it until there is a link again."""
        source = self.sources.get(peer)
        if source is not None:
            self._set_aside(source, now)
            source.late.clear()
            self._plan_all(now, out)

    def link_up(self, peer: PeerId, now: float, out: list[Effect]) -> None:
        """It can be asked again."""
        source = self.sources[peer]
        if not source.out:
            source.heard(now)
            self._ask(source, now, out)

    # --- what was done with chunks ---------------------------------------------------------------------------------

    def kept(self, index: int, what: Kept, now: float, out: list[Effect]) -> None:
        """A chunk was compared and written."""
        source = self._keeping.pop(index, None)
        if source is None or self.manifest is None or self.over:
            return
        if what is Kept.KEPT:
            self.have[index] = True
            self._progress_at = now
            self._picker.had(index)
            self.news.append(index)
            self._maybe_check(out)
        elif what is Kept.CORRUPT:
            self._picker.open[index] = True
            self._accuse(source, "gave a chunk that is not what the blob has there", now, out)
        else:
            self._fail("this device's disk did not take the bytes of {blob}", out)

    def checked(self, right: bool | None, bad: Sequence[int], now: float, out: list[Effect]) -> None:
        """All bytes were hashed; None: the disk failed. `bad` chunks did not come back from the disk as written."""
        if self.over or not self._checking:
            return
        self._checking = False
        if right:
            self.over = True
            out.append(Fetched(self.hash))
        elif bad and self._faults < FAULTS_MAX:
            self._faults += 1
            self.have[list(bad)] = False
            self._reopen(bad)
            self._plan_all(now, out)
        elif right is None or bad:
            self._fail("this device's disk did not keep the bytes of {blob}", out)
        else:
            self._refute(now, out)

    def _maybe_check(self, out: list[Effect]) -> None:
        if self.manifest is not None and not self._checking and not self._keeping and self.have.all():
            self._checking = True
            out.append(CheckWhole(self.hash))

    def _refute(self, now: float, out: list[Effect]) -> None:
        digest = self.manifest.digest if self.manifest is not None else b""
        giver = self._giver
        self._start_over(out)
        self._refuted.add(digest)
        same = [each for each in self.sources.values() if each.digest == digest and not each.out]
        for source in same:
            source.digest, source.has = b"", np.zeros(self.count, np.bool_)
        for source in same:
            if source.whole or source is giver:
                self._accuse(source, FALSE_LIST, now, out, innocent=not source.whole)
        self._seek_manifest(now, out)
        self._end_if_hopeless(now, out)

    def _start_over(self, out: list[Effect]) -> None:
        out.append(DropPart(self.hash))
        self.manifest = self._giver = None
        self._pages.clear()
        self.have = np.zeros(self.count, np.bool_)
        self._picker.start_over()
        self._keeping.clear()
        self.news.clear()
        for source in self.sources.values():
            source.release()

    # --- time ------------------------------------------------------------------------------------------------------

    def tick(self, now: float, out: list[Effect]) -> None:
        """Time has passed."""
        for source in self.sources.values():
            if source.out:
                continue
            if source.silent(now):
                self._set_aside(source, now)
            self._reopen(source.overdue(now))
            again_s = self._settings.ask_again_s * (WHOLE_AGAIN if source.whole else 1)
            if source.usable(now) and now - source.asked_at > again_s:
                self._ask(source, now, out)
        self._recount(now)
        self._seek_manifest(now, out)
        self._plan_all(now, out)
        if not self._checking and not self._keeping:
            if now - self._heard_at > self._settings.unheard_s:
                self._fail("no peer that has {blob} answers", out)
            elif self._nobody_has_any and now - self._progress_at > self._settings.unheard_s:
                self._fail("nobody who answers has anything of {blob}", out)
            elif now - self._progress_at > self._settings.stuck_s:
                self._fail("nobody gives what is still missing of {blob}", out)

    @property
    def _nobody_has_any(self) -> bool:
        """Peers that all lack it, and fetch it, may ask each other for ever."""
        live = (source for source in self.sources.values() if not source.out)
        return not any(source.whole or (source.has is not None and source.has.any()) for source in live)

    # --- choosing --------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Chunks in flight or being written."""
        return len(self._keeping) + sum(len(source.asked) for source in self.sources.values())

    def _seek_manifest(self, now: float, out: list[Effect]) -> None:
        """Choose whom to ask for the manifest; leave one that nobody who is there shares."""
        if self.over or self._checking:
            return
        live = [source for source in self.sources.values() if source.usable(now) and self._linked(source.peer)]
        with_list = [source for source in live if source.digest]
        if self.manifest is not None:
            digest = self.manifest.digest
            if self.count == 1 or not with_list or any(not s.out and s.digest == digest for s in self.sources.values()):
                return
            self._start_over(out)
        if self._giver is not None and self._giver in live:
            return
        self._pages.clear()
        self._giver = max(with_list, key=lambda source: (source.whole, not source.named), default=None)
        if self._giver is not None:
            self._ask_page(self._giver, now, out)

    def _ask_page(self, source: Source, now: float, out: list[Effect]) -> None:
        source.answer_since = now
        out.append(Send(source.peer, AskHashes(self.hash, len(self._pages) // HASH_BYTES)))

    def _plan_all(self, now: float, out: list[Effect]) -> None:
        """Others before first holders, those that owe least before others."""
        for source in sorted(self.sources.values(), key=lambda each: (each.first, len(each.asked))):
            self._plan(source, now, out)

    def _plan(self, source: Source, now: float, out: list[Effect]) -> None:
        """Ask a source for as many chunks as it may be asked for."""
        manifest = self.manifest
        if self.over or manifest is None or source.has is None or not source.usable(now) or now < source.busy_until:
            return
        room = min(source.room, self._settings.window_fetch - self.busy, self._room())
        if room <= 0 or not self._linked(source.peer) or source.digest != manifest.digest:
            return
        indexes = self._picker.pick(source, room, now)
        for index in indexes:
            source.ask(index, now)
        for insist in (False, True):
            some = [index for index in indexes if (index in self._picker.insist) is insist]
            if some:
                out.append(Send(source.peer, Want(self.hash, some, insist)))

    def _counts(self, source: Source, now: float) -> bool:
        """Whether what it has makes chunks less rare."""
        return (
            not source.first
            and source.has is not None
            and self.manifest is not None
            and source.digest == self.manifest.digest
            and source.usable(now)
            and self._linked(source.peer)
        )

    def _recount(self, now: float) -> None:
        self._picker.recount(source for source in self.sources.values() if self._counts(source, now))

    # --- sources that fail -----------------------------------------------------------------------------------------

    def _heard(self, source: Source, now: float) -> None:
        self._heard_at = now
        if source.paused_until > now:
            source.heard(now)
            self._recount(now)
        else:
            source.heard(now)

    def _reopen(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            if not self.have[index] and index not in self._keeping:
                self._picker.open[index] = not any(index in source.asked for source in self.sources.values())

    def _set_aside(self, source: Source, now: float) -> None:
        self._reopen(source.set_aside(now))
        if self._giver is source and self.manifest is None:
            self._giver = None
        self._picker.wait_no_longer(source.peer, now)
        self._recount(now)

    def _discharge(self, source: Source, why: str, now: float, out: list[Effect]) -> None:
        """It is not asked any more."""
        source.out = why
        self._set_aside(source, now)
        self._seek_manifest(now, out)
        self._end_if_hopeless(now, out)
        self._plan_all(now, out)

    def _accuse(self, source: Source, why: str, now: float, out: list[Effect], innocent: bool = False) -> None:
        """It broke the rules, or (a partial source, which may itself have been deceived) is of no use."""
        if not innocent:
            out.append(Misbehaved(source.peer, why))
        self._discharge(source, why, now, out)

    def _end_if_hopeless(self, now: float, out: list[Effect]) -> None:
        if not self._checking and not self._keeping and all(source.out for source in self.sources.values()):
            told = ", ".join(f"{short(each.peer)} {each.out}" for each in list(self.sources.values())[:4])
            self._fail("{blob} is not to be had: " + (told or "no peer was named that has it"), out)

    def _fail(self, why: str, out: list[Effect]) -> None:
        if not self.over:
            self.over = True
            out.append(FetchFailed(self.hash, why.replace("{blob}", f"the blob {self.hash.hex()[:10]}")))
