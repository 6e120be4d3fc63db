"""Frames: whole, in pieces, too long, broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwit.peer.wire.frames import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Channel,
    FrameParser,
    WireFrameError,
    frame_header,
    payload_bytes_max,
)


def frame(channel: int, payload: bytes) -> bytes:
    return frame_header(channel, len(payload)) + payload


def frames(parser: FrameParser) -> list[tuple[int, bytes]]:
    found = []
    while (each := parser.next_frame()) is not None:
        found.append(each)
    return found


@given(
    st.lists(st.tuples(st.sampled_from([2, 5, 6, 200]), st.binary(max_size=200)), max_size=12),
    st.lists(st.integers(0, 4000), max_size=30),
)
def test_what_goes_in_comes_out_however_it_is_cut(messages, cuts):
    stream = b"".join(frame(*each) for each in messages)
    parser, found, at = FrameParser(), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        parser.feed(stream[at : max(at, cut)])
        at = max(at, cut)
        found += frames(parser)
    assert found == messages
    assert parser.buffered_bytes == 0


def test_frames_wait_in_the_parser_until_they_are_asked_for():
    parser = FrameParser()
    parser.feed(frame(5, b"a") + frame(5, b"b")[:3])
    parser.feed(frame(5, b"b")[3:] + frame(5, b"c"))
    assert [payload for _, payload in frames(parser)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("channel", list(Channel))
def test_attack_oversize_frame(channel):
    """Refused at its header: nothing of it is kept."""
    most = payload_bytes_max(channel)
    parser = FrameParser()
    parser.feed(frame_header(channel, most))
    assert parser.next_frame() is None
    parser = FrameParser()
    parser.feed((most + 2).to_bytes(4, "big") + bytes((channel,)))
    with pytest.raises(WireFrameError, match="more than are allowed"):
        parser.next_frame()
    with pytest.raises(ValueError, match="too many"):
        frame_header(channel, most + 1)


def test_attack_frame_of_no_length_and_of_four_gigabytes():
    for header in (bytes(4) + b"\x05", b"\xff" * 4 + b"\x05"):
        parser = FrameParser()
        parser.feed(header)
        with pytest.raises(WireFrameError):
            parser.next_frame()


def test_before_membership_only_the_handshake_is_open():
    parser = FrameParser(only=Channel.HANDSHAKE)
    parser.feed(frame(Channel.HANDSHAKE, b"hello") + frame(Channel.JOB, b"run this"))
    assert parser.next_frame() == (Channel.HANDSHAKE, b"hello")
    with pytest.raises(WireFrameError, match="not open"):
        parser.next_frame()
    parser.only = None
    assert parser.next_frame() == (Channel.JOB, b"run this")


@given(st.lists(st.binary(max_size=64), max_size=40), st.sampled_from([None, 0, 7]))
def test_fuzz_any_bytes_give_frames_or_a_frame_error(chunks, only):
    parser = FrameParser(only)
    try:
        for chunk in chunks:
            parser.feed(chunk)
            for channel, payload in frames(parser):
                assert len(payload) <= payload_bytes_max(channel)
            assert parser.buffered_bytes <= HEADER_BYTES + PAYLOAD_BYTES_MAX + 64
    except WireFrameError:
        pass
