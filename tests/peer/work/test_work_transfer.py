"""Messages over frames: whatever is sent arrives as it was, and whatever cannot be is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.exec.messages import TaskFailure
from meshwit.peer.work import transfer
from meshwit.peer.work.messages import (
    ITEMS_MAX,
    AskBack,
    Assigned,
    Beat,
    Begun,
    Close,
    Died,
    Done,
    GivenBack,
    Granted,
    JobMessage,
    Open,
    Refused,
    Span,
    Unwanted,
    span,
)
from meshwit.peer.work.transfer import (
    HEADER_BYTES_MAX,
    LONG_MESSAGE,
    MESSAGE,
    PIECE,
    PIECE_BYTES,
    PIECE_BYTES_MIN,
    STREAMS_MAX,
    Packer,
    Parcel,
    TransferError,
    Unpacker,
)

ROOM = 64 * 1024 * 1024
EDGES = [0, 1, HEADER_BYTES_MAX, HEADER_BYTES_MAX + 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES]


def filled(size: int, seed: int) -> bytes:
    """Bytes of which no two stretches are alike."""
    return (bytes((seed + at * 7) % 251 for at in range(251)) * (size // 251 + 1))[:size]


numbers = st.integers(0, 2**40)
texts = st.text(max_size=20)
sizes = st.sampled_from(EDGES) | st.integers(0, 3 * PIECE_BYTES)
blobs_of_bytes = st.builds(filled, sizes, st.integers(0, 250)) | st.binary(max_size=50)
blob_refs = st.lists(st.tuples(texts, numbers), max_size=2)
spans = st.lists(st.integers(0, 2**31), max_size=5).map(span) | st.builds(
    lambda first, count: span(range(first, first + count)), numbers, st.integers(0, 9)
)
messages: st.SearchStrategy[JobMessage] = st.one_of(
    st.builds(
        Open, numbers, texts, blobs_of_bytes, st.integers(-9, 9), st.booleans(), st.lists(texts, max_size=2),
        st.booleans(), st.none() | st.floats(0, 1e9), st.none() | numbers, blob_refs, st.lists(texts, max_size=2),
    ),
    st.builds(Assigned, numbers, numbers, spans, blobs_of_bytes, blob_refs),
    st.builds(AskBack, numbers, spans),
    st.builds(Unwanted, numbers, spans),
    st.builds(Close, numbers, st.booleans()),
    st.builds(Refused, numbers, texts),
    st.builds(Granted, numbers, numbers),
    st.builds(Begun, numbers, st.lists(numbers, max_size=3)),
    st.builds(
        Done, numbers, spans, blobs_of_bytes, st.binary(max_size=40), st.integers(-1, 99),
        st.dictionaries(numbers, st.builds(TaskFailure, st.just("raised"), texts, texts), max_size=2),
        st.dictionaries(numbers, texts, max_size=2), blob_refs,
    ),
    st.builds(GivenBack, numbers, spans),
    st.just(Beat()),
    st.builds(Died, numbers, numbers, texts),
)  # fmt: skip
parcels = st.tuples(messages, st.lists(blobs_of_bytes, max_size=3))


def frames_of(packer: Packer, message: JobMessage, buffers=()) -> list[bytes]:
    return [b"".join(frame) for frame in packer.frames(message, buffers)]


def crossed(unpacker: Unpacker, frames: list[bytes]) -> list[tuple[JobMessage, list[bytes]]]:
    found = [unpacker.receive(frame) for frame in frames]
    return [plain(parcel) for parcel in found if parcel is not None]


def plain(parcel: Parcel) -> tuple[JobMessage, list[bytes]]:
    return parcel.message, [bytes(each) for each in parcel.buffers]


# --- what is sent arrives ------------------------------------------------------------------------------------------


@given(st.lists(parcels, max_size=4))
def test_every_message_arrives_as_it_was_with_its_buffers(sent):
    packer, unpacker = Packer(), Unpacker(ROOM)
    frames = [frame for message, buffers in sent for frame in frames_of(packer, message, buffers)]
    assert all(len(frame) <= 1024 * 1024 for frame in frames)
    assert crossed(unpacker, frames) == sent


@given(st.lists(parcels, max_size=3), st.lists(parcels, max_size=3), st.randoms(use_true_random=False))
def test_two_links_do_not_mix(one, other, random):
    """Their streams have the same numbers."""
    links = [(sent, Packer(), Unpacker(ROOM), []) for sent in (one, other)]
    waiting = [
        ([frame for message, buffers in sent for frame in frames_of(packer, message, buffers)], unpacker, came)
        for sent, packer, unpacker, came in links
    ]
    while waiting := [link for link in waiting if link[0]]:
        frames, unpacker, came = random.choice(waiting)
        parcel = unpacker.receive(frames.pop(0))
        if parcel is not None:
            came.append(plain(parcel))
    assert [came for _, _, _, came in links] == [one, other]


@given(messages.filter(lambda each: not getattr(each, "header", b"")), parcels, st.data())
def test_a_small_message_may_go_between_the_pieces_of_a_large_one(small, large, data):
    packer, unpacker = Packer(), Unpacker(ROOM)
    frames = frames_of(packer, *large)
    at = data.draw(st.integers(0, len(frames) - 1))
    frames[at:at] = frames_of(packer, small)
    assert crossed(unpacker, frames) == [(small, []), large]


def test_a_message_longer_than_a_frame_crosses_in_pieces():
    """One that names many items or blobs, however short its header is."""
    numbers = list(range(0, 900_000, 3))
    blobs = [(f"{number:064x}", number) for number in range(20_000)]
    message = Assigned(1, 2, Span(listed=numbers), b"short", blobs)
    frames = [b"".join(frame) for frame in Packer().frames(message, [b"beside"])]
    assert max(map(len, frames)) < 1024 * 1024
    unpacker = Unpacker(ROOM)
    parcels = [parcel for frame in frames if (parcel := unpacker.receive(frame)) is not None]
    assert [(each.message, list(map(bytes, each.buffers))) for each in parcels] == [(message, [b"beside"])]
    assert not unpacker._streams


def test_a_message_longer_than_any_may_be_is_not_sent(monkeypatch):
    monkeypatch.setattr(transfer, "MESSAGE_BYTES_MAX", 1000)
    message = Assigned(1, 2, Span(listed=list(range(0, 9000, 3))), b"")
    with pytest.raises(TransferError, match=r"Assigned of \d+ bytes"):
        list(Packer().frames(message))


def test_attack_a_long_message_that_is_not_there_or_too_long_is_refused(monkeypatch):
    with pytest.raises(TransferError, match="before its buffers"):
        Unpacker(ROOM).receive(bytes([LONG_MESSAGE]) + bytes(4))
    frames = [b"".join(frame) for frame in Packer().frames(Assigned(1, 2, Span(listed=[5] * 600_000), b""))]
    monkeypatch.setattr(transfer, "MESSAGE_BYTES_MAX", 1000)
    unpacker = Unpacker(ROOM)
    for frame in frames[:-1]:
        unpacker.receive(frame)
    with pytest.raises(TransferError, match="more than 1000 bytes"):
        unpacker.receive(frames[-1])


def test_any_buffer_crosses():
    given_ = memoryview(bytearray(range(200))).cast("H")
    frames = frames_of(Packer(), Beat(), [given_])
    unpacker = Unpacker(ROOM)
    parcels = [parcel for frame in frames if (parcel := unpacker.receive(frame)) is not None]
    assert bytes(parcels[0].buffers[0]) == bytes(range(200))


def test_a_limit_is_for_what_is_under_way_not_for_all_that_ever_came():
    packer, unpacker = Packer(), Unpacker(1000)
    for _ in range(50):
        assert len(crossed(unpacker, frames_of(packer, Beat(), [bytes(900)]))) == 1


# --- what cannot be ------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=80) | st.binary(max_size=80).map(b"\0".__add__), max_size=20))
def test_attack_random_frames_raise_nothing_but_the_error_for_it(frames):
    unpacker = Unpacker(100_000)
    for frame in frames:
        with contextlib.suppress(TransferError):
            unpacker.receive(frame)


@given(parcels, st.data())
def test_attack_damaged_frames_raise_nothing_but_the_error_for_it(sent, data):
    unpacker = Unpacker(ROOM)
    for frame in frames_of(Packer(), *sent):
        damaged = bytearray(frame[: data.draw(st.integers(0, len(frame)))] if data.draw(st.booleans()) else frame)
        if damaged:
            damaged[data.draw(st.integers(0, min(40, len(damaged) - 1)))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(TransferError):
            unpacker.receive(bytes(damaged))


def test_attack_a_deeply_nested_message_is_refused():
    with pytest.raises(TransferError):
        Unpacker(ROOM).receive(b"\0" + b"\x91" * 100_000)


def test_attack_more_bytes_than_there_is_room_for_are_refused():
    packer, unpacker = Packer(), Unpacker(1000)
    assert unpacker.receive(frames_of(packer, Beat(), [bytes(600)])[0]) is None
    with pytest.raises(TransferError, match="more than 1000 bytes"):
        unpacker.receive(frames_of(packer, Beat(), [bytes(600)])[0])


def test_attack_a_claimed_size_counts_at_once():
    """Memory would be taken for it, whether it comes or not."""
    frame = bytes([PIECE]) + (1).to_bytes(4, "little") + (2**63).to_bytes(8, "little")
    with pytest.raises(TransferError, match="bytes under way"):
        Unpacker(ROOM).receive(frame)


def test_attack_streams_of_no_bytes_are_counted_too():
    unpacker = Unpacker(ROOM)
    piece = [bytes([PIECE]) + number.to_bytes(4, "little") + bytes(8) for number in range(STREAMS_MAX + 1)]
    for frame in piece[:-1]:
        unpacker.receive(frame)
    with pytest.raises(TransferError):
        unpacker.receive(piece[-1])


def test_attack_a_stream_that_is_longer_than_it_said_is_refused():
    size = PIECE_BYTES_MIN + 10
    start = bytes([PIECE]) + (1).to_bytes(4, "little") + size.to_bytes(8, "little")
    unpacker = Unpacker(ROOM)
    unpacker.receive(start + bytes(PIECE_BYTES_MIN))
    with pytest.raises(TransferError, match="longer"):
        unpacker.receive(start + bytes(11))


@pytest.mark.parametrize("size", [0, 10])
def test_attack_a_stream_that_goes_on_after_its_end_is_refused(size: int):
    start = bytes([PIECE]) + (1).to_bytes(4, "little") + size.to_bytes(8, "little")
    unpacker = Unpacker(ROOM)
    unpacker.receive(start + bytes(size))
    with pytest.raises(TransferError, match="longer"):
        unpacker.receive(start)


def test_attack_a_stream_in_crumbs_is_refused():
    start = bytes([PIECE]) + (1).to_bytes(4, "little") + (ROOM // 2).to_bytes(8, "little")
    for crumb in (0, 1, PIECE_BYTES_MIN - 1):
        with pytest.raises(TransferError, match="crumbs"):
            Unpacker(ROOM).receive(start + bytes(crumb))


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_message_before_its_buffers_is_refused(left_out):
    """One piece of two, or both."""
    frames = frames_of(Packer(), Beat(), [bytes(PIECE_BYTES + 1)])
    unpacker = Unpacker(ROOM)
    for frame in frames[: 1 - left_out]:
        unpacker.receive(frame)
    assert frames[-1][0] == MESSAGE
    with pytest.raises(TransferError, match="before its buffers"):
        unpacker.receive(frames[-1])


def test_a_buffer_belongs_to_one_message():
    frames = frames_of(Packer(), Beat(), [b"abc"])
    unpacker = Unpacker(ROOM)
    crossed(unpacker, frames)
    with pytest.raises(TransferError, match="before its buffers"):
        unpacker.receive(frames[-1])


# --- item numbers --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**31), max_size=30) | st.builds(range, st.integers(0, 50), st.integers(0, 90)))
def test_a_span_has_the_same_numbers_in_the_same_order(wanted):
    made = span(wanted)
    assert list(made.numbers) == list(wanted)
    assert made.sane


def test_numbers_that_lie_together_cross_as_two():
    assert span([5, 6, 7]) == span(range(5, 8)) == Span(5, 3)
    assert span([5, 7, 6]) == Span(listed=[5, 7, 6])
    assert list(span(range(0, 10, 3)).numbers) == [0, 3, 6, 9]


@pytest.mark.parametrize(
    "sent",
    [Span(0, ITEMS_MAX + 1), Span(0, -1), Span(-1, 1), Span(listed=[0] * (ITEMS_MAX + 1)), Span(listed=[3, -1])],
    ids=["many", "fewer than none", "before the first", "many listed", "listed before the first"],
)
def test_attack_spans_that_cannot_be_meant(sent):
    assert not sent.sane
