"""The journal on disk: what it gives back is what it was given, whatever became of its file."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from meshwit.lang.control import Failure
from meshwit.outcome import JobState
from meshwit.peer.succession.records import Answered, Content, JobSpec, Over, Record
from meshwit.peer.succession.store import ASIDE_MAX, JobStore, StoreError
from tests.peer.succession.histories import began, log, peer

MANY = 1 << 40
LOGS = (log("a1"), log("b2"))


def spec(name: str = "job", started_at: float = 1.0, keep_s: float = 100.0) -> JobSpec:
    return JobSpec(
        id=name, text="Job main\nEnd\n", filename="x.wit", name="main", arguments=Content(b"\x90", [3, 0]),
        submitter=peer("a"), submitter_name="a", started_at=started_at, keep_s=keep_s,
    )  # fmt: skip


def record(number: int, size: int = 10) -> Record:
    data = random.Random(number).randbytes(size)
    return Record(Answered((number,), 0, Content(b"%d" % number, [size])), (data,))


def told(count: int, size: int = 10) -> list[Record]:
    """A log: `Began`, then answers."""
    return [Record(began()), *(record(number, size) for number in range(1, count))]


def over(ended_at: float, state: JobState = JobState.COMPLETED, failure: Failure | None = None) -> Record:
    return Record(Over(state, ended_at, failure))


def plain(records: list[Record]) -> list[tuple]:
    return [(each.body, [bytes(buffer) for buffer in each.buffers]) for each in records]


def all_of(store: JobStore, of: tuple, job: str = "job") -> list[Record]:
    return store.read(job, of, 0, MANY, MANY)


@pytest.fixture
def store(tmp_path):
    with_it = JobStore(tmp_path)
    yield with_it
    with_it.close()


# --- as it should be ---------------------------------------------------------------------------------------------


def test_a_job_and_its_records_come_back_after_reopening(tmp_path):
    first = JobStore(tmp_path)
    first.put(spec(), [b"abc", b""], ["/data"])
    first.append("job", LOGS[0], 0, told(5))
    first.append("job", LOGS[1], 0, told(2))
    first.close()
    again = JobStore(tmp_path)
    (kept,) = again.jobs()
    assert (kept.spec, kept.roots, kept.over, kept.versions) == (spec(), ("/data",), None, {LOGS[0]: 5, LOGS[1]: 2})
    assert [bytes(each) for each in again.specification("job")[1]] == [b"abc", b""]
    assert again.roots("job") == ("/data",)
    assert plain(all_of(again, LOGS[0])) == plain(told(5))
    assert again.history("job").versions == kept.versions
    assert again.notice == ""
    again.close()


def test_a_process_that_dies_leaves_what_it_committed(tmp_path, store):
    """The files as they are at that moment, neither closed nor checkpointed."""
    store.put(spec(), [])
    store.append("job", LOGS[0], 0, told(50))
    shutil.copytree(store.path.parent, tmp_path / "dead")
    dead = JobStore(tmp_path / "dead")
    assert plain(all_of(dead, LOGS[0])) == plain(told(50))
    assert dead.notice == ""
    dead.close()


def test_appending_again_changes_nothing_and_a_gap_is_refused(store):
    store.put(spec(), [], ["/a"])
    store.put(spec(started_at=9.0), [b"other"])
    store.append("job", LOGS[0], 0, told(4))
    before = store.jobs()
    store.append("job", LOGS[0], 0, told(3))
    assert store.jobs() == before
    store.append("job", LOGS[0], 2, told(6)[2:])
    assert plain(all_of(store, LOGS[0])) == plain(told(6))
    with pytest.raises(ValueError, match="continue"):
        store.append("job", LOGS[0], 7, [record(7)])
    with pytest.raises(ValueError, match="begins"):
        store.append("job", LOGS[1], 0, [record(1)])
    with pytest.raises(ValueError, match="begins"):
        store.append("job", LOGS[0], 6, [Record(began())])
    with pytest.raises(ValueError, match="epoch"):
        store.append("job", (2**64 - 1, peer("a")), 0, told(1))
    assert all_of(store, LOGS[1]) == []


def test_what_is_not_kept_is_said_to_be(store):
    with pytest.raises(StoreError, match="nothing of the job"):
        store.append("none", LOGS[0], 0, told(1))
    with pytest.raises(LookupError):
        store.specification("none")
    with pytest.raises(LookupError):
        store.roots("none")
    assert store.read("none", LOGS[0], 0, 5, 10) == []
    assert store.read("none", (2**70, peer("a")), 0, 2**80, 10) == []
    assert store.history("none").versions == {}
    store.forget("none")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.jobs()


def test_a_read_is_as_long_as_it_may_be_but_one_at_least(store):
    store.put(spec(), [])
    store.append("job", LOGS[0], 0, told(10, size=1000))
    assert plain(store.read("job", LOGS[0], 3, 9, 3500)) == plain(told(10, size=1000)[3:6])
    assert len(store.read("job", LOGS[0], 3, 9, 0)) == 1
    assert len(store.read("job", LOGS[0], 3, 5, MANY)) == 2
    assert store.read("job", LOGS[0], 10, 12, MANY) == []


def test_large_buffers_come_back(store):
    """In pieces, whose seams lie within buffers."""
    buffers = [random.Random(size).randbytes(size) for size in (17 << 20, 0, 5, 3 << 20, 13 << 20)]
    large = Record(Answered((1,), 0, Content(b"x", [len(each) for each in buffers])), buffers)
    store.put(spec(), buffers)
    store.append("job", LOGS[0], 0, [Record(began()), large])
    (_, read) = all_of(store, LOGS[0])
    assert [bytes(each) for each in read.buffers] == buffers
    assert [bytes(each) for each in store.specification("job")[1]] == buffers
    assert 2 * (33 << 20) < store.jobs()[0].bytes < 2 * (34 << 20)


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
def test_nobody_else_reads_it(store):
    store.put(spec(), [])
    for path in (store.path, store.path.with_name("jobs.sqlite-wal")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- outcomes ----------------------------------------------------------------------------------------------------


def test_an_outcome_is_known_of_the_job_the_highest_logs_first(store):
    store.put(spec(), [])
    store.append("job", LOGS[1], 0, [Record(began()), over(5.0, JobState.FAILED, Failure("no"))])
    store.append("job", LOGS[0], 0, [Record(began()), over(3.0)])
    (kept,) = store.jobs()
    assert (kept.over, kept.ended_at, kept.failure) == (JobState.FAILED, 5.0, Failure("no"))


def test_jobs_are_forgotten_when_their_time_is_over(store):
    for name, keep_s in (("short", 10.0), ("long", 1000.0), ("running", 0.0), ("never", float("nan"))):
        store.put(spec(name, keep_s=keep_s), [])
        store.append(name, LOGS[0], 0, [Record(began()), *([over(100.0)] if name != "running" else [])])
    assert store.expire(105.0) == ["never"], "what makes no sense is not kept for ever"
    assert store.expire(111.0) == ["short"]
    assert store.expire(9999.0, {"long"}) == [], "who leads it now has overruled its end"
    assert sorted(each.spec.id for each in store.jobs()) == ["long", "running"]
    assert all_of(store, LOGS[0], "short") == []
    store.put(spec("short"), [])
    assert store.history("short").versions == {}


def test_when_all_take_too_much_the_oldest_that_are_over_go(tmp_path):
    store = JobStore(tmp_path, bytes_max=250_000)
    for number, ended_at in enumerate([3.0, 1.0, 2.0, None]):
        store.put(spec(str(number), keep_s=1e9), [])
        store.append(str(number), LOGS[0], 0, told(2, size=100_000))
        if ended_at is not None:
            store.append(str(number), LOGS[0], 2, [over(ended_at)])
    store.close()
    size = store.path.stat().st_size
    store = JobStore(tmp_path, bytes_max=250_000)
    assert store.expire(10.0) == ["1", "2"]
    assert sorted(each.spec.id for each in store.jobs()) == ["0", "3"]
    store.close()
    assert store.path.stat().st_size < 0.6 * size, "the room goes back to the disk"


# --- a disk that fails -------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_what_is_there_can_be_read(tmp_path):
    store = JobStore(tmp_path, pages_max=100)
    store.put(spec(), [])
    store.put(spec("other"), [bytes(100_000)])
    store.append("job", LOGS[0], 0, told(4))
    with pytest.raises(StoreError, match=r"cannot be written: .*full"):
        store.append("job", LOGS[0], 4, [record(4), record(5, size=1_000_000)])
    with pytest.raises(StoreError, match="full"):
        store.put(spec("third"), [bytes(1_000_000)])
    assert plain(all_of(store, LOGS[0])) == plain(told(4)), "all of an append or nothing"
    assert [each.spec.id for each in store.jobs()] == ["job", "other"]
    store.append("job", LOGS[0], 4, [record(4)])
    with pytest.raises(StoreError, match="full"):
        store.append("job", LOGS[0], 5, [record(5, size=300_000)])
    store.forget("other")
    store.append("job", LOGS[0], 4, [record(4), record(5, size=300_000)])
    assert plain(all_of(store, LOGS[0])) == plain([*told(5), record(5, size=300_000)])
    assert store.notice == ""
    store.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        JobStore(tmp_path / "file" / "folder")
    (tmp_path / "jobs.sqlite").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        JobStore(tmp_path)


def test_a_second_process_is_told_so(store):
    with pytest.raises(StoreError, match="locked"):
        JobStore(store.path.parent)


def test_a_newer_format_is_left_alone(tmp_path):
    JobStore(tmp_path).close()
    path = tmp_path / "jobs.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer"):
        JobStore(tmp_path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["jobs.sqlite"]


# --- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"nonsense" * 1000, b"x", b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_journal_is_set_aside(tmp_path, content):
    for number in range(1, ASIDE_MAX + 3):
        (tmp_path / "jobs.sqlite").write_bytes(content)
        store = JobStore(tmp_path)
        aside = tmp_path / f"jobs.sqlite.damaged-{min(number, ASIDE_MAX)}"
        assert str(aside) in store.notice
        assert aside.read_bytes() == content
        store.put(spec(), [])
        store.append("job", LOGS[0], 0, told(3))
        assert plain(all_of(store, LOGS[0])) == plain(told(3))
        store.close()
    assert len(list(tmp_path.iterdir())) == 1 + ASIDE_MAX


def test_another_program_s_file_is_set_aside(tmp_path):
    db = sqlite3.connect(tmp_path / "jobs.sqlite")
    db.execute("CREATE TABLE jobs (id)")
    db.close()
    store = JobStore(tmp_path)
    assert "damaged-1" in store.notice
    assert store.jobs() == []
    store.close()


def spoil(store: JobStore, sql: str) -> None:
    """Changes the file behind the store's back."""
    store.close()
    db = sqlite3.connect(store.path)
    assert db.execute(sql).rowcount > 0
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("sql", "left"),
    [
        ("UPDATE entries SET entry = substr(entry, 1, length(entry) - 1) || x'00' WHERE number = 3 AND epoch = 1", 3),
        ("UPDATE entries SET entry = (SELECT entry FROM entries e WHERE e.number = 4) WHERE number = 2", 2),
        ("UPDATE entries SET entry = 'text' WHERE number = 0 AND epoch = 1", 0),
        ("DELETE FROM entries WHERE number = 4 AND epoch = 1", 4),
        ("UPDATE entries SET epoch = 1, number = 6 WHERE number = 1 AND epoch = 2", 6),
    ],
)
def test_a_log_ends_before_the_first_damaged_record(tmp_path, sql, left):
    store = JobStore(tmp_path)
    store.put(spec(), [])
    store.append("job", LOGS[0], 0, told(6))
    store.append("job", LOGS[1], 0, told(2))
    spoil(store, sql)
    store = JobStore(tmp_path)
    assert store.history("job").count(LOGS[0]) == left
    assert "are removed" in store.notice
    assert store.jobs()[0].versions.get(LOGS[0], 0) == left
    assert plain(all_of(store, LOGS[0])) == plain(told(6)[:left])
    store.append("job", LOGS[0], left, told(8)[left:])
    assert plain(all_of(store, LOGS[0])) == plain(told(8))
    store.close()


