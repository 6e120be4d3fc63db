"""Which records are believed, when they are stored and again when they are read."""

from __future__ import annotations

from collections.abc import Callable

from meshwit.dht.keys import topic_fault
from meshwit.dht.messages import encode_record
from meshwit.dht.settings import RECORD_BYTES_MAX, SKEW_S, TTL_S_MAX
from meshwit.ids import PeerId
from meshwit.records import Record, Verifier, record_fault


class Validity:
    """Decides on records; the clock is seconds since 1970."""

    def __init__(self, verify: Verifier, admits: Callable[[PeerId], bool], clock: Callable[[], float]) -> None:
        self._verify = verify
        self._admits = admits
        self._clock = clock

    def fault(self, record: Record, level: int) -> str:
        """Why it is not believed; empty if it is. The signature comes last, as it costs most."""
        return (
            topic_fault(record.topic, record.owner, level)
            or ("too long" if len(encode_record(record)) > RECORD_BYTES_MAX else "")
            or self.age_fault(record)
            or ("" if self._admits(record.owner) else "its owner is no member")
            or record_fault(record, self._verify)
        )

    def age_fault(self, record: Record) -> str:
        """Why its time is not now: expired, or claiming to live longer than records may."""
        now = self._clock()
        if record.expires_at < now - SKEW_S:
            return "expired"
        if record.expires_at > now + TTL_S_MAX + SKEW_S:
            return "lives too long"
        return ""
