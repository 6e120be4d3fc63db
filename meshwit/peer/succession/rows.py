"""The SQLite file of jobs, seen as rows: opened, written with checksums, read as far as these are right. Adapter.

A row's checksum covers what it is and where it belongs, and that of a record also the checksum of its buffers, which
lie in pieces: SQLite takes values of a gigabyte at most. A job lies like the only record of a log of its own: its
specification, with the arguments beside. Functions raise sqlite3.Error; `damaged` says which of these mean a damaged
file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.succession.history import History
from meshwit.peer.succession.records import LogId, Over, Record, Versions, decode_body, decode_spec

SCHEMA: Final = 1
SUBMITTED: Final[LogId] = (-1, PeerId(""))
"""The log that holds a job itself."""
NUMBER_MAX: Final = 2**63 - 1
_SCHEMA_MAX: Final = 1000
_PIECE_BYTES: Final = 16 * 1024 * 1024
_WAL_BYTES: Final = 64 * 1024 * 1024
_BUSY_S: Final = 0.2
_SHRINK_PAGES: Final = 16384
_APPLICATION: Final = 0x6D776974
_CHECK_BYTES: Final = 16
_HEADER: Final = b"SQLite format 3\0"
_OF_LOG: Final = "job = ? AND epoch = ? AND leader = ?"
_TABLES: Final = (
    "CREATE TABLE jobs (id BLOB PRIMARY KEY, roots BLOB, ended BLOB, bytes INTEGER) WITHOUT ROWID",
    "CREATE TABLE entries (job BLOB, epoch INTEGER, leader BLOB, number INTEGER, entry BLOB,"
    " PRIMARY KEY (job, epoch, leader, number)) WITHOUT ROWID",
    "CREATE TABLE pieces (job BLOB, epoch INTEGER, leader BLOB, number INTEGER, place INTEGER, data BLOB,"
    " PRIMARY KEY (job, epoch, leader, number, place)) WITHOUT ROWID",
)
_DAMAGED: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT,
     sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_INTERNAL}
)  # fmt: skip
"""With statements that are right, these mean that the file is not."""

Database = sqlite3.Connection
Found = tuple[bytes, tuple[Buffer, ...]]
"""A body with its buffers."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A record as it lies in a row: its body, the lengths of its buffers, and the checksum of them all."""

    body: bytes
    sizes: list[int]
    check: bytes


class Ending(msgspec.Struct, frozen=True, array_like=True):
    """How a job ended, and in which log that stands."""

    epoch: int
    leader: PeerId
    over: bytes

    @property
    def log(self) -> LogId:
        """The log that has it."""
        return self.epoch, self.leader


class JobRow(msgspec.Struct, frozen=True):
    """A job's own row; `over` is the body of its outcome."""

    id: str
    roots: tuple[str, ...]
    over: Over | None
    bytes: int


class NotOursError(sqlite3.DatabaseError):
    """A file that SQLite would read but that is none of ours, or not as we left it."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


class NewerFormatError(Exception):
    """A file that a newer version has written, in that format."""


_encode: Final = msgspec.msgpack.encode
_entry_decoder: Final = msgspec.msgpack.Decoder(Entry)
_ending_decoder: Final = msgspec.msgpack.Decoder(Ending)
_roots_decoder: Final = msgspec.msgpack.Decoder(tuple[str, ...])


# --- the file --------------------------------------------------------------------------------------------------------


def opened(path: Path, pages_max: int | None = None) -> Database:
    """The file, made if it is not there. Raises sqlite3.Error, OSError, NewerFormatError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # sqlite would let others read it
    with path.open("rb") as file:
        header = file.read(20)
    # Versions that SQLite does not know make a file read-only for good.
    if header and (header[:16] != _HEADER or not {*header[18:]} <= {1, 2}):
        raise NotOursError("file is not a database")
    db = connect(path)
    try:
        _prepare(db)
        if pages_max is not None:
            db.execute(f"PRAGMA max_page_count = {pages_max}")
    except BaseException:
        db.close()
        raise
    return db


