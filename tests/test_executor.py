"""Functions and activities as `concurrent.futures` knows them, with a peer in this process and worker processes."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, as_completed
from concurrent.futures import Executor as FuturesExecutor
from pathlib import Path

import numpy
import pytest

import meshwit
from meshwit import client
from meshwit.executor import AHEAD_MAX, import_name
from meshwit.streams import StreamEndedError, TaskError
from tests import importable

PATIENCE_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[meshwit.Session]:
    """Two worker processes, for all tests of the module."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patched.setenv("MESHWIT_HOME", str(tmp_path_factory.mktemp("home")))
        with meshwit.Session(workers=2) as made:
            patched.setattr(client, "_shared", made)
            yield made


@pytest.fixture
def executor() -> Iterator[meshwit.Executor]:
    with meshwit.Executor() as made:
        yield made


# --- calls -------------------------------------------------------------------------------------------------------


def test_a_function_crosses_by_its_name_with_all_its_arguments(executor):
    assert isinstance(executor, FuturesExecutor) and executor.here
    futures = [executor.submit(importable.joined, str(x), "b", between="-") for x in range(20)]
    assert [each.result(PATIENCE_S) for each in as_completed(futures, PATIENCE_S)]
    assert [each.result() for each in futures] == [f"{x}-b" for x in range(20)]


def test_an_activity_is_called_by_its_name(executor):
    assert list(executor.submit("Int.Range", 2, 5).result(PATIENCE_S)) == [2, 3, 4]
    assert list(executor.map("Text.Lines", ["one\ntwo", "three"])) == [["one", "two"], ["three"]]


def test_values_of_any_type_cross_in_this_process(executor):
    assert executor.submit(importable.Point.moved, importable.Point(1), 2).result(PATIENCE_S) == importable.Point(3)
    array = numpy.arange(100_000.0)
    assert numpy.array_equal(executor.submit(numpy.negative, array).result(PATIENCE_S), -array)


def test_what_was_raised_is_raised_here_with_the_traceback_from_there(executor):
    error = executor.submit(importable.broken, 5).exception(PATIENCE_S)
    assert isinstance(error, ZeroDivisionError) and str(error) == "cannot divide 5"
    assert "in broken" in error.__notes__[0] and "plugins" not in error.__notes__[0]


def test_an_exception_that_cannot_cross_is_told_in_words(executor):
    error = executor.submit(importable.refuses, "it").exception(PATIENCE_S)
    assert isinstance(error, TaskError)
    assert "it is refused: no reason" in error.message and "in refuses" in error.traceback


def test_a_result_that_cannot_cross_fails_its_call_alone(executor):
    bad, good = executor.submit(importable.lock), executor.submit(math.sqrt, 4)
    assert "cannot pickle" in str(bad.exception(PATIENCE_S))
    assert good.result(PATIENCE_S) == 2.0


