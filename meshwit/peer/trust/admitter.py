"""The member's side of joining: decides whether one device behind one connection comes in.

    FRESH -> NONCE_SENT -> PENDING -> DONE     a person approves here (`approve`, `deny`)
    FRESH, NONCE_SENT, PENDING -> CODE_BEGUN -> DONE    the code that this member shows
    FRESH -> TOKEN_BEGUN -> DONE               an invite of any member
    FRESH -> DONE                              the mesh is open

Nothing of the mesh but its name is said before the joiner has proven itself or was approved; what is said then is read
from `handout` at that moment, for meshes change within the ten minutes that a person may take. The wrong tries at codes
are counted in the `CodeBook` that all connections share. Pure; `now` is seconds since 1970; after `Admit` or
`JoinRefused` it is over and every further byte is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import msgspec

from meshwit.ids import PeerId, peer_id
from meshwit.peer.trust.certificates import (
    DEPTH_MAX,
    CertificateKind,
    Chain,
    chain_fault,
    clean_name,
    decode_chain,
    encode_chain,
    issue,
    unique_name,
)
from meshwit.peer.trust.codes import CodeBook
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.invites import Address
from meshwit.peer.trust.join_effects import Admit, Effect, JoinRefused, RefusalKind, SendMessage, Show, Way
from meshwit.peer.trust.join_messages import (
    NONCE_BYTES,
    Ask,
    CodeAsk,
    CodeProof,
    CodeReply,
    Message,
    Nonce,
    Refuse,
    Reveal,
    TokenAsk,
    TokenProof,
    TokenReply,
    Welcome,
    WelcomeBody,
    decode,
    encode,
    fitting,
    refused_by_other,
    sound_addresses,
)
from meshwit.peer.trust.join_proofs import (
    CodeExchange,
    approval_words,
    commitment,
    mesh_hash,
    same,
    token_message,
)
from meshwit.peer.trust.keys import Entropy, verify
from meshwit.peer.trust.membership import Membership
from meshwit.records import Signer

STEP_S: Final = 15.0
"""For each message of the joiner's program."""
APPROVAL_S: Final = 600.0
"""For the person who approves, and for the one who types a code."""


class Handout(msgspec.Struct, frozen=True):
    """What a member may hand out, as it is at this moment.

    Attributes:
        membership: its own.
        addresses: of members, the steadiest first.
        taken: the names in use, without the joiner's own if it was a member before.
    """

    membership: Membership
    addresses: tuple[Address, ...] = ()
    taken: frozenset[str] = frozenset()


class AdmitterState(Enum):
    """Where an admission stands."""

    FRESH = auto()
    NONCE_SENT = auto()
    PENDING = auto()
    CODE_BEGUN = auto()
    TOKEN_BEGUN = auto()
    DONE = auto()