def connect(path: Path) -> Database:
    """The file as it is."""
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    db.text_factory = bytes  # there is no text in these tables; what damage makes look like it need not decode
    try:
        # Nobody else opens the file: so no memory is shared over it, which some file systems cannot do.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA cell_size_check = ON")
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: Database) -> None:
    tables = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    fresh = not tables and not version
    if application == _APPLICATION and SCHEMA < version <= _SCHEMA_MAX:
        raise NewerFormatError(f"format {version}")
    ours = application == _APPLICATION and version == SCHEMA and tables == [each.encode() for each in _TABLES]
    if not (fresh or ours):
        raise NotOursError("file is not a journal of jobs")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if fresh:
        db.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            db.execute(table)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")


def shrink(db: Database) -> None:
    """Gives room back to the disk, so much at a time that it takes a moment only."""
    db.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")  # `execute` would do one page


def damaged(error: sqlite3.Error) -> bool:
    """Whether it is the file that is at fault, not the disk or its fill."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by Python, which does not get along with what it read
        return not isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError)
    return code & 0xFF in _DAMAGED


# --- jobs ------------------------------------------------------------------------------------------------------------


def is_kept(db: Database, job: str) -> bool:
    """Whether there is a row of that job."""
    return db.execute("SELECT 1 FROM jobs WHERE id = ?", (job.encode(),)).fetchone() is not None


def insert_job(db: Database, job: str, roots: Sequence[str]) -> None:
    """A row for a job."""
    sealed = _sealed(_encode(list(roots)), job, "roots")
    db.execute("INSERT INTO jobs VALUES (?, ?, NULL, 0)", (job.encode(), sealed))


def job_ids(db: Database) -> Iterator[str]:
    """The jobs that there are rows of, nonsense left out."""
    for (job,) in db.execute("SELECT id FROM jobs"):
        name = _text(job)
        if name is not None:
            yield name


def job_row(db: Database, job: str) -> JobRow | None:
    """A job's own row; None if it is damaged. A damaged outcome is as none: its record has it."""
    row = db.execute("SELECT roots, bytes FROM jobs WHERE id = ?", (job.encode(),)).fetchone()
    data = _unsealed(row[0], job, "roots") if row is not None else None
    if data is None:
        return None
    size = row[1] if isinstance(row[1], int) else 0
    ending = ending_of(db, job)
    over = None if ending is None else decode_body(ending.over)
    return JobRow(job, _roots_decoder.decode(data), over if isinstance(over, Over) else None, size)


def ending_of(db: Database, job: str) -> Ending | None:
    """How a job ended, as its row says."""
    row = db.execute("SELECT ended FROM jobs WHERE id = ?", (job.encode(),)).fetchone()
    data = _unsealed(row[0], job, "ended") if row is not None else None
    return None if data is None else _ending_decoder.decode(data)


def end(db: Database, job: str, log: LogId, over: bytes) -> None:
    """A job has its outcome; of several the highest log's counts."""
    ending = ending_of(db, job)
    if ending is None or ending.log <= log:
        sealed = _sealed(_encode(Ending(*log, over)), job, "ended")
        db.execute("UPDATE jobs SET ended = ? WHERE id = ?", (sealed, job.encode()))


def grow(db: Database, job: str, size: int) -> None:
    """A job takes so many bytes more."""
    db.execute("UPDATE jobs SET bytes = max(0, bytes + ?) WHERE id = ?", (size, job.encode()))


def delete(db: Database, job: str) -> None:
    """All rows of a job."""
    for table, column in (("pieces", "job"), ("entries", "job"), ("jobs", "id")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (job.encode(),))


# --- records ---------------------------------------------------------------------------------------------------------


