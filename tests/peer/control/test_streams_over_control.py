"""Streams over the control socket: the real client, the real server and a real engine with worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from websockets.exceptions import ConnectionClosed

import meshwit
from meshwit import remote_streams
from meshwit.peer.control import job_client, stream_socket
from meshwit.peer.control.job_messages import Accepted, CloseStream, Items, OpenStream, StreamEnded, encode
from meshwit.peer.job.steps import TaskFault
from meshwit.plugins.discovery import installed
from meshwit.plugins.registry import Registry
from meshwit.remote_streams import open_stream
from meshwit.streams import StreamEndedError, TaskError
from tests import importable
from tests.mischief import Mischief
from tests.served_engine import ServedEngine

PATIENCE_S = 30.0
REGISTRY = Registry([*installed().controllers.values(), Mischief()])
CODEC = REGISTRY.codec()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEngine]:
    """One peer that allows the functions of one module, for all tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        home = tmp_path_factory.mktemp("home")
        with ServedEngine(home, REGISTRY, functions=("tests.importable", "numpy")) as made:
            patched.setenv("MESHWIT_HOME", str(home))
            yield made


def opened(served: ServedEngine, activity: str = "Mischief.Double", **more):
    return open_stream(served.client, OpenStream(activity=activity, **more), CODEC)


def follow(connection) -> None:
    """Hears what the peer says until there is no more."""
    while True:
        job_client.received(connection, PATIENCE_S)


def test_items_go_and_outcomes_come(served):
    with opened(served) as stream:
        futures = stream.submit_many(range(3000))
        assert [each.result(PATIENCE_S) for each in futures] == [2 * x for x in range(3000)]
        assert stream.submit(7).result(PATIENCE_S) == 14


def test_a_failure_is_that_of_its_item(served):
    with opened(served, "Mischief.Raise") as stream:
        futures = stream.submit_many(range(6))
        with pytest.raises(TaskError, match="no such luck"):
            futures[3].result(PATIENCE_S)
        assert [futures[x].result(PATIENCE_S) for x in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]


def test_an_item_that_cannot_cross_fails_alone(served):
    with opened(served) as stream:
        futures = stream.submit_many([1, object(), 3])
        with pytest.raises(ValueError, match="cannot cross"):
            futures[1].result(PATIENCE_S)
        assert [futures[0].result(PATIENCE_S), futures[2].result(PATIENCE_S)] == [2, 6]


def test_bytes_without_an_outcome_are_bounded(served, monkeypatch):
    monkeypatch.setattr(remote_streams, "UNACKNOWLEDGED_BYTES_MAX", 1_000_000)
    monkeypatch.setattr(remote_streams, "ITEMS_BYTES", 200_000)
    monkeypatch.setattr(stream_socket, "UNACKNOWLEDGED_BYTES_MAX", 1_000_000)
    array = numpy.arange(25_000.0)
    with opened(served, "Python.Call", arguments=2, requires="python.functions") as stream:
        futures = stream.submit_many([("numpy:negative", [array + n]) for n in range(60)])
        for n, future in enumerate(futures):
            assert numpy.array_equal(future.result(PATIENCE_S), -(array + n))


def test_a_client_that_sends_more_than_it_may_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(stream_socket, "UNACKNOWLEDGED_BYTES_MAX", 1000)
    connection = job_client.opened(served.client)
    answer = job_client.answer(connection, OpenStream(activity="Mischief.Raise"))
    assert isinstance(answer, Accepted) and answer.slots == 2
    header, _ = CODEC.encode(["x" * 2000] * 2)
    connection.send(encode(Items(0, header)))
    connection.send(encode(Items(2, header)))
    with pytest.raises(ConnectionClosed, match=r"without an outcome"):
        follow(connection)


def test_an_empty_stream_ends(served):
    connection = job_client.opened(served.client)
    assert isinstance(job_client.answer(connection, OpenStream(activity="Mischief.Double")), Accepted)
    connection.send(encode(CloseStream()))
    assert job_client.received(connection, PATIENCE_S) == StreamEnded()
    connection.close()


