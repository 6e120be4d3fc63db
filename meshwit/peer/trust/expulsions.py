"""Expulsions: a member says that another is none any more, and all who hear it refuse that peer for good.

A certificate cannot be taken back, so an expulsion is a signed record, topic `expel:<id>`, that everybody keeps and
passes on. It names those admitted through the expelled who stay; whoever else is chained through that peer is refused,
so the expelled cannot let itself in again under a new key.

Which expulsions stand is a function of the set of records alone, so the order of their arrival does not matter.
**Seniority decides**: records are weighed by the place of their signer in the mesh (certificates to the root, then the
date of its certificate, then its id), the founder's first; one stands unless its signer is expelled by those standing
already. Of two that expel one another the senior stays, and no clock can be set back to win. What it costs: the
thief of a senior device can answer its expulsion where the news has not arrived yet. The time said in a record could
not prevent that, for the thief writes it. Against a stolen founder that got a word in, found a new mesh.

An expulsion made by somebody who is now expelled in turn would lapse with him: the new record takes it over, unless
its signer wants that member back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from meshwit.ids import ID_BYTES, MeshId, PeerId, id_bytes, id_text, is_id
from meshwit.peer.trust.certificates import (
    CertificateKind,
    Chain,
    chain_fault,
    decode_chain,
    encode_chain,
    expelled_in,
    name_fault,
)
from meshwit.records import RECORD_BYTES_MAX, Record, Signer, Verifier, record_fault, signed_record

TOPIC: Final = "expel:"
EXPULSIONS_MAX: Final = 512
"""Kept of one mesh; the junior ones beyond are dropped, so that nobody fills the memory of all with them."""


class Sentence(msgspec.Struct, frozen=True, array_like=True):
    """One who is out, and who stays nevertheless.

    Attributes:
        target: the peer.
        name: what it was called.
        kept: the ids, 20 bytes each, of those admitted through it that stay members.
    """

    target: PeerId
    name: str
    kept: bytes


class Expulsion(msgspec.Struct, frozen=True, array_like=True):
    """The payload of an expulsion record.

    Attributes:
        verdict: on the peer expelled.
        at: seconds since 1970 by the signer's clock; for people, nothing is decided by it.
        chain: the signer's certificates, encoded.
        taken_over: what the expelled had decided about others and what would lapse now.
    """

    verdict: Sentence
    at: int
    chain: bytes
    taken_over: tuple[Sentence, ...] = ()


_decoder: Final = msgspec.msgpack.Decoder(Expulsion)


def expulsion_record(signer: Signer, expulsion: Expulsion, version: int) -> Record:
    """Signs it. Raises ValueError if more is kept than one record holds."""
    payload = msgspec.msgpack.encode(expulsion)
    if len(payload) > RECORD_BYTES_MAX:
        raise ValueError(f"the expulsion of {expulsion.verdict.name} would have to name too many that stay members")
    return signed_record(signer, f"{TOPIC}{expulsion.verdict.target}", version, payload)


def is_expulsion(topic: str) -> bool:
    """Whether records of that topic are expulsions."""
    return topic.startswith(TOPIC)


def read_expulsion(record: Record) -> Expulsion:
    """What an expulsion record says. Raises ValueError if it is none; of its truth nothing is said."""
    try:
        expulsion = _decoder.decode(record.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("this is no expulsion") from None
    for each in (expulsion.verdict, *expulsion.taken_over):
        if not is_id(each.target) or name_fault(each.name) or len(each.kept) % ID_BYTES:
            raise ValueError("this expulsion is malformed")
    if record.topic != f"{TOPIC}{expulsion.verdict.target}":
        raise ValueError("this expulsion is filed under another topic")
    return expulsion


def expulsion_fault(record: Record, mesh: MeshId, verify: Verifier) -> str:
    """Why a record is no expulsion by somebody admitted to the mesh; empty if it is. Whether it stands is not said."""
    fault = record_fault(record, verify)
    if fault:
        return fault
    if record.expires_at:
        return "an expulsion does not expire"
    try:
        expulsion = read_expulsion(record)
        chain = decode_chain(expulsion.chain)
    except ValueError as error:
        return str(error)
    if record.owner == expulsion.verdict.target:
        return "nobody expels himself"
    # Judged without a clock: a record that is good today has to be good on every device at all times.
    return chain_fault(chain, mesh, record.key, 0, {}, verify=verify)


def merge_expulsions(kept: Iterable[Record], more: Iterable[Record]) -> tuple[Record, ...]:
    """The union: of one signer about one target the highest version, at most `EXPULSIONS_MAX`, seniors first.

    Commutative, associative and idempotent. Every record has to be without fault.
    """
    best: dict[tuple[PeerId, str], Record] = {}
    for record in (*kept, *more):
        key = (record.owner, record.topic)
        other = best.get(key)
        if other is None or (record.version, record.signature) > (other.version, other.signature):
            best[key] = record
    return tuple(sorted(best.values(), key=_seniority)[:EXPULSIONS_MAX])


@lru_cache(maxsize=16)
def standing(records: tuple[Record, ...]) -> Mapping[PeerId, frozenset[PeerId]]:
    """Who is expelled by a merged set of records, each with the ids of those that stay members all the same."""
    expelled: dict[PeerId, frozenset[PeerId]] = {}
    for record in records:
        expulsion = read_expulsion(record)
        if expelled_in(decode_chain(expulsion.chain), expelled) is not None:
            continue
        for verdict in (expulsion.verdict, *expulsion.taken_over):
            before = expelled.get(verdict.target, frozenset())
            expelled[verdict.target] = before | unpack_ids(verdict.kept)
    return MappingProxyType(expelled)


def lapsing(records: tuple[Record, ...], record: Record, free: Collection[PeerId]) -> tuple[Sentence, ...]:
    """The verdicts that stood before a record came and do not with it, those on its signer and the `free` apart."""
    before, after = standing(records), standing(merge_expulsions(records, (record,)))
    names = {v.target: v.name for r in records for e in (read_expulsion(r),) for v in (e.verdict, *e.taken_over)}
    lost = sorted(set(before) - set(after) - {record.owner, *free})
    return tuple(Sentence(each, names[each], pack_ids(before[each])) for each in lost)


def next_version(records: Iterable[Record], owner: PeerId, target: PeerId, now: float) -> int:
    """The version of a signer's next record about somebody: the time, but above the last one's."""
    known = (each.version for each in records if each.owner == owner and each.topic == f"{TOPIC}{target}")
    return max(int(now * 1000), max(known, default=0) + 1)


def kept_members(target: PeerId, members: Mapping[PeerId, Chain]) -> frozenset[PeerId]:
    """Whom an expulsion has to name so that every given member but the target and its device's other peers stays.

    Only the first known member after the target is named for each chain: those behind it stand with it.
    """
    kept: set[PeerId] = set()
    for chain in members.values():
        ids = [each.id for each in chain]
        if target not in ids:
            continue
        own_device = True
        for certificate, each in list(zip(chain, ids, strict=True))[ids.index(target) + 1 :]:
            own_device = own_device and certificate.kind is CertificateKind.SAME_DEVICE
            if each in members and not own_device:
                kept.add(each)
                break
    return frozenset(kept)


def verdict_on(target: PeerId, name: str, kept: Iterable[PeerId]) -> Sentence:
    """Packs it."""
    return Sentence(target, name, pack_ids(kept))


def expulsion_by(chain: Chain, verdict: Sentence, now: float, taken_over: tuple[Sentence, ...] = ()) -> Expulsion:
    """What the member with that chain says."""
    return Expulsion(verdict, int(now), encode_chain(chain), taken_over)


def pack_ids(ids: Iterable[PeerId]) -> bytes:
    """20 bytes each, in order."""
    return b"".join(id_bytes(each) for each in sorted(ids))


def unpack_ids(packed: bytes) -> frozenset[PeerId]:
    """What `pack_ids` wrote; the length has to be a multiple of 20."""
    pieces = (packed[at : at + ID_BYTES] for at in range(0, len(packed), ID_BYTES))
    return frozenset(PeerId(id_text(each)) for each in pieces)


def _seniority(record: Record) -> tuple[int, int, str, str]:
    """Sorts the records of seniors first: by depth, age of the certificate, id; then by target."""
    chain = decode_chain(read_expulsion(record).chain)
    return len(chain), chain[-1].issued_at, record.owner, record.topic
