"""The numbers of the directory, each with what goes wrong when it is too low or too high."""

from __future__ import annotations

from typing import Final

import msgspec

DATAGRAM_BYTES_MAX: Final = 1200
"""Of a message before it is sealed: with the seal and the headers it passes every path without fragments."""
RECORD_BYTES_MAX: Final = 1100
"""Of a record as it travels: with the head of a message around it, it fits one datagram."""
SKEW_S: Final = 600
"""Clocks of members may differ by this much: a record is kept that long beyond its expiry."""
TTL_S_MIN: Final = 60
TTL_S_MAX: Final = 24 * 3600


class DirectorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one directory; all peers of a mesh should agree on `k` and `owners_max`.

    Attributes:
        k: nodes that keep a record, and contacts in a bucket. Too low: sudden deaths lose records; too high: stores
            cost k datagrams and k answers.
        alpha: questions in flight in one lookup. Too low: slow lookups; too high: datagrams wasted.
        tries: how often a question is sent before its node counts as dead. Too low: loss looks like death.
        try_s: seconds before the second try while the round trip is unknown; three of them are what a dead node costs.
        try_s_min: seconds, the shortest wait, however short the round trip. Too low: a busy peer looks dead.
        try_s_max: seconds, the longest wait, however long the round trip.
        shun_s: seconds that a dead node is not asked; doubled at each further failure up to `shun_s_max`.
        shun_s_max: seconds. Too high: a peer that came back silently is asked late.
        read_quorum: holders that answer before a read ends. One: an old version may win; too high: slow reads.
        owners_max: records under one key at one node. Too low: deeper levels are needed early; too high: one popular
            key fills a node.
        records_max: records at one node.
        record_bytes_max: bytes of all records at one node.
        owner_records_max: records of one owner at one node, so that one member cannot fill it.
        requests_per_s: served per second and sender; more are dropped unanswered. Too low: honest peers look dead.
        requests_burst: served at once from one sender.
        calls_max: own questions in flight. Further ones fail at once, and nobody is shunned for it.
        publish_at_once: own records being stored at a time.
        join_rounds: rounds in which silent contacts are asked again when joining.
        join_pause_s: seconds before the second round, doubled each time.
        maintain_s: seconds between looks at what expired and which buckets are stale.
        refresh_s: seconds after which a bucket without a lookup gets one.
        handover_parallel: handed-over datagrams in flight.
    """

    k: int = 20
    alpha: int = 3
    tries: int = 3
    try_s: float = 0.4
    try_s_min: float = 0.1
    try_s_max: float = 2.0
    shun_s: float = 60.0
    shun_s_max: float = 900.0
    read_quorum: int = 3
    owners_max: int = 64
    records_max: int = 16_384
    record_bytes_max: int = 16 * 1024 * 1024
    owner_records_max: int = 512
    requests_per_s: float = 100.0
    requests_burst: float = 300.0
    calls_max: int = 1024
    publish_at_once: int = 4
    join_rounds: int = 4
    join_pause_s: float = 0.5
    maintain_s: float = 60.0
    refresh_s: float = 3600.0
    handover_parallel: int = 4
