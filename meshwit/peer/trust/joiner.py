"""The joining device's side: from a connection to a member to a membership of its own.

    NEW -> ASKED -> WAITING -> (CONFIRMING) -> DONE    two words on both devices; a member approves
    NEW, ASKED, WAITING -> CODE_SENT -> CODE_PROVEN -> DONE
    NEW -> TOKEN_SENT -> TOKEN_PROVEN -> DONE
    NEW -> ASKED -> DONE                               the mesh is open, and the user said that this will do

What each way proves to the joiner: a code, that the member showed it; a token, that the member is of the mesh that the
token pins; two equal words, that nobody sits between. With the words the joiner trusts whoever approves, as it stands
before the same person: where that is not so, `confirm=True` asks its own person before it takes the membership.
Pure; `now` is seconds since 1970; after `Joined` or `JoinRefused` it is over and every further byte is ignored.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from meshwit.ids import MeshId, mesh_id
from meshwit.peer.trust.admitter import APPROVAL_S, STEP_S
from meshwit.peer.trust.certificates import chain_fault, clean_name, decode_chain, encode_chain, name_fault
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.invites import Token
from meshwit.peer.trust.join_effects import (
    AskCode,
    Confirm,
    Effect,
    Joined,
    JoinRefused,
    RefusalKind,
    SendMessage,
    Show,
    Way,
)
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
    decode_body,
    encode,
    refused_by_other,
    shown_name,
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
from meshwit.peer.trust.keys import KEY_BYTES, Entropy, verify
from meshwit.peer.trust.membership import Membership, admits, secret_fault, with_expulsions
from meshwit.peer.trust.words import code_number, read_code
from meshwit.records import Signer

WAITING_S: Final = APPROVAL_S + STEP_S
"""A little longer than the member waits, so that its answer is heard."""


class JoinerState(Enum):
    """Where a joining stands."""

    NEW = auto()
    ASKED = auto()
    WAITING = auto()
    CONFIRMING = auto()
    CODE_SENT = auto()
    CODE_PROVEN = auto()
    TOKEN_SENT = auto()
    TOKEN_PROVEN = auto()
    DONE = auto()


class Joiner:
    """One attempt to come in through one member.

    Args:
        signer: this device's key.
        admitter_key: the public key that the member has proven in the TLS of this connection.
        name: what this device is called; the member makes it unique.
        code: of a member, as typed. Raises ValueError if it is none.
        token: an invite; takes the place of everything else.
        accept_open: whether a mesh that takes anybody will do.
        confirm: whether the person here is asked once more after a member has approved.

    Attributes:
        words: the two words, once there are some.
    """

    def __init__(
        self,
        signer: Signer,
        admitter_key: bytes,
        name: str,
        entropy: Entropy,
        *,
        code: str = "",
        token: Token | None = None,
        accept_open: bool = False,
        confirm: bool = False,
    ) -> None:
        self.joiner_key = signer.public_key
        self.admitter_key = admitter_key
        self.name = clean_name(name)
        self.words = ""
        self.state = JoinerState.NEW
        self._entropy = entropy
        self._code = read_code(code) if code else ""
        self._token = token
        self._accept_open = accept_open
        self._confirm = confirm
        self._deadline: float | None = None
        self._nonce = b""
        self._mesh_name = ""
        self._ask = b""
        self._exchange: CodeExchange | None = None
        self._joined: Joined | None = None

    def start(self, now: float) -> list[Effect]:
        """The first message, by the way that was chosen."""
        if self.state is not JoinerState.NEW:
            raise RuntimeError(f"joining has begun already: {self.state.name}")
        if self._token is not None:
            self._nonce = self._entropy(NONCE_BYTES)
            self._enter(JoinerState.TOKEN_SENT, now + STEP_S)
            hashed = mesh_hash(self._token.mesh, self._nonce, self)
            return [SendMessage(encode(TokenAsk(self.name, self._nonce, hashed)))]
        if self._code:
            return self._send_code(now)
        self._nonce = self._entropy(NONCE_BYTES)
        self._enter(JoinerState.ASKED, now + STEP_S)
        return [AskCode(), SendMessage(encode(Ask(self.name, commitment(self._nonce, self))))]

    def code(self, text: str, now: float) -> list[Effect]:
        """The person here typed a code. Raises ValueError if it is none, to be shown before asking again."""
        code = read_code(text)
        if self.state not in (JoinerState.ASKED, JoinerState.WAITING):
            return []
        self._code = code
        return self._send_code(now)

    def confirm(self, now: float) -> list[Effect]:
        """The person here saw the same words on both devices. Raises TrustError if that was not asked."""
        self._require_confirming()
        if self._deadline is not None and now >= self._deadline:
            return self.tick(now)
        assert self._joined is not None
        self.state = JoinerState.DONE
        return [self._joined]

    def deny(self, now: float) -> list[Effect]:
        """The person here saw other words. Raises TrustError if that was not asked."""
        self._require_confirming()
        self._joined = None
        return self._refuse(
            RefusalKind.DENIED, "the words differ: somebody may sit between the devices", "use a code instead"
        )

    def receive(self, raw: bytes, now: float) -> list[Effect]:
        """One message of the member."""
        if self.state is JoinerState.DONE:
            return []
        if self._deadline is not None and now >= self._deadline:
            return self.tick(now)
        try:
            message = decode(raw)
        except ValueError as error:
            return self._refuse(RefusalKind.PROTOCOL, f"the member sent {error}")
        if isinstance(message, Refuse):
            self.state = JoinerState.DONE
            return [refused_by_other(message)]
        return self._step(message, raw, now)

    def give_up(self) -> list[Effect]:
        """The person here does not want any more."""
        if self.state is JoinerState.DONE:
            return []
        return self._refuse(RefusalKind.GIVEN_UP, "the other device gave up")

    def tick(self, now: float) -> list[Effect]:
        """To be called when `next_deadline` has come."""
        if self.state is JoinerState.DONE or self._deadline is None or now < self._deadline:
            return []
        if self.state in (JoinerState.WAITING, JoinerState.CONFIRMING):
            return self._refuse(RefusalKind.TIMEOUT, "nobody approved within ten minutes", "run meshwit up again")
        return self._refuse(
            RefusalKind.TIMEOUT, "the member did not answer in time", "run meshwit doctor if it happens again"
        )

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None if never."""
        return None if self.state is JoinerState.DONE else self._deadline

    def check(self) -> None:
        """The invariants; raises AssertionError."""
        assert (self.state is JoinerState.WAITING) <= bool(self.words)
        assert (self.state is JoinerState.CONFIRMING) <= (self._joined is not None)
        assert (self.state in (JoinerState.CODE_SENT, JoinerState.CODE_PROVEN)) <= (self._exchange is not None)

    def _step(self, message: Message, raw: bytes, now: float) -> list[Effect]:
        match self.state, message:
            case JoinerState.ASKED, Nonce():
                return self._nonce_came(message, now)
            case JoinerState.CODE_SENT, Nonce():
                return []  # it crossed with the code
            case JoinerState.CODE_SENT, CodeReply():
                return self._code_replied(message, raw, now)
            case JoinerState.TOKEN_SENT, TokenReply():
                return self._token_replied(message, now)
            case JoinerState.ASKED, Welcome():
                return self._welcomed(message, Way.OPEN, now)
            case JoinerState.WAITING, Welcome():
                return self._welcomed(message, Way.APPROVAL, now)
            case JoinerState.CODE_PROVEN, Welcome():
                return self._welcomed(message, Way.CODE, now)
            case JoinerState.TOKEN_PROVEN, Welcome():
                return self._welcomed(message, Way.TOKEN, now)
            case _:
                return self._refuse(RefusalKind.PROTOCOL, "the member sent a message out of place")

    def _nonce_came(self, message: Nonce, now: float) -> list[Effect]:
        if len(message.nonce) != NONCE_BYTES:
            return self._refuse(RefusalKind.PROTOCOL, "the member sent a malformed nonce")
        self.words = approval_words(self._nonce, message.nonce, self)
        self._mesh_name = shown_name(message.mesh_name)
        self._enter(JoinerState.WAITING, now + WAITING_S)
        return [Show(self.words, self._mesh_name), SendMessage(encode(Reveal(self._nonce)))]

    def _send_code(self, now: float) -> list[Effect]:
        self._exchange = CodeExchange(self._code, self, self._entropy, joining=True)
        self._ask = encode(CodeAsk(self.name, code_number(self._code), self._exchange.share))
        self._enter(JoinerState.CODE_SENT, now + STEP_S)
        return [SendMessage(self._ask)]

    def _code_replied(self, message: CodeReply, raw: bytes, now: float) -> list[Effect]:
        assert self._exchange is not None
        fault = self._exchange.finish(message.share, self._ask, raw)
        if fault:
            return self._refuse(RefusalKind.PROTOCOL, fault)
        self._enter(JoinerState.CODE_PROVEN, now + STEP_S)
        return [SendMessage(encode(CodeProof(self._exchange.joiner_proof())))]

    def _token_replied(self, message: TokenReply, now: float) -> list[Effect]:
        """The token's own chain goes out only to a member of its mesh."""
        assert self._token is not None
        try:
            chain = decode_chain(message.chain)
        except ValueError as error:
            return self._refuse(RefusalKind.PROTOCOL, f"the member's certificates are damaged: {error}")
        fault = chain_fault(chain, self._token.mesh, self.admitter_key, now, {})
        if fault or len(message.nonce) != NONCE_BYTES:
            return self._refuse(
                RefusalKind.WRONG_MESH,
                f"whoever answers there is no member of {self._token.mesh_name}: {fault or 'malformed'}",
            )
        signature = self._token.key.sign(token_message(self.name, self._nonce, message.nonce, self))
        self._enter(JoinerState.TOKEN_PROVEN, now + STEP_S)
        return [SendMessage(encode(TokenProof(encode_chain(self._token.chain), signature)))]

    def _welcomed(self, message: Welcome, way: Way, now: float) -> list[Effect]:
        if way is Way.CODE:
            assert self._exchange is not None
            if not same(self._exchange.admitter_proof(message.body), message.proof):
                return self._refuse(
                    RefusalKind.WRONG_CODE,
                    "the other side does not know the code",
                    "is it the code of this mesh's member?",
                )
        if way is Way.OPEN and not self._accept_open:
            return self._refuse(
                RefusalKind.OPEN_MESH, "this mesh takes anybody who asks", "if that is right, run: meshwit up --open"
            )
        try:
            body = decode_body(message.body)
            membership = self._membership(body, way, now)
        except ValueError as error:
            return self._refuse(RefusalKind.PROTOCOL, f"the member's welcome is not good: {error}")
        joined = Joined(membership, sound_addresses(body.addresses), way)
        if way is Way.APPROVAL and self._confirm:
            self._joined = joined
            self._enter(JoinerState.CONFIRMING, now + WAITING_S)
            return [Confirm(self.words, membership.mesh_name)]
        self.state = JoinerState.DONE
        return [joined]

    def _membership(self, body: WelcomeBody, way: Way, now: float) -> Membership:
        """What the welcome makes of this device. Raises ValueError if it does not hold together."""
        if body.way != way:
            raise ValueError("it answers another question")
        if len(body.mesh_key) != KEY_BYTES or name_fault(body.mesh_name):
            raise ValueError("the mesh has no key or no name")
        mesh: MeshId = mesh_id(body.mesh_key)
        if self._token is not None and mesh != self._token.mesh:
            raise ValueError("it leads into another mesh than the invite")
        chain = decode_chain(body.chain)
        if not chain or chain[-1].issuer != self.admitter_key:
            raise ValueError("the certificate is not by the member at the other end")
        if not body.secrets or any(secret_fault(each) for each in body.secrets):
            raise ValueError("it holds no secret of the mesh")
        bare = Membership(body.mesh_key, body.mesh_name, chain, body.secrets[:1], (), way is Way.OPEN, int(now))
        membership = with_expulsions(bare, body.expulsions, verify)
        fault = admits(membership, chain, self.joiner_key, now)
        if fault:
            raise ValueError(fault)
        return membership

    def _refuse(self, why: RefusalKind, reason: str, hint: str = "") -> list[Effect]:
        self.state = JoinerState.DONE
        self._joined = None
        return [SendMessage(encode(Refuse(why, reason, hint))), JoinRefused(reason, hint, why)]

    def _enter(self, state: JoinerState, deadline: float) -> None:
        self.state = state
        self._deadline = deadline

    def _require_confirming(self) -> None:
        if self.state is not JoinerState.CONFIRMING:
            raise TrustError("no member has approved yet")