@pytest.mark.parametrize(
    "sql",
    ["UPDATE pieces SET data = x'00' WHERE number = 3", "DELETE FROM pieces WHERE number = 3",
     "INSERT INTO pieces SELECT job, epoch, leader, number, 1, data FROM pieces WHERE number = 3"],
)  # fmt: skip
def test_a_log_ends_before_the_first_record_whose_buffers_are_damaged(tmp_path, sql):
    """That is seen when it is read; its outcome went with it."""
    store = JobStore(tmp_path)
    store.put(spec(), [])
    store.append("job", LOGS[0], 0, [*told(6), over(1.0)])
    size = store.jobs()[0].bytes
    spoil(store, sql)
    store = JobStore(tmp_path)
    assert store.history("job").count(LOGS[0]) == 7
    assert plain(all_of(store, LOGS[0])) == plain(told(3))
    assert "are removed" in store.notice
    assert store.history("job").count(LOGS[0]) == 3
    assert store.jobs()[0].over is None
    store.append("job", LOGS[0], 3, [*told(6)[3:], over(1.0)])
    assert plain(all_of(store, LOGS[0])) == plain([*told(6), over(1.0)])
    assert abs(store.jobs()[0].bytes - size) < 100
    store.close()


@pytest.mark.parametrize(
    "sql",
    ["UPDATE jobs SET roots = zeroblob(20) WHERE id = CAST('job' AS BLOB)",
     "UPDATE entries SET entry = zeroblob(20) WHERE epoch = -1 AND job = CAST('job' AS BLOB)",
     "UPDATE pieces SET data = zeroblob(20) WHERE epoch = -1 AND job = CAST('job' AS BLOB)"],
)  # fmt: skip
def test_a_job_that_is_not_whole_is_dropped(tmp_path, sql):
    store = JobStore(tmp_path)
    store.put(spec("fine"), [b"abc"])
    store.put(spec(), [b"abc"], ["/"])
    store.append("job", LOGS[0], 0, told(3))
    spoil(store, sql)
    store = JobStore(tmp_path)
    store.jobs()
    with pytest.raises(LookupError):
        store.specification("job")
    assert "job job was damaged" in store.notice
    assert [each.spec.id for each in store.jobs()] == ["fine"]
    store.put(spec(), [b"abc"])
    assert store.history("job").versions == {}
    store.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A journal of two jobs, its file alone; and another whose records still lie in the -wal."""
    made = []
    for name in ("closed", "open"):
        store = JobStore(tmp_path_factory.mktemp(name))
        store.put(spec("job"), [bytes(3)], ["/data"])
        store.put(spec("other"), [bytes(9000)])
        for start in range(0, 40, 10):
            store.append("job", LOGS[0], start, told(40, size=700)[start : start + 10])
            store.append("other", LOGS[1], start, told(40, size=70)[start : start + 10])
        if name == "closed":
            store.close()
        copy = tmp_path_factory.mktemp("copy")
        for path in store.path.parent.iterdir():
            shutil.copy(path, copy)
        made.append(copy)
        store.close()
    assert (made[1] / "jobs.sqlite-wal").stat().st_size > 50_000
    return made


def is_right_or_less(folder: Path) -> str:
    """Opens it: each log is a prefix of what was written, and can be written on. Returns the notice."""
    store = JobStore(folder)
    try:
        for kept in store.jobs():
            assert kept.spec == spec(kept.spec.id)
            assert kept.roots == (("/data",) if kept.spec.id == "job" else ())
        for job, of, size in (("job", LOGS[0], 700), ("other", LOGS[1], 70)):
            read = plain(all_of(store, of, job))
            assert read == plain(told(40, size))[: len(read)]
            arguments, roots = (bytes(3), ["/data"]) if job == "job" else (bytes(9000), [])
            for _ in range(2):  # the second time over a fresh file, where rows lay in a wrong order
                store.put(spec(job), [arguments], roots)
                count = store.history(job).count(of)
                with contextlib.suppress(ValueError):
                    store.append(job, of, count, told(40, size)[count:])
                read = plain(all_of(store, of, job))
                assert read == plain(told(40, size))[: len(read)]
            assert len(read) == 40
            assert [bytes(each) for each in store.specification(job)[1]] == [arguments]
        return store.notice
    finally:
        store.close()


def damaged_copy(source: Path, target: Path, seed: int) -> None:
    """One of: cut off, a few bytes changed, a block of nothing, a page in another's place."""
    shutil.copytree(source, target)
    chance = random.Random(seed)
    path = chance.choice(sorted(target.iterdir()))
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data)) if chance.random() < 0.8 else chance.randrange(min(200, len(data)))
    match seed % 4:
        case 0:
            del data[place:]
        case 1:
            for _ in range(chance.randint(1, 20)):
                data[chance.randrange(place, min(place + 100, len(data)))] = chance.randrange(256)
        case 2:
            data[place : place + 5000] = bytes(len(data[place : place + 5000]))
        case 3:
            other = chance.randrange(len(data)) // 4096 * 4096
            page = data[other : other + 4096]
            data[place // 4096 * 4096 : place // 4096 * 4096 + len(page)] = page
    path.write_bytes(data)


@pytest.mark.parametrize("which", [0, 1], ids=["the file", "the file and its -wal"])
def test_whatever_became_of_the_bytes_each_log_is_a_prefix(written, tmp_path, which):
    for seed in range(40):
        damaged_copy(written[which], tmp_path / str(seed), seed)
        is_right_or_less(tmp_path / str(seed))


def test_one_bad_page_does_not_cost_the_other_jobs(written, tmp_path):
    """Unless it is one of the few at the top: what SQLite can still read is taken over."""
    whole = []
    for page in range(1, (written[0] / "jobs.sqlite").stat().st_size // 4096):
        folder = tmp_path / str(page)
        shutil.copytree(written[0], folder)
        with (folder / "jobs.sqlite").open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
        store = JobStore(folder)
        counts = [len(all_of(store, of, job)) for job, of in (("job", LOGS[0]), ("other", LOGS[1]))]
        if "taken over" in store.notice:
            whole.append(40 in counts)
        store.close()
    assert whole.count(True) > len(whole) / 2