class Admitter:
    """One joiner at the door.

    Args:
        signer: this member's device key.
        joiner_key: the public key that the joiner has proven to hold in the handshake of this connection.
        handout: what may be handed out now.
        codes: the codes that this member shows.
        now: when the connection came.

    Attributes:
        name: what the joiner calls itself.
        words: the two words, once it is pending.
    """

    def __init__(
        self,
        signer: Signer,
        joiner_key: bytes,
        handout: Callable[[], Handout],
        codes: CodeBook,
        entropy: Entropy,
        now: float,
    ) -> None:
        self.joiner_key = joiner_key
        self.admitter_key = signer.public_key
        self.state = AdmitterState.FRESH
        self.name = ""
        self.words = ""
        self._signer = signer
        self._handout = handout
        self._codes = codes
        self._entropy = entropy
        self._deadline = now + STEP_S
        self._nonce = b""
        self._other = b""
        self._code = ""
        self._exchange: CodeExchange | None = None

    @property
    def joiner(self) -> PeerId:
        """Who wants in."""
        return peer_id(self.joiner_key)

    def receive(self, raw: bytes, now: float) -> list[Effect]:
        """One message of the joiner."""
        if self.state is AdmitterState.DONE:
            return []
        if now >= self._deadline:
            return self.tick(now)
        try:
            message = decode(raw)
        except ValueError as error:
            return self._refuse(RefusalKind.PROTOCOL, f"the other device sent {error}")
        if isinstance(message, Refuse):
            self.state = AdmitterState.DONE
            return [refused_by_other(message)]
        return self._step(message, raw, now)

    def approve(self, now: float) -> list[Effect]:
        """A person said yes. Raises TrustError if nobody waits."""
        self._require_pending()
        if now >= self._deadline:
            return self.tick(now)
        return self._admit(Way.APPROVAL, now)

    def deny(self, now: float) -> list[Effect]:
        """A person said no. Raises TrustError if nobody waits."""
        self._require_pending()
        return self._refuse(RefusalKind.DENIED, "a member said no")

    def tick(self, now: float) -> list[Effect]:
        """To be called when `next_deadline` has come."""
        if self.state is AdmitterState.DONE or now < self._deadline:
            return []
        if self.state is AdmitterState.PENDING:
            return self._refuse(RefusalKind.TIMEOUT, "nobody approved within ten minutes", "run meshwit up again")
        return self._refuse(RefusalKind.TIMEOUT, "the other device did not answer in time")

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None if it is over."""
        return None if self.state is AdmitterState.DONE else self._deadline

    def check(self) -> None:
        """The invariants; raises AssertionError."""
        assert (self.state is AdmitterState.PENDING) <= bool(self.words and self.name)
        assert (self.state is AdmitterState.CODE_BEGUN) <= (self._exchange is not None and bool(self._code))
        assert (self.state is AdmitterState.TOKEN_BEGUN) <= bool(self._nonce and self._other)

    def _step(self, message: Message, raw: bytes, now: float) -> list[Effect]:
        match self.state, message:
            case AdmitterState.FRESH, Ask():
                return self._asked(message, now)
            case AdmitterState.NONCE_SENT, Reveal():
                return self._revealed(message, now)
            case ((AdmitterState.FRESH | AdmitterState.NONCE_SENT | AdmitterState.PENDING), CodeAsk()):
                return self._code_asked(message, raw, now)
            case AdmitterState.CODE_BEGUN, CodeProof():
                return self._code_proven(message, now)
            case AdmitterState.FRESH, TokenAsk():
                return self._token_asked(message, now)
            case AdmitterState.TOKEN_BEGUN, TokenProof():
                return self._token_proven(message, now)
            case _:
                return self._refuse(RefusalKind.PROTOCOL, "the other device sent a message out of place")

    # --- approval, open ------------------------------------------------------------------------------------------

    def _asked(self, message: Ask, now: float) -> list[Effect]:
        if len(message.commitment) != NONCE_BYTES:
            return self._refuse(RefusalKind.PROTOCOL, "the other device sent a malformed request")
        self.name = clean_name(message.name)
        membership = self._handout().membership
        if membership.open:
            return self._admit(Way.OPEN, now)
        if self.joiner in membership.expelled:
            return self._refuse_expelled(membership)
        self._other, self._nonce = message.commitment, self._entropy(NONCE_BYTES)
        self._enter(AdmitterState.NONCE_SENT, now + STEP_S)
        return [SendMessage(encode(Nonce(self._nonce, membership.mesh_name)))]

    def _revealed(self, message: Reveal, now: float) -> list[Effect]:
        if len(message.nonce) != NONCE_BYTES or not same(commitment(message.nonce, self), self._other):
            return self._refuse(
                RefusalKind.PROTOCOL, "the other device changed its nonce: somebody may be listening in"
            )
        self.words = approval_words(message.nonce, self._nonce, self)
        self._enter(AdmitterState.PENDING, now + APPROVAL_S)
        return [Show(self.words, self.name)]

    # --- code ----------------------------------------------------------------------------------------------------

    def _code_asked(self, message: CodeAsk, raw: bytes, now: float) -> list[Effect]:
        self.name = clean_name(message.name)
        closed = self._closed(now)
        if closed:
            return closed
        busy_s = self._codes.busy_s(now)
        if busy_s:
            return self._refuse(RefusalKind.CLOSED, "too many codes are being tried here", _again_in(busy_s))
        code = self._codes.begin(now, message.number)
        if code is None:
            return self._refuse(
                RefusalKind.UNKNOWN_CODE,
                f"no open code begins with {message.number} here",
                "codes are good once and for ten minutes: show a new one with meshwit invite",
            )
        self._code = code
        self._exchange = CodeExchange(code, self, self._entropy, joining=False)
        reply = encode(CodeReply(self._exchange.share))
        fault = self._exchange.finish(message.share, raw, reply)
        if fault:
            return self._refuse(RefusalKind.PROTOCOL, fault)
        self._enter(AdmitterState.CODE_BEGUN, now + STEP_S)
        return [SendMessage(reply)]

    def _code_proven(self, message: CodeProof, now: float) -> list[Effect]:
        """Closed and used codes are refused before the proof is looked at: exchanges begun earlier gain nothing."""
        assert self._exchange is not None
        closed = self._closed(now)
        if closed:
            return closed
        if not self._codes.valid(self._code, now):
            return self._refuse(
                RefusalKind.UNKNOWN_CODE, "the code was used or has expired", "show a new one with meshwit invite"
            )
        if not same(self._exchange.joiner_proof(), message.proof):
            self._codes.wrong(now)
            return self._refuse(
                RefusalKind.WRONG_CODE, "the code is wrong", "compare it with the one on the other device"
            )
        return self._admit(Way.CODE, now)

    def _closed(self, now: float) -> list[Effect]:
        closed_s = self._codes.closed_s(now)
        if not closed_s:
            return []
        return self._refuse(RefusalKind.CLOSED, "the code was wrong too often", _again_in(closed_s))

    # --- token ---------------------------------------------------------------------------------------------------

    def _token_asked(self, message: TokenAsk, now: float) -> list[Effect]:
        self.name = clean_name(message.name)
        membership = self._handout().membership
        if len(message.nonce) != NONCE_BYTES:
            return self._refuse(RefusalKind.PROTOCOL, "the other device sent a malformed request")
        if not same(mesh_hash(membership.mesh, message.nonce, self), message.mesh_hash):
            return self._refuse(RefusalKind.WRONG_MESH, "the invite is into another mesh than this member's")
        self._other, self._nonce = message.nonce, self._entropy(NONCE_BYTES)
        self._enter(AdmitterState.TOKEN_BEGUN, now + STEP_S)
        return [SendMessage(encode(TokenReply(self._nonce, encode_chain(membership.chain))))]

    def _token_proven(self, message: TokenProof, now: float) -> list[Effect]:
        membership = self._handout().membership
        try:
            chain = decode_chain(message.chain)
        except ValueError as error:
            return self._refuse(RefusalKind.PROTOCOL, f"the invite is damaged: {error}")
        key = chain[-1].subject if chain else b""
        fault = chain_fault(chain, membership.mesh, key, now, membership.expelled, kind=CertificateKind.INVITE)
        if fault:
            return self._refuse(RefusalKind.INVITE, f"the invite is not good: {fault}", "ask a member for another one")
        signed = token_message(self.name, self._other, self._nonce, self)
        if not verify(key, signed, message.signature):
            return self._refuse(RefusalKind.PROTOCOL, "the other device does not hold the key of its invite")
        return self._admit(Way.TOKEN, now)

    # --- the end -------------------------------------------------------------------------------------------------

    def _admit(self, way: Way, now: float) -> list[Effect]:
        handout = self._handout()
        membership = handout.membership
        if self.joiner in membership.expelled:
            return self._refuse_expelled(membership)
        if len(membership.chain) >= DEPTH_MAX:
            return self._refuse(
                RefusalKind.FULL, "this member came in by too long a chain to admit others", "ask another one"
            )
        name = unique_name(self.name, handout.taken | {membership.name})
        certificate = issue(self._signer, membership.mesh, self.joiner_key, name, now)
        chain: Chain = (*membership.chain, certificate)
        body = encode(_body(way, handout, chain))
        proof = self._exchange.admitter_proof(body) if way is Way.CODE and self._exchange else b""
        self.state = AdmitterState.DONE
        code = self._code if way is Way.CODE else ""
        if code:
            self._codes.used(code)
        return [SendMessage(encode(Welcome(body, proof))), Admit(certificate, chain, way, code)]

    def _refuse_expelled(self, membership: Membership) -> list[Effect]:
        return self._refuse(
            RefusalKind.EXPELLED,
            f"this device was expelled from {membership.mesh_name}",
            "it can only come back as a new device: run meshwit leave, then meshwit up",
        )

    def _refuse(self, why: RefusalKind, reason: str, hint: str = "") -> list[Effect]:
        self.state = AdmitterState.DONE
        return [SendMessage(encode(Refuse(why, reason, hint))), JoinRefused(reason, hint, why)]

    def _enter(self, state: AdmitterState, deadline: float) -> None:
        self.state = state
        self._deadline = deadline

    def _require_pending(self) -> None:
        if self.state is not AdmitterState.PENDING:
            raise TrustError(f"{self.name or 'this device'} does not wait for approval any more")


def _body(way: Way, handout: Handout, chain: Chain) -> WelcomeBody:
    membership = handout.membership
    return WelcomeBody(
        way,
        membership.mesh_key,
        membership.mesh_name,
        encode_chain(chain),
        membership.secrets[:1],
        fitting(membership.expulsions),
        sound_addresses(handout.addresses),
    )


def _again_in(seconds: float) -> str:
    return f"try again in {int(seconds) + 1} s"
