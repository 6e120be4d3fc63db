"""What a leader learns becomes few records, that cross and come back as they were; peers hear what is durable."""

from __future__ import annotations

import numpy as np
import pytest

from meshwit.codec import Codec
from meshwit.ids import PeerId
from meshwit.lang.control import Failure
from meshwit.peer.job.effects import KeepAnswer, KeepConcluded, KeepIntent, KeepResults, KeepSleep
from meshwit.peer.job.journal import Known
from meshwit.peer.succession.carrying import append_messages, records_of, sizes_of
from meshwit.peer.succession.durability import Receipts
from meshwit.peer.succession.records import Answered, Began, Concluded, Intended, Part, Record, Results, Slept
from meshwit.peer.succession.settings import APPEND_BYTES_MAX
from meshwit.peer.succession.writing import CHUNK_BYTES_MAX, LogWriter, Report
from meshwit.peer.work.messages import Done, span

A = PeerId("a")
LOG = (1, A)


def writer() -> LogWriter:
    return LogWriter(LOG, Codec())


def report(numbers: list[int], values: list[object], number: int = 0, step: int = 7) -> Report:
    header, buffers = Codec().encode(values)
    return Report(A, Done(step, span(numbers), header, b"", number=number), buffers)


def values_of(record: Record) -> list[object]:
    assert isinstance(record.body, Results)
    found: list[object] = []
    place = 0
    for part in record.body.parts:
        count = len(part.content.sizes)
        found += Codec().decode(part.content.header, record.buffers[place : place + count])
        place += count
    return found


def test_results_that_come_close_together_are_one_record():
    log = writer()
    for number in range(100):
        log.keep(KeepResults((3,), 0, 7, A, [number], [number * 2]), report([number], [number * 2], number + 1))
    (record,) = log.close()
    assert values_of(record) == [number * 2 for number in range(100)]
    assert log.durable(1) == ([(7, A, number + 1) for number in range(100)], [])


def test_what_a_leader_made_of_values_that_it_could_not_take_is_recorded():
    """Its disk had no room for their blobs, say: who leads next must not find values that nobody has."""
    log = writer()
    told = report([0, 1], [5, 6], 1)
    log.keep(KeepResults((3,), 0, 7, A, [0, 1], [None, None]), Report(told.peer, told.done, told.buffers, unfit=True))
    (record,) = log.close()
    assert values_of(record) == [None, None]
    assert log.durable(1)[0] == [(7, A, 1)], "the peer that made them is told all the same"


def test_a_report_that_is_taken_whole_is_not_encoded_again():
    log = writer()
    array = np.arange(100_000.0)
    told = report([0], [array])
    log.keep(KeepResults((3,), 0, 7, A, [0], [array]), told)
    (record,) = log.close()
    assert record.buffers[0] is told.buffers[0]


def test_of_a_report_that_is_taken_in_part_that_part_is_recorded():
    log = writer()
    log.keep(KeepResults((3,), 0, 7, A, [1, 3], ["b", "d"]), report([1, 2, 3], ["b", "c", "d"], 1))
    (record,) = log.close()
    assert values_of(record) == ["b", "d"]
    assert isinstance(record.body, Results)
    assert [list(part.items.numbers) for part in record.body.parts] == [[1, 3]]


def test_what_came_from_elsewhere_while_a_report_was_taken_is_not_mistaken_for_it():
    log = writer()
    told = report([0, 1], ["a", "b"], 1)
    log.keep(KeepResults((3,), 0, 7, A, [0, 1], ["a", "b"]), told)
    log.keep(KeepResults((4,), 0, 8, PeerId(""), [5, 6], ["x", "y"]), told)
    first, second = log.close()
    assert (values_of(first), values_of(second)) == (["a", "b"], ["x", "y"])


def test_a_large_chunk_is_closed_and_the_end_of_a_step_comes_after_its_results():
    log = writer()
    big = np.zeros(CHUNK_BYTES_MAX, np.uint8)
    for number in range(3):
        log.keep(KeepResults((3,), 0, 7, A, [number], [big]), None)
    log.keep(KeepConcluded((3,), 0), None)
    log.keep(KeepAnswer((4,), 1, Known("x")), None)
    log.keep(KeepAnswer((5,), 2, Known(failure=Failure("no"))), None)
    log.keep(KeepSleep((6,), 3, 12.5), None)
    bodies = [record.body for record in log.close()]
    assert [type(body) for body in bodies] == [Results, Results, Results, Concluded, Answered, Answered, Slept]
    assert log.count == 7


def test_intents_are_told_when_they_are_durable():
    log = writer()
    log.add(Began())
    log.close()
    intent = KeepIntent((3,), 0, 7, A, [4])
    log.keep(intent)
    (record,) = log.close()
    assert record.body == Intended((3,), 0, span([4]), A)
    assert log.durable(1) == ([], [])
    assert log.durable(2) == ([], [intent])
    assert log.durable(2) == ([], [])


def test_a_value_that_cannot_be_recorded_is_recorded_as_a_failure():
    log = writer()
    log.keep(KeepAnswer((4,), 0, Known(object())), None)
    (record,) = log.close()
    assert isinstance(record.body, Answered) and record.body.failure is not None


def test_records_cross_in_as_many_messages_as_it_takes():
    log = writer()
    arrays = [np.full(APPEND_BYTES_MAX // 3, number, np.uint8) for number in range(7)]
    for number, array in enumerate(arrays):
        log.keep(KeepAnswer((number,), number, Known([number, array])), None)
    records = log.close()
    messages = list(append_messages("job", LOG, 5, records))
    assert len(messages) == 4
    came: list[Record] = []
    for message, buffers in messages:
        assert message.first == 5 + len(came)
        came += records_of(message, [bytes(each) for each in buffers])
    assert [each.body for each in came] == [each.body for each in records]
    assert [bytes(each.buffers[0]) for each in came] == [array.tobytes() for array in arrays]


@pytest.mark.parametrize("buffers", [[], [b"short"], [b"x" * 80, b"more"]])
def test_records_whose_buffers_are_not_theirs_are_refused(buffers):
    log = writer()
    log.keep(KeepAnswer((0,), 0, Known(np.zeros(10000))), None)
    ((message, _),) = append_messages("job", LOG, 0, log.close())
    with pytest.raises(ValueError, match="buffers"):
        records_of(message, buffers)


def test_sizes_are_those_of_all_parts():
    log = writer()
    log.keep(KeepResults((3,), 0, 7, A, [0], [np.zeros(20000)]), None)
    log.keep(KeepResults((3,), 0, 7, A, [1, 2], [np.zeros(10000), np.zeros(30000)]), None)
    (record,) = log.close()
    assert sizes_of(record.body) == [160000, 80000, 240000]
    assert isinstance(record.body, Results) and all(isinstance(part, Part) for part in record.body.parts)


def test_recent_records_are_in_memory():
    log = writer()
    log.add(Began())
    log.close()
    log.keep(KeepSleep((6,), 0, 1.0), None)
    log.close()
    assert [record.body for record in log.recent_records(0, 9) or []] == [Began(), Slept((6,), 0, 1.0)]


def test_a_peer_is_told_only_how_far_all_its_reports_are_durable():
    receipts = Receipts()
    assert receipts.add(7, A, 2) == 0
    assert receipts.add(7, A, 3) == 0
    assert receipts.add(7, A, 1) == 3
    assert receipts.add(7, A, 1) == 0
    assert receipts.add(7, A, 4) == 4
    assert receipts.add(8, A, 1) == 1
