"""Large buffers between this peer and others of its user and device: through memory, not through the link. Shell.

Who is linked is offered this peer's folder, and is believed to be of this device when it shows that it reads there: an
address is no proof, and whoever is elsewhere, or another user, or in a container of its own, never shows it and goes on
by the link alone. Then large buffers to it are written into segments, and messages name these. There are only so many:
what finds no room goes by the link. The reader looks at the segment itself; as soon as it looks at many it copies
what comes more, so that a peer that keeps results does not keep the memory of others.

A segment that the other end may still look at when the link ends is never written again. What a killed peer leaves is
removed by those that were linked to it, and by whoever starts next.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, assert_never

import msgspec

from meshwit.bench.memory import usable_memory_bytes
from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.device import folders
from meshwit.peer.device.messages import NAMES_MAX, NONCE_BYTES, Freed, Offer, Shown, decode, encode, proof
from meshwit.peer.exec.messages import SegmentRef
from meshwit.peer.exec.segments import SegmentError, Segments, segments_max

VARIABLE: Final = "MESHWIT_ONE_DEVICE"
"""Environment variable: `off`, and this peer passes everything by links."""
FREE_FIRST_S: Final = 0.02
"""So soon after a look at a segment its owner is told that it is over; each time that it is not, it is asked twice as
late."""
FREE_LAST_S: Final = 1.0


class PassingSettings(msgspec.Struct, frozen=True):
    """Limits.

    Attributes:
        bytes_min: shorter buffers go by the link, which costs less then.
        out_count_max: segments of this peer, for all readers; too few, and the link carries what it need not.
        out_bytes_max: the same in bytes.
        held_count_max: segments of others that are looked at; what comes beyond is copied. Before Python 3.13 each
            takes a file descriptor.
        held_bytes_max: the same in bytes.
        peers_max: that this one passes buffers to or takes them from.
    """

    bytes_min: int = 256 * 1024
    out_count_max: int = 64
    out_bytes_max: int = 512 * 1024**2
    held_count_max: int = 32
    held_bytes_max: int = 256 * 1024**2
    peers_max: int = 64


def settings_here() -> PassingSettings:
    """Limits that suit this process: at most an eighth of the memory, and of the file descriptors."""
    bytes_max, count_max = usable_memory_bytes() // 8, segments_max() // 2
    wanted = PassingSettings()
    return msgspec.structs.replace(
        wanted,
        out_count_max=min(wanted.out_count_max, count_max),
        out_bytes_max=min(wanted.out_bytes_max, bytes_max),
        held_count_max=min(wanted.held_count_max, count_max),
        held_bytes_max=min(wanted.held_bytes_max, bytes_max),
    )


class Send(Protocol):
    """Sends a frame of Channel.DEVICE to a peer; False where it was not taken."""

    def __call__(self, peer: PeerId, payload: bytes) -> bool: ...


class _Peer:
    """One that is linked.

    Attributes:
        nonce: that it was offered this peer's folder with; empty before.
        offered: it has offered its own.
        shown: it reads here.
        source: what it lets this peer read; None before it was found. It lies at `path`.
        store: where it keeps blobs, known with `source`.
        freed: segments of its that are looked at no more, which it has not been told.
    """

    __slots__ = ("freed", "nonce", "offered", "path", "shown", "source", "store")

    def __init__(self) -> None:
        self.nonce = b""
        self.offered = False
        self.shown = False
        self.source: Segments | None = None
        self.path: Path | None = None
        self.store: Path | None = None
        self.freed: list[str] = []


class Passing:
    """See the module. To be made on the running loop.

    Args:
        me: this peer.
        store: the folder of its blob store.
        send: says something to another.
        misbehaved: told of peers that break the rules.
        root: where folders are made; by default memory.

    Attributes:
        passed_bytes: put into segments for others so far; `taken_bytes`, read from those of others.
    """

    def __init__(
        self,
        me: PeerId,
        store: Path,
        send: Send,
        misbehaved: Callable[[PeerId, str], None],
        settings: PassingSettings | None = None,
        root: Path | None = None,
    ) -> None:
        self.passed_bytes = self.taken_bytes = 0
        self._me = me
        self._store = store
        self._send = send
        self._misbehaved = misbehaved
        self._settings = settings_here() if settings is None else settings
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, "device")
        self._peers: dict[PeerId, _Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._free_wait_s = FREE_FIRST_S
        self._folder: folders.OwnFolder | None = None
        self._out: Segments | None = None
        if os.environ.get(VARIABLE, "").strip().lower() != "off":
            try:
                self._folder = folders.OwnFolder(root)
            except OSError:  # no room for it: all goes by links
                return
            out = self._settings
            self._out = Segments(self._folder.path, "out", out.out_bytes_max, out.out_count_max)

    def close(self) -> None:
        """Pass nothing more, and remove what lies here."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._out is not None and self._folder is not None:
            self._out.close()
            self._folder.close()
        self._out = self._folder = None

    # --- who is of this device -----------------------------------------------------------------------------------

    def linked(self, peer: PeerId) -> None:
        """There is a link to a peer: it is offered this one's folder."""
        if self._folder is None or len(self._peers) >= self._settings.peers_max:
            return
        known = self._peers[peer] = _Peer()
        known.nonce = secrets.token_bytes(NONCE_BYTES)
        owned = proof(self._folder.secret, "own", known.nonce, self._me, peer)
        self._send(peer, encode(Offer(self._folder.path.name, known.nonce, owned, str(self._store))))

    def unlinked(self, peer: PeerId) -> None:
        """The link has ended. What the peer looks at stays as it is; what it was sent on the way is lost."""
        known = self._peers.pop(peer, None)
        if known is None:
            return
        if self._out is None:
            return
        self._out.abandon(peer)
        if known.path is not None:
            self._pool.submit(folders.sweep_beside, known.path)

    def passes_to(self, peer: PeerId) -> bool:
        """Whether large buffers for that peer go through memory."""
        known = self._peers.get(peer)
        return known is not None and known.shown

    def store_of(self, peer: PeerId) -> Path | None:
        """The folder of a peer's blob store, if it is of this device."""
        known = self._peers.get(peer)
        return known.store if known is not None and known.source is not None else None

    def received(self, peer: PeerId, payload: bytes) -> None:
        """A frame of Channel.DEVICE came."""
        known = self._peers.get(peer)
        if known is None or self._folder is None or self._out is None:
            return
        match decode(payload):
            case None:
                self._misbehaved(peer, "sent what is no message about this device")
            case Offer() as offer:
                if known.offered:
                    self._misbehaved(peer, "offered its folder twice")
                    return
                known.offered = True
                task = self._loop.create_task(self._look(peer, known, offer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Shown(proof=told):
                wanted = proof(self._folder.secret, "read", known.nonce, peer, self._me)
                if hmac.compare_digest(told, wanted):
                    known.shown = True
                else:
                    self._misbehaved(peer, "showed what does not lie in this peer's folder")
            case Freed(names=names):
                self._out.freed(names, peer)
            case never:
                assert_never(never)

    async def _look(self, peer: PeerId, known: _Peer, offer: Offer) -> None:
        """Read in the folder that a peer offers, if it can be read here and is the peer's own."""
        found = await self._loop.run_in_executor(self._pool, folders.find, offer.folder)
        if found is None or self._peers.get(peer) is not known:
            return
        path, secret = found
        if not hmac.compare_digest(offer.owned, proof(secret, "own", offer.nonce, peer, self._me)):
            self._misbehaved(peer, "offered a folder that is not its own")
            return
        known.path, known.store = path, Path(offer.store)
        known.source = Segments(path, "none", self._settings.held_bytes_max, self._settings.held_count_max)
        self._send(peer, encode(Shown(proof(secret, "read", offer.nonce, self._me, peer))))

    # --- buffers ---------------------------------------------------------------------------------------------------

    def place(self, peer: PeerId, buffer: Buffer) -> SegmentRef | None:
        """Put a buffer where that peer sees it; None where it has to go by the link."""
        view = memoryview(buffer).cast("B")
        if view.nbytes < self._settings.bytes_min or self._out is None or not self.passes_to(peer):
            return None
        place = self._out.place_all([view], peer)[0][0]
        if isinstance(place, int):
            return None
        self.passed_bytes += view.nbytes
        return place

    def view(self, peer: PeerId, ref: SegmentRef) -> Buffer:
        """The bytes that a peer has put there for this one. Raises SegmentError."""
        known = self._peers.get(peer)
        if known is None or known.source is None:
            raise SegmentError("memory that is not shared")
        source = known.source
        view: Buffer = source.view(ref, peer)
        held = [each.source.held for each in self._peers.values() if each.source is not None]
        if (
            sum(count for count, _ in held) > self._settings.held_count_max
            or sum(size for _, size in held) > self._settings.held_bytes_max
        ):
            view = bytes(view)
        self.taken_bytes += ref.size
        self._free_in(FREE_FIRST_S)
        return view

    def _free_in(self, wait_s: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= self._loop.time() + wait_s:
                return
            self._timer.cancel()
        self._free_wait_s = wait_s
        self._timer = self._loop.call_later(wait_s, self._free)

    def _free(self) -> None:
        """Tell whose segments are looked at no more; again, as long as any are looked at or could not be told."""
        self._timer = None
        again = told = False
        for peer, known in self._peers.items():
            if known.source is None:
                continue
            known.freed += known.source.take_dropped(peer)
            while known.freed and self._send(peer, encode(Freed(known.freed[:NAMES_MAX]))):
                del known.freed[:NAMES_MAX]
                told = True
            again = again or bool(known.freed) or known.source.held[0] > 0
        if again:
            self._free_in(FREE_FIRST_S if told else min(2 * self._free_wait_s, FREE_LAST_S))