def test_a_stream_whose_client_is_gone_is_cancelled(served):
    connection = job_client.opened(served.client)
    job_client.answer(connection, OpenStream(activity="Mischief.Double"))
    connection.close()
    limit = time.monotonic() + PATIENCE_S
    while served.ask(lambda engine: engine.leading.jobs):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_an_unknown_activity_is_refused(served):
    with pytest.raises(ValueError, match=r"no activity `Mischief\.Nothing`"):
        opened(served, "Mischief.Nothing")


def test_outcomes_are_cut_into_messages_of_moderate_size(monkeypatch):
    monkeypatch.setattr(stream_socket, "OUTCOMES_BYTES", 1000)
    outcomes = [(0, b"x" * 900), (1, b"y" * 900), (2, TaskFault("raised", "no")), (3, object())]
    messages = stream_socket.outcomes_messages(outcomes, CODEC, 1)
    assert len(messages) > 2
    found = [job_client.decode_to_client(each) for each in messages]
    assert [number for each in found for number in each.numbers] == [0, 1, 2, 3]
    assert [each.failures[n].kind for each in found for n in each.failures] == ["raised", "unencodable"]


# --- the executor on that peer -----------------------------------------------------------------------------------


def test_the_executor_uses_the_running_peer_and_the_functions_that_it_allows(served):
    with meshwit.Executor() as executor:
        assert not executor.here
        assert executor.submit(importable.double, 4).result(PATIENCE_S) == 8
        assert executor.submit(importable.joined, "a", "b", between="-").result(PATIENCE_S) == "a-b"
        error = executor.submit(importable.broken, 5).exception(PATIENCE_S)
        assert isinstance(error, TaskError) and "ZeroDivisionError: cannot divide 5" in str(error)
    assert list(meshwit.map(importable.double, range(200))) == [2 * x for x in range(200)]


def test_functions_of_other_packages_are_refused_with_what_to_do(served):
    with meshwit.Executor() as executor:
        error = executor.submit(time.gmtime, 0).exception(PATIENCE_S)
    assert isinstance(error, StreamEndedError)
    assert "python.functions.time" in str(error) and "--functions time" in str(error)


def test_pickles_are_refused_unless_the_owner_allows_them(served):
    with meshwit.Executor() as executor:
        error = executor.submit(importable.double, importable.Point(2)).exception(PATIENCE_S)
    assert isinstance(error, StreamEndedError)
    assert "python.pickle" in str(error) and "--allow-pickle" in str(error)


def test_pickles_are_taken_where_the_owner_allows_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ServedEngine(Path(tmp_path), REGISTRY, allow_pickle=True):
        monkeypatch.setenv("MESHWIT_HOME", str(tmp_path))
        with meshwit.Executor() as executor:
            future = executor.submit(importable.Point.moved, importable.Point(2), 3)
            assert future.result(PATIENCE_S) == importable.Point(5)


def test_a_script_calls_what_the_peer_allows_and_nothing_else(served):
    call = 'Job:Main() {{ Object:x = Python.Call("{}", [3]); Return(x); }}'
    submitted = [job_client.start_job(served.client, job_client.asked_of(
        job_client.Submit, text=call.format(name), filename="s.wit", job="Main", arguments=[], codec=CODEC), CODEC)
        for name in ("tests.importable:double", "time:gmtime", "tests.importable:borrowed")]  # fmt: skip
    good, foreign, borrowed = [job.wait(PATIENCE_S) for job in submitted]
    assert good.returned == [6]
    assert "does not allow the functions of time" in foreign.error.message
    assert "not of a package that this device allows" in borrowed.error.message


def test_a_peer_stops_cleanly_while_clients_are_leaving(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ServedEngine(tmp_path, REGISTRY) as served:
        connections = [job_client.opened(served.client) for _ in range(4)]
        for connection in connections:
            job_client.answer(connection, OpenStream(activity="Mischief.Double"))
            with connection.protocol_mutex:
                connection.protocol.send_close(1000)
                connection.send_data()