def insert(db: Database, job: str, log: LogId, number: int, body: bytes, buffers: Sequence[Buffer]) -> int:
    """Writes a record; returns how many bytes it takes."""
    key = (*_key(job, log), number)
    db.execute(f"DELETE FROM pieces WHERE {_OF_LOG} AND number = ?", key)  # that a lost record left
    digest = hashlib.blake2b(digest_size=_CHECK_BYTES)
    for place, piece in enumerate(_pieces(buffers)):
        digest.update(piece)
        db.execute("INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?)", (*key, place, piece))
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    sealed = _sealed(_encode(Entry(body, sizes, digest.digest())), *key)
    db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (*key, sealed))
    return len(sealed) + sum(sizes)


def cut(db: Database, job: str, log: LogId, number: int) -> None:
    """Removes the records of a log from that number on, with the outcome if it stands among them."""
    key = (*_key(job, log), number)
    size = 0
    for table, column in (("entries", "entry"), ("pieces", "data")):
        of = f"FROM {table} WHERE {_OF_LOG} AND number >= ?"
        size += int(db.execute(f"SELECT total(length({column})) {of}", key).fetchone()[0])
        db.execute(f"DELETE {of}", key)
    if count(db, job, log) > number:
        raise NotOursError("rows lie in a wrong order")
    grow(db, job, -size)
    ending = ending_of(db, job)
    if ending is not None and ending.log == log:
        db.execute("UPDATE jobs SET ended = NULL WHERE id = ?", (job.encode(),))


def count(db: Database, job: str, log: LogId) -> int:
    """How many records of a log there are, whole or not."""
    (last,) = db.execute(f"SELECT max(number) FROM entries WHERE {_OF_LOG}", _key(job, log)).fetchone()
    return last + 1 if isinstance(last, int) else 0


def next_number(db: Database, job: str, log: LogId, first: int, stop: int) -> int:
    """The first number, from `first` to `stop`, that has no record. Raises ValueError if the log ends before."""
    held = count(db, job, log)
    if first != held:
        # What is found by its place must be found in its order too.
        begin = first if first < held else 0
        seen = [number for number, entry in _entries(db, job, log, begin, stop) if entry is not None]
        if len(seen) != min(held, stop) - begin:
            raise NotOursError("rows lie in a wrong order")
    if first > held:
        raise ValueError(f"record {first} does not continue a log of {held}")
    return min(held, stop)


def logs(db: Database, job: str) -> Iterator[LogId]:
    """The logs of a job, in their order; found by steps, since each may be long."""
    sql = "SELECT epoch, leader FROM entries WHERE job = ? AND (epoch, leader) > (?, ?) ORDER BY epoch, leader LIMIT 1"
    epoch, leader = SUBMITTED[0], SUBMITTED[1].encode()
    while (row := db.execute(sql, (job.encode(), epoch, leader)).fetchone()) is not None:
        name = _text(row[1])
        if not isinstance(row[0], int) or name is None or row <= (epoch, leader):
            return
        epoch, leader = row
        yield epoch, PeerId(name)


def versions(db: Database, job: str) -> Versions:
    """How many records there are of each log, whole or not."""
    return {log: count(db, job, log) for log in logs(db, job)}


def history(db: Database, job: str) -> tuple[History, list[tuple[LogId, int]]]:
    """What is held of a job, and where logs end because a record is damaged. Buffers are not looked at."""
    held = History()
    bad = []
    for log in logs(db, job):
        for number, entry in _entries(db, job, log, 0, NUMBER_MAX):
            try:
                held.add(log, number, decode_body(b"" if entry is None else entry.body))
            except ValueError:
                bad.append((log, number))
                break
    return held, bad


def blobs(db: Database, job: str) -> set[str]:
    """The hashes of the blobs that a job's records refer to."""
    found: set[str] = set()
    for log in logs(db, job):
        for _, entry in _entries(db, job, log, 0, NUMBER_MAX):
            with contextlib.suppress(ValueError):
                found.update(name for name, _ in Record(decode_body(b"" if entry is None else entry.body)).blobs)
    return found


