"""The exchange of blobs: the one core that fetches and gives, without files, links or a clock.

It routes messages to the fetch they are about, answers what others ask, and gives verified chunks of a blob while it is
still fetched. Every call returns the effects to perform, in order. It never raises on what a peer sent: what is no
message, or was not asked for, gives a `Misbehaved`.

Bounds: fetches, sources of each, chunks in flight (of one source, one blob, all), chunks waiting to be given, manifests
remembered, blobs looked for in the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

import numpy as np

from meshwit.ids import PeerId, id_text
from meshwit.peer.blobs.effects import Effect, Fetched, FetchFailed, Given, Kept, LookUp, Misbehaved, Send
from meshwit.peer.blobs.fetching import UNASKED, Fetch
from meshwit.peer.blobs.giving import BUSY_MS, FEW_CHUNKS, Giver
from meshwit.peer.blobs.manifest import Chance, Manifest, chunk_count
from meshwit.peer.blobs.messages import (
    HASH_BYTES,
    INDEXES_MAX,
    PAGE_HASHES,
    Ask,
    AskHashes,
    Chunk,
    Got,
    Has,
    Hashes,
    Message,
    Refuse,
    Want,
    Why,
    decode,
)
from meshwit.peer.blobs.settings import BlobSettings

TICK_S: Final = 0.1
LOOK_UP_ANSWER_S: Final = 1.0
"""Who waits for the hashes of a large blob is told that it takes longer, before it takes us for silent."""
ASKERS_MAX: Final = 64
"""Peers that wait for one blob to be looked up."""
ENDED_MAX: Final = 128
"""Fetches that are over, of which late chunks are no offence."""


class Exchange:
    """Fetches blobs and gives them.

    Args:
        chance: orders chunks and chooses among peers; seeded in simulations.
        linked: whether there is a link to a peer now.
    """

    def __init__(
        self,
        chance: Chance,
        linked: Callable[[PeerId], bool],
        settings: BlobSettings = BlobSettings(),  # noqa: B008
    ) -> None:
        self._chance = chance
        self._linked = linked
        self._settings = settings
        self._giver = Giver(chance, settings, linked)
        self._fetches: dict[bytes, Fetch] = {}
        self._ended: OrderedDict[bytes, set[PeerId]] = OrderedDict()
        self._held: OrderedDict[bytes, Manifest] = OrderedDict()
        self._looking: dict[bytes, dict[PeerId, float]] = {}
        self._news_at = 0.0

    # --- what the own device wants ---------------------------------------------------------------------------------

    def fetch(
        self,
        hash: bytes,
        size: int,
        sources: Sequence[PeerId],
        now: float,
        part: tuple[Manifest, Iterable[int]] | None = None,
    ) -> list[Effect]:
        """Fetch a blob of `size` bytes; ends with `Fetched` or `FetchFailed`.

        Args:
            part: what an earlier attempt left: its manifest, and the chunks that are here, verified again.
        """
        out: list[Effect] = []
        if hash in self._fetches:
            return self.add_sources(hash, sources, now)
        try:
            chunk_count(size, self._settings.chunk_bytes)
        except ValueError as reason:
            return [FetchFailed(hash, str(reason))]
        if len(self._fetches) >= self._settings.fetches_max:
            return [FetchFailed(hash, f"{len(self._fetches)} blobs are being fetched already")]
        fetch = self._fetches[hash] = Fetch(
            hash,
            size,
            chance=self._chance,
            settings=self._settings,
            linked=self._linked,
            room=self._room,
            now=now,
        )
        self._held.pop(hash, None)
        for peer in [*sources, *self._giver.followers(hash)]:
            fetch.add(peer, peer in sources, now, out)
        manifest, have = part if part is not None else (None, ())
        fetch.begin(manifest, have, now, out)
        return self._settled(fetch, now, out)

    def add_sources(self, hash: bytes, sources: Sequence[PeerId], now: float) -> list[Effect]:
        """More peers that have a blob, or are about to."""
        out: list[Effect] = []
        fetch = self._fetches.get(hash)
        if fetch is None:
            return out
        for peer in sources:
            fetch.add(peer, True, now, out)
        return self._settled(fetch, now, out)

    def cancel(self, hash: bytes) -> None:
        """Fetch it no longer; what is here stays for a later attempt."""
        fetch = self._fetches.pop(hash, None)
        if fetch is not None:
            self._remember_ended(fetch)

    def forget(self, hash: bytes) -> None:
        """The blob is not in the store any more."""
        self._held.pop(hash, None)

    @property
    def idle(self) -> bool:
        """Whether `tick` has nothing to do."""
        return not self._fetches and not self._looking and self._giver.idle

    # --- what peers say --------------------------------------------------------------------------------------------

    def receive(self, peer: PeerId, payload: bytes | bytearray | memoryview, now: float) -> list[Effect]:
        """One frame from a peer."""
        message = decode(payload)
        if message is None:
            return [Misbehaved(peer, "sent what is no message about blobs")]
        out: list[Effect] = []
        fetch = self._fetches.get(message.hash)
        match message:
            case Ask():
                self._asked(peer, message, now, out)
            case AskHashes():
                self._asked_hashes(peer, message, out)
            case Want():
                self._wanted(peer, message, now, out)
            case Has():
                self._told(peer, message, fetch, now, out)
            case Hashes():
                if fetch is not None:
                    fetch.page(peer, message, now, out)
            case Chunk():
                excused = peer in self._ended.get(message.hash, ())
                if fetch is not None:
                    fetch.chunk(peer, message, excused, now, out)
                elif not excused:
                    out.append(Misbehaved(peer, UNASKED))
            case Refuse():
                if fetch is not None:
                    retry_s = message.retry_ms / 1000
                    elsewhere = _peer(message.peer)
                    fetch.refused(peer, message.indexes, message.why, retry_s, now, out, elsewhere)
            case Got():
                if fetch is not None:
                    fetch.got(peer, message.indexes, now, out)
            case _:
                assert_never(message)
        return self._settled(fetch, now, out)

    def link_down(self, peer: PeerId, now: float) -> list[Effect]:
        """There is no link to that peer any more."""
        out: list[Effect] = []
        self._giver.link_down(peer)
        for waiting in self._looking.values():
            waiting.pop(peer, None)
        for fetch in list(self._fetches.values()):
            fetch.link_down(peer, now, out)
            self._settled(fetch, now, out)
        return out

    def link_up(self, peer: PeerId, now: float) -> list[Effect]:
        """There is a link to that peer now: fetches that know it as a source ask it."""
        out: list[Effect] = []
        for fetch in list(self._fetches.values()):
            if peer in fetch.sources:
                fetch.link_up(peer, now, out)
        return out

    # --- what the shell did ----------------------------------------------------------------------------------------

    def looked_up(self, hash: bytes, manifest: Manifest | None, now: float) -> list[Effect]:
        """What the store has of a blob."""
        out: list[Effect] = []
        waiting = self._looking.pop(hash, {})
        if manifest is not None and hash not in self._fetches:
            self._hold(hash, manifest)
        for peer in waiting:
            self._answer(peer, hash, out)
            if hash in self._held:
                self._giver.asked(peer, hash, now)
        return out

    def chunk_kept(self, hash: bytes, index: int, what: Kept, now: float) -> list[Effect]:
        """What became of a `KeepChunk`."""
        out: list[Effect] = []
        fetch = self._fetches.get(hash)
        if fetch is not None:
            fetch.kept(index, what, now, out)
            if now - self._news_at >= self._settings.news_s:
                self._tell_news(now, out)
        return self._settled(fetch, now, out)

    def whole_checked(self, hash: bytes, right: bool | None, now: float, bad: Sequence[int] = ()) -> list[Effect]:
        """What became of a `CheckWhole`: right, wrong, or None where the disk failed.

        Args:
            bad: chunks that did not come back from the disk as they were written.
        """
        out: list[Effect] = []
        fetch = self._fetches.get(hash)
        if fetch is not None:
            fetch.checked(right, bad, now, out)
        return self._settled(fetch, now, out)

    def chunk_given(self, peer: PeerId, hash: bytes, index: int, what: Given, now: float) -> list[Effect]:
        """What became of a `GiveChunk`."""
        out: list[Effect] = []
        if what is Given.GONE:
            self._held.pop(hash, None)
            why = Why.LACKING if hash in self._fetches else Why.ABSENT
            out.append(Send(peer, Refuse(hash, [index], why)))
        elif what is Given.CLOGGED:
            out.append(Send(peer, Refuse(hash, [index], Why.BUSY, retry_ms=BUSY_MS)))
        self._giver.done(peer, hash, index, now, out)
        return out

    def tick(self, now: float) -> list[Effect]:
        """Time has passed; to be called every `TICK_S` unless `idle`."""
        out: list[Effect] = []
        self._giver.tick(now, out)
        for hash, waiting in self._looking.items():
            for peer, since in list(waiting.items()):
                if now - since > LOOK_UP_ANSWER_S:
                    del waiting[peer]
                    out.append(Send(peer, Refuse(hash, [], Why.BUSY, retry_ms=2 * BUSY_MS)))
        for fetch in list(self._fetches.values()):
            fetch.tick(now, out)
            self._settled(fetch, now, out)
        self._tell_news(now, out)
        return out

    # --- giving ----------------------------------------------------------------------------------------------------

    def _asked(self, peer: PeerId, ask: Ask, now: float, out: list[Effect]) -> None:
        fetch = self._fetches.get(ask.hash)
        if fetch is not None and ask.size == fetch.size:
            fetch.add(peer, False, now, out)
        if fetch is not None or ask.hash in self._held:
            self._answer(peer, ask.hash, out)
            self._giver.asked(peer, ask.hash, now)
            return
        waiting = self._looking.get(ask.hash)
        if waiting is None:
            if len(self._looking) >= self._settings.look_ups_max:
                out.append(Send(peer, Refuse(ask.hash, [], Why.BUSY, retry_ms=BUSY_MS)))
                return
            waiting = self._looking[ask.hash] = {}
            out.append(LookUp(ask.hash))
        if len(waiting) < ASKERS_MAX:
            waiting[peer] = now

    def _answer(self, peer: PeerId, hash: bytes, out: list[Effect]) -> None:
        has = self._has(hash)
        if has is None:
            out.append(Send(peer, Refuse(hash, [], Why.ABSENT)))
            return
        fetchers = self._giver.fetchers(hash, peer)
        out.append(Send(peer, Has(has.hash, has.size, has.whole, has.digest, has.bitmap, fetchers)))

    def _has(self, hash: bytes) -> Has | None:
        fetch = self._fetches.get(hash)
        if fetch is not None:
            if fetch.manifest is None:
                return Has(hash, fetch.size, False, b"")
            return Has(hash, fetch.size, False, fetch.manifest.digest, np.packbits(fetch.have).tobytes())
        held = self._held.get(hash)
        return None if held is None else Has(hash, held.size, True, held.digest)

    def _manifest(self, hash: bytes) -> Manifest | None:
        fetch = self._fetches.get(hash)
        if fetch is not None:
            return fetch.manifest
        held = self._held.get(hash)
        if held is not None:
            self._held.move_to_end(hash)
        return held

    def _asked_hashes(self, peer: PeerId, ask: AskHashes, out: list[Effect]) -> None:
        manifest = self._manifest(ask.hash)
        if manifest is None or ask.first >= manifest.count:
            out.append(Send(peer, Refuse(ask.hash, [], Why.LACKING if ask.hash in self._fetches else Why.ABSENT)))
            return
        page = manifest.hashes[ask.first * HASH_BYTES : (ask.first + PAGE_HASHES) * HASH_BYTES]
        out.append(Send(peer, Hashes(ask.hash, ask.first, page)))

    def _wanted(self, peer: PeerId, want: Want, now: float, out: list[Effect]) -> None:
        manifest = self._manifest(want.hash)
        if manifest is None:
            why = Why.LACKING if want.hash in self._fetches else Why.ABSENT
            out.append(Send(peer, Refuse(want.hash, want.indexes, why)))
            return
        if any(index >= manifest.count for index in want.indexes):
            out.append(Misbehaved(peer, "wanted chunks that a blob does not have"))
            return
        fetch = self._fetches.get(want.hash)
        here = [index for index in want.indexes if fetch is None or fetch.have[index]]
        lacking = [index for index in want.indexes if fetch is not None and not fetch.have[index]]
        if lacking:
            out.append(Send(peer, Refuse(want.hash, lacking, Why.LACKING)))
        if here:
            redirect = fetch is None and (manifest.count < FEW_CHUNKS or want.hash not in self._ended)
            self._giver.want(peer, want.hash, manifest, here, want.insist, redirect, now, out)

    def _told(self, peer: PeerId, has: Has, fetch: Fetch | None, now: float, out: list[Effect]) -> None:
        if fetch is None:
            return
        fetch.told(peer, has, now, out)
        source = fetch.sources.get(peer)
        if source is None or source.out:
            return
        for raw in has.fetchers:
            other = id_text(raw)
            if other != peer and self._linked(PeerId(other)):
                fetch.add(PeerId(other), False, now, out)

    # --- fetches that come further ---------------------------------------------------------------------------------

    def _room(self) -> int:
        return self._settings.window_all - sum(fetch.busy for fetch in self._fetches.values())

    def _tell_news(self, now: float, out: list[Effect]) -> None:
        self._news_at = now
        for fetch in self._fetches.values():
            self._tell(fetch, out)

    def _tell(self, fetch: Fetch, out: list[Effect]) -> None:
        """New chunks are told to who asked, and all of them when the manifest is new."""
        if fetch.manifest is None or not (fetch.news or fetch.untold):
            return
        news, fetch.news = fetch.news[:], []
        message: Message = Got(fetch.hash, news)
        if fetch.untold or len(news) > INDEXES_MAX:
            message = self._has(fetch.hash) or message
        fetch.untold = False
        out.extend(Send(peer, message) for peer in self._giver.followers(fetch.hash) if self._linked(peer))

    def _settled(self, fetch: Fetch | None, now: float, out: list[Effect]) -> list[Effect]:
        """Takes a fetch that is over off the list, once."""
        if fetch is None or not fetch.over or self._fetches.get(fetch.hash) is not fetch:
            return out
        del self._fetches[fetch.hash]
        self._remember_ended(fetch)
        if any(isinstance(each, Fetched) and each.hash == fetch.hash for each in out) and fetch.manifest is not None:
            self._hold(fetch.hash, fetch.manifest)
            has = self._has(fetch.hash)
            if has is not None:
                out.extend(Send(peer, has) for peer in self._giver.followers(fetch.hash) if self._linked(peer))
        return out

    def _remember_ended(self, fetch: Fetch) -> None:
        self._ended[fetch.hash] = self._ended.pop(fetch.hash, set()) | set(fetch.sources)
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def _hold(self, hash: bytes, manifest: Manifest) -> None:
        self._held[hash] = manifest
        self._held.move_to_end(hash)
        if len(self._held) > self._settings.blobs_max:
            self._held.popitem(last=False)


def _peer(raw: bytes) -> PeerId | None:
    try:
        return PeerId(id_text(raw)) if raw else None
    except ValueError:
        return None