def test_code_never_crosses(executor):
    def local() -> None: ...

    for fn, why in [
        (lambda: 1, "a lambda has no name"), (local, "defined inside a function"), (3, "int is no function"),
        (functools.partial(math.pow, 2), "partial"), (importable.Point(1).moved, "cannot be imported by that name"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=why):
            executor.submit(fn)


def test_functions_of_the_program_itself_are_refused(executor, monkeypatch):
    monkeypatch.setattr(importable.double, "__module__", "__main__")
    with pytest.raises(TypeError, match="put it into a module"):
        executor.submit(importable.double, 1)


@pytest.mark.parametrize(("fn", "name"), [
    (math.sqrt, "math:sqrt"), (numpy.sqrt, "numpy:sqrt"), (numpy.linalg.norm, "numpy.linalg:norm"),
    (importable.Point.moved, "tests.importable:Point.moved"), (importable.Point, "tests.importable:Point"),
])  # fmt: skip
def test_names_by_which_functions_are_imported(fn, name):
    assert import_name(fn) == name


def test_an_activity_that_there_is_not_is_refused_at_once(executor):
    with pytest.raises(ValueError, match="no activity `Text\\.Nothing`"):
        executor.submit("Text.Nothing", 1)
    with pytest.raises(TypeError, match="by place only"):
        executor.submit("Text.Lines", text="a")


# --- futures -----------------------------------------------------------------------------------------------------


def test_a_future_runs_once_it_has_left_and_can_be_cancelled_before(executor, tmp_path):
    gate = tmp_path / "open"
    futures = [executor.submit(importable.held_until, str(gate)) for _ in range(40)]
    assert not futures[-1].running() and futures[-1].cancel()
    begun = threading.Event()
    while not futures[0].running():
        begun.wait(0.01)
    assert not futures[0].cancel()
    gate.touch()
    assert futures[0].result(PATIENCE_S) == str(gate)
    with pytest.raises(CancelledError):
        futures[-1].result(PATIENCE_S)
    assert {each.result(PATIENCE_S) for each in futures[:-1]} == {str(gate)}


def test_shutdown_finishes_what_was_submitted_and_takes_nothing_more():
    executor = meshwit.Executor()
    futures = [executor.submit(importable.double, x) for x in range(50)]
    executor.shutdown()
    assert [each.result(0) for each in futures] == [2 * x for x in range(50)]
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(importable.double, 1)


def test_shutdown_may_cancel_what_has_not_left(tmp_path):
    executor, gate = meshwit.Executor(), tmp_path / "open"
    futures = [executor.submit(importable.held_until, str(gate)) for _ in range(40)]
    executor.shutdown(wait=False, cancel_futures=True)
    gate.touch()
    assert futures[-1].cancelled()
    executor.shutdown()
    assert all(each.done() for each in futures)


def test_cancelling_kills_what_runs(tmp_path):
    executor = meshwit.Executor()
    futures = [executor.submit(importable.held_until, str(tmp_path / "never")) for _ in range(20)]
    while not futures[0].running():
        threading.Event().wait(0.01)
    executor.cancel()
    assert isinstance(futures[0].exception(PATIENCE_S), StreamEndedError)
    assert all(each.done() for each in futures) or futures[-1].cancelled()


def test_a_callback_may_submit_more(executor):
    done: list[int] = []
    over = threading.Event()

    def again(future) -> None:
        done.append(future.result())
        if len(done) < 5:
            executor.submit(importable.double, len(done)).add_done_callback(again)
        else:
            over.set()

    executor.submit(importable.double, 0).add_done_callback(again)
    assert over.wait(PATIENCE_S) and done == [0, 2, 4, 6, 8]


# --- map ---------------------------------------------------------------------------------------------------------


def test_map_gives_results_in_order():
    assert list(meshwit.map(importable.double, range(5000))) == [2 * x for x in range(5000)]
    assert list(meshwit.map(math.pow, [2, 3], [3, 2])) == [8.0, 9.0]
    assert list(meshwit.map(importable.double, [])) == []


def test_map_reads_an_endless_input_only_so_far_ahead():
    counted = itertools.count()
    results = meshwit.map(importable.double, counted)
    assert list(itertools.islice(results, 1000)) == [2 * x for x in range(1000)]
    assert next(counted) <= 1000 + AHEAD_MAX
    results.close()


def test_map_raises_where_the_result_would_stand():
    results = meshwit.map(math.sqrt, [4.0, -1.0, 9.0])
    assert next(results) == 2.0
    with pytest.raises(ValueError, match="math domain error"):
        next(results)


# --- streams -----------------------------------------------------------------------------------------------------


def test_a_stream_of_a_session_takes_items_one_by_one_and_many_at_once(session):
    with session.stream("Text.Lines") as stream:
        one = stream.submit("a\nb")
        assert [each.result(PATIENCE_S) for each in stream.submit_many(["c", "d\ne"])] == [["c"], ["d", "e"]]
        assert one.result(PATIENCE_S) == ["a", "b"]
        assert stream.pending == 0
    with pytest.raises(RuntimeError, match="closed"):
        stream.submit("more")


def test_a_stream_left_by_an_exception_is_cancelled(session, tmp_path):
    stream = session.stream("Python.Call", arguments=2)
    future = stream.submit(("tests.importable:held_until", [str(tmp_path / "never")]))
    stream.__exit__(KeyError, KeyError(), None)
    assert future.done()


def test_what_is_left_when_a_session_closes_says_so(tmp_path: Path):
    with meshwit.Session(workers=1) as session:
        stream = session.stream("Python.Call", arguments=2)
        future = stream.submit(("tests.importable:held_until", [str(tmp_path / "never")]))
    assert isinstance(future.exception(PATIENCE_S), StreamEndedError)
    assert stream.wait(PATIENCE_S)