def read(
    db: Database, job: str, log: LogId, first: int, stop: int, bytes_max: int, is_whole: Callable[[bytes], object]
) -> tuple[list[Found], int | None]:
    """Records from `first` on to before `stop`, as many as `bytes_max` allows, but one at least; and the number of
    the one that ended this, if it is damaged: `is_whole` raises ValueError for a body that is none."""
    found: list[Found] = []
    size = 0
    for number, entry in _entries(db, job, log, first, stop):
        if entry is None:
            return found, number
        size += len(entry.body) + sum(entry.sizes)
        if found and size > bytes_max:
            break
        buffers = _buffers(db, (*_key(job, log), number), entry)
        try:
            is_whole(entry.body)
        except ValueError:
            buffers = None
        if buffers is None:
            return found, number
        found.append((entry.body, buffers))
    return found, None


def read_job(db: Database, job: str) -> tuple[Found | None, bool]:
    """A job's specification with its arguments, and whether they are damaged."""
    found, bad = read(db, job, SUBMITTED, 0, 1, 0, decode_spec)
    return (found[0] if found else None), bad is not None


def read_spec(db: Database, job: str) -> bytes | None:
    """A job's specification alone; None if it is not there, or damaged."""
    for _, entry in _entries(db, job, SUBMITTED, 0, 1):
        return None if entry is None else entry.body
    return None


def _entries(db: Database, job: str, log: LogId, first: int, stop: int) -> Iterator[tuple[int, Entry | None]]:
    """The records as their rows have them; None for one that is missing or damaged, and then no more."""
    key = _key(job, log)
    rows = db.execute(
        f"SELECT number, entry FROM entries WHERE {_OF_LOG} AND number >= ? AND number < ? ORDER BY number",
        (*key, first, stop),
    )
    for expected, (number, sealed) in enumerate(rows, first):
        data = _unsealed(sealed, *key, expected) if number == expected else None
        yield expected, None if data is None else _entry_decoder.decode(data)
        if data is None:
            return


def _buffers(db: Database, key: tuple[bytes, int, bytes, int], entry: Entry) -> tuple[Buffer, ...] | None:
    """The buffers of a record; None if they are damaged."""
    whole = bytearray()
    digest = hashlib.blake2b(digest_size=_CHECK_BYTES)
    rows = db.execute(f"SELECT data FROM pieces WHERE {_OF_LOG} AND number = ? ORDER BY place", key)
    for (piece,) in rows:
        if not isinstance(piece, bytes):
            return None
        digest.update(piece)
        whole += piece
    if digest.digest() != entry.check or len(whole) != sum(entry.sizes):
        return None
    view = memoryview(whole).toreadonly()
    buffers = []
    for size in entry.sizes:
        buffers.append(view[:size])
        view = view[size:]
    return tuple(buffers)


def _pieces(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """The bytes of all buffers, in pieces that are full but the last."""
    pending: list[memoryview] = []
    room = _PIECE_BYTES
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        while view.nbytes:
            pending.append(view[:room])
            view = view[room:]
            room -= pending[-1].nbytes
            if not room:
                yield _joined(pending)
                pending, room = [], _PIECE_BYTES
    if pending:
        yield _joined(pending)


def _joined(views: list[memoryview]) -> Buffer:
    return views[0] if len(views) == 1 else b"".join(views)


# --- seals -----------------------------------------------------------------------------------------------------------


def _key(job: str, log: LogId) -> tuple[bytes, int, bytes]:
    return job.encode(), log[0], log[1].encode()


def _text(raw: object) -> str | None:
    try:
        return raw.decode() if isinstance(raw, bytes) else None
    except UnicodeDecodeError:
        return None


def _sealed(data: bytes, *place: object) -> bytes:
    """With a checksum in front, over the data and where it belongs."""
    return _check(data, place) + data


def _unsealed(sealed: object, *place: object) -> bytes | None:
    """Its reverse; None if the checksum is not right."""
    if not isinstance(sealed, bytes):
        return None
    data = sealed[_CHECK_BYTES:]
    return data if sealed[:_CHECK_BYTES] == _check(data, place) else None


def _check(data: bytes, place: object) -> bytes:
    digest = hashlib.blake2b(_encode(place), digest_size=_CHECK_BYTES)
    digest.update(data)
    return digest.digest()
