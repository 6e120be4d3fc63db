"""Memory for large buffers, shared by the processes of one device: plain files, mapped by whoever reads them.

A process writes into segments of its **own**, one buffer each, and tells a reader by `SegmentRef`. The reader looks
at the mapped file itself; when the last view of it is gone (a **lease** ends), it says `Freed` to the sender, and the
owner writes the next buffer over it. That is what makes it fast: on pages that are there already, a copy runs some
fifteen times as fast as into a new file. A buffer that lives in a segment already is sent on by its name, uncopied.

A new segment is filled by ``write``, never through a mapping: a full disk is then an error, not a SIGBUS. Without
room `place_all` leaves the buffer to the pipe, as it does with small ones, where a file and a mapping cost more than a
copy. Before Python 3.13 a mapping holds a file descriptor, so segments are bounded in number too.

Files work the same everywhere; in ``/dev/shm`` they are memory. Safe to use from several threads.
"""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import re
import sys
import threading
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from meshwit.peer.exec.messages import Place, SegmentRef

if sys.platform != "win32":
    import resource

_NAME: Final = re.compile(r"\w+-\d+\.seg")
_SPARE_RATIO_MAX: Final = 2
"""A spare segment serves a buffer if it is at most this many times as large."""
_SEGMENT_BYTES_MIN: Final = 256 * 1024
_WRITE_BYTES: Final = 1 << 28
_MAP_OPTIONS: Final[dict[str, Any]] = (
    {"trackfd": False} if sys.version_info >= (3, 13) and sys.platform != "win32" else {}
)
_BINARY: Final = getattr(os, "O_BINARY", 0)


def segments_max() -> int:
    """How many segments of one side a process can have mapped: a quarter of its file descriptors, at most 256."""
    if sys.platform == "win32":
        return 256
    return max(4, min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))


class SegmentError(ValueError):
    """A reference to what is no segment, or beyond its end."""


class _Own:
    """A segment of ours. ``holds`` counts who looks at it: readers by name, leases of our own under ''. What is
    ``abandoned`` is not written again."""

    __slots__ = ("abandoned", "holds", "map", "name", "size")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.map: mmap.mmap | None = None
        self.holds: Counter[str] = Counter()
        self.abandoned = False


class _Lease:
    """Views of a segment that somebody in this process has."""

    __slots__ = ("address", "linked", "name", "offset", "reference", "sender", "size")

    def __init__(self, ref: SegmentRef, sender: str, address: int) -> None:
        self.name = ref.name
        self.offset = ref.offset
        self.size = ref.size
        self.sender = sender
        self.address = address
        self.linked = True  # the file is there: its owner lives, and keeps it for us
        self.reference: Any = None


class Segments:
    """The segments of one process, and its views of those of others."""

    def __init__(self, directory: Path, name: str, bytes_max: int, count_max: int) -> None:
        """Use that directory; our files begin with ``name``, are ``count_max`` and take ``bytes_max`` at most."""
        self._directory = directory
        self._name = name
        self._bytes_max = bytes_max
        self._count_max = count_max
        self._bytes = 0
        self._serial = 0
        self._lock = threading.Lock()
        self._own: dict[str, _Own] = {}
        self._spare: deque[_Own] = deque()
        self._maps: dict[str, mmap.mmap] = {}
        self._leases: dict[int, _Lease] = {}
        self._held_count = self._held_bytes = 0
        self._ended: deque[_Lease] = deque()  # filled by the garbage collector, at any moment: no lock is held there
        self._dropped: defaultdict[str, list[str]] = defaultdict(list)
        self._lent: defaultdict[tuple[str, str], list[object]] = defaultdict(list)
        self._orphans: set[str] = set()

    # Writing

    def place_all(self, buffers: Sequence[memoryview], reader: str) -> tuple[list[Place], list[memoryview]]:
        """Put buffers where ``reader`` can see them: returns their places, and those that must go inline."""
        places: list[Place] = []
        inline: list[memoryview] = []
        for buffer in buffers:
            with self._lock:
                place = self._send_on(buffer, reader)
                if place is None and buffer.nbytes >= _SEGMENT_BYTES_MIN:
                    place = self._write(buffer, reader)
            if place is None:
                places.append(buffer.nbytes)
                inline.append(buffer)
            else:
                places.append(place)
        return places, inline

    def share(self, places: Sequence[Place], reader: str) -> None:
        """Let one more reader see what `place_all` has placed."""
        with self._lock:
            for place in places:
                if isinstance(place, SegmentRef) and place.name in self._own:
                    self._own[place.name].holds[reader] += 1
                elif isinstance(place, SegmentRef):
                    self._lent[place.name, reader].append(None)

    def freed(self, names: Iterable[str], reader: str) -> None:
        """``reader`` has no view of those any more, one each time it is named."""
        with self._lock:
            for name in names:
                lent = self._lent.get((name, reader))
                if lent:
                    lent.pop()
                    if not lent:
                        del self._lent[name, reader]
                        self._unlink_orphan(name)
                elif name in self._own and self._own[name].holds[reader] > 0:
                    self._release(self._own[name], reader)

    def let_go(self, reader: str) -> None:
        """That reader looks at nothing any more; it need not be a process."""
        with self._lock:
            self._let_go(reader)
            self._unlink_orphans()

    def abandon(self, reader: str) -> None:
        """That reader may look on, and will not say when it stops: what it was sent is not written again."""
        with self._lock:
            for own in list(self._own.values()):
                if own.holds.pop(reader, 0):
                    own.abandoned = True
                    self._unheld(own)

    def gone(self, process: str) -> None:
        """That process has ended: it looks at nothing any more, and its own files go as soon as nobody needs them."""
        with self._lock:
            self._let_go(process)
            self._dropped.pop(process, None)
            prefix = f"{process}-"
            for name in [name for name in self._maps if name.startswith(prefix)]:
                del self._maps[name]
            for lease in list(self._leases.values()):
                lease.linked = lease.linked and not lease.name.startswith(prefix)
            with contextlib.suppress(OSError):
                for path in self._directory.glob(f"{prefix}*.seg"):
                    self._orphans.add(path.name)
            self._unlink_orphans()

    def trim(self) -> None:
        """Give back memory that is only kept for speed."""
        with self._lock:
            self._collect()
            while self._spare:
                self._discard(self._spare.popleft())
            self._maps.clear()

    def close(self) -> None:
        """Remove our files; views that are left stay valid."""
        with self._lock:
            for own in list(self._own.values()):
                self._discard(own)
            self._maps.clear()

    # Reading

    def view(self, ref: SegmentRef, sender: str) -> memoryview:
        """Return the bytes, read-only; ``sender`` will hear when the last view is gone.

        Raises:
            SegmentError: no such segment, or it is smaller than that.
        """
        ctypes = importlib.import_module("ctypes")
        with self._lock:
            own = self._own.get(ref.name)
            try:
                mapped = self._map(ref.name) if own is None else self._own_map(own)
            except (OSError, ValueError) as error:
                raise SegmentError(f"segment {ref.name!r} cannot be read: {error}") from error
            if ref.offset < 0 or ref.size <= 0 or ref.offset + ref.size > len(mapped):
                raise SegmentError(f"segment {ref.name!r} of {len(mapped)} bytes has no {ref.size} at {ref.offset}")
            exporter = (ctypes.c_char * ref.size).from_buffer(mapped, ref.offset)
            lease = _Lease(ref, sender, ctypes.addressof(exporter))
            key = id(exporter)
            lease.reference = weakref.ref(exporter, lambda _: self._end(key))
            self._leases[key] = lease
            self._held_count += 1
            self._held_bytes += ref.size
            if own is not None:
                own.holds[""] += 1
        return memoryview(exporter).cast("B").toreadonly()

    @property
    def held(self) -> tuple[int, int]:
        """How many views there are, and of how many bytes."""
        with self._lock:
            self._collect()
            return self._held_count, self._held_bytes

    def take_dropped(self, sender: str) -> list[str]:
        """Return the segments to be reported as freed to ``sender``."""
        if not self._ended and sender not in self._dropped:
            return []
        with self._lock:
            self._collect()
            return self._dropped.pop(sender, [])

    # How

    def _let_go(self, reader: str) -> None:
        for own in list(self._own.values()):
            if own.holds.pop(reader, 0):
                self._unheld(own)
        for key in [key for key in self._lent if key[1] == reader]:
            del self._lent[key]

    def _unlink_orphans(self) -> None:
        for name in list(self._orphans):
            self._unlink_orphan(name)

    def _end(self, key: int) -> None:
        self._ended.append(self._leases.pop(key))

    def _collect(self) -> None:
        while self._ended:
            lease = self._ended.popleft()
            self._held_count -= 1
            self._held_bytes -= lease.size
            self._dropped[lease.sender].append(lease.name)
            own = self._own.get(lease.name)
            if own is not None:
                self._release(own, "")

    def _release(self, own: _Own, reader: str) -> None:
        own.holds[reader] -= 1
        if own.holds[reader] <= 0:
            del own.holds[reader]
            self._unheld(own)

    def _unheld(self, own: _Own) -> None:
        if own.holds:
            return
        if own.abandoned:
            self._discard(own)
        else:
            self._spare.append(own)

    def _send_on(self, buffer: memoryview, reader: str) -> SegmentRef | None:
        """A buffer that is (part of) a segment already: named again and kept until the reader has freed it."""
        if not self._leases:
            return None
        base: Any = buffer.obj
        lease = self._leases.get(id(base))
        if lease is not None and buffer.nbytes == lease.size:
            start = 0  # as it came, undecoded
        else:
            interface = getattr(base, "__array_interface__", None)
            if interface is None:
                return None
            for _ in range(16):
                base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
                lease = self._leases.get(id(base))
                if lease is not None:
                    break
            else:
                return None
            start = interface["data"][0] - lease.address
        own = self._own.get(lease.name)
        if start < 0 or start + buffer.nbytes > lease.size or not lease.linked:
            return None
        if own is None:
            self._lent[lease.name, reader].append(base)
        else:
            own.holds[reader] += 1
        return SegmentRef(lease.name, lease.offset + start, buffer.nbytes)

    def _write(self, buffer: memoryview, reader: str) -> SegmentRef | None:
        self._collect()
        size = buffer.nbytes
        own = self._take_spare(size)
        try:
            if own is None:
                own = self._make(buffer)
            else:
                self._own_map(own)[:size] = buffer
        except (OSError, ValueError):
            if own is not None:
                self._discard(own)
            return None
        if own is None:
            return None
        own.holds[reader] += 1
        return SegmentRef(own.name, 0, size)

    def _take_spare(self, size: int) -> _Own | None:
        best: _Own | None = None
        for own in self._spare:
            if size <= own.size <= size * _SPARE_RATIO_MAX and (best is None or own.size < best.size):
                best = own
                if own.size == size:
                    break
        if best is not None:
            self._spare.remove(best)
        return best

    def _make(self, buffer: memoryview) -> _Own | None:
        size = buffer.nbytes
        while self._bytes + size > self._bytes_max or len(self._own) >= self._count_max:
            if not self._spare:
                return None
            self._discard(self._spare.popleft())
        self._serial += 1
        own = _Own(f"{self._name}-{self._serial}.seg", size)
        path = self._directory / own.name
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY, 0o600)
        try:
            written = 0
            while written < size:
                written += os.write(fd, buffer[written : written + _WRITE_BYTES])
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        os.close(fd)
        self._own[own.name] = own
        self._bytes += size
        return own

    def _discard(self, own: _Own) -> None:
        del self._own[own.name]
        self._bytes -= own.size
        own.map = None
        with contextlib.suppress(OSError):
            (self._directory / own.name).unlink()

    def _unlink_orphan(self, name: str) -> None:
        if name in self._orphans and not any(key[0] == name for key in self._lent):
            self._orphans.discard(name)
            self._maps.pop(name, None)
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()

    def _own_map(self, own: _Own) -> mmap.mmap:
        if own.map is None:
            own.map = self._open(own.name)
        return own.map

    def _map(self, name: str) -> mmap.mmap:
        mapped = self._maps.pop(name, None)
        if mapped is None:
            if _NAME.fullmatch(name) is None:
                raise SegmentError(f"no segment is called {name!r}")
            mapped = self._open(name)
            # Owners discard segments without a word; what is mapped beyond our bound is most likely such.
            total = sum(map(len, self._maps.values()))
            while self._maps and (total + len(mapped) > self._bytes_max or len(self._maps) > self._count_max):
                total -= len(self._maps.pop(next(iter(self._maps))))
        self._maps[name] = mapped  # last: the first is the one not used for longest
        return mapped

    def _open(self, name: str) -> mmap.mmap:
        with (self._directory / name).open("r+b") as file:
            return mmap.mmap(file.fileno(), 0, **_MAP_OPTIONS)
