"""The handshake: who is there, and may he stay. Core.

    client                                        server
    Hello     versions, purpose, key, hash, nonce  ->
                                              <-   Challenge   version, key, nonce, chain, signature
    Proof     chain, signature, about              ->
                                              <-   Ready       about
    (at any step)                             <->  Refusal     code, message

It runs inside TLS 1.3 whose server certificate holds the server's device key and is not verified by TLS. Each signature
covers a label of its side, the version agreed, both nonces, both keys, the SHA-256 of the server's certificate, a hash
of the mesh id that both know, and the Hello as it was sent. So a proof is good on this one connection: it cannot be
replayed (the other's nonce), relayed to or through a third (its certificate is another), moved to another mesh, and
the range of versions cannot be narrowed in between.

The server shows its chain only to one who knows the mesh: an outsider sees a device key and, as a server, a salted hash
of the mesh id. The client shows its chain only to a server that has proved membership. A device that wants to join
proves its key and nothing else, and no chain is shown to it.

Messages are MessagePack maps: fields that are not known are ignored, missing ones have defaults. `Hello` and `Refusal`
must stay readable for ever, or versions cannot be told.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias, assert_never

import msgspec

from meshwit.ids import PeerId, peer_id
from meshwit.peer.wire.addresses import Address, normalised
from meshwit.peer.wire.endings import ErrorKind
from meshwit.peer.wire.handshake_messages import (
    NONCE_BYTES,
    About,
    Accepted,
    Challenge,
    Hello,
    Message,
    Proof,
    Purpose,
    Refusal,
)
from meshwit.records import Signer, Verifier

PROTOCOL_MIN: Final = 1
PROTOCOL: Final = 1
"""The versions spoken here, from PROTOCOL_MIN to PROTOCOL."""
INSTANCE_BYTES: Final = 8
CONNECTION_ID_BYTES: Final = 8

_SERVER_LABEL: Final = b"meshwit handshake: server 1\0"
_CLIENT_LABEL: Final = b"meshwit handshake: client 1\0"
_NO_MESH: Final = b"\0" * 32
_NAME_LENGTH_MAX: Final = 64
_LISTED_MAX: Final = 256


class Authority(Protocol):
    """What this side knows of its mesh. Asked anew for each handshake, so that it may change."""

    @property
    def signer(self) -> Signer:
        """The device key."""

    @property
    def chain(self) -> bytes:
        """The own certificates, encoded; empty on a device that is no member yet."""

    def mesh_hash(self, nonce: bytes) -> bytes:
        """The salted hash of the mesh id, 32 bytes; tells nothing to one who does not know the mesh."""

    def admits(self, chain: bytes, key: bytes) -> str:
        """Why the holder of that key is no member by that chain; empty if he is. Never raises.

        A reason with the word "expelled" becomes an error of kind `expelled`, every other one of kind `identity`.
        """


class PeerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer says of itself at the handshake.

    Attributes:
        id: proved.
        key: its Ed25519 public key, proved.
        name: as its owner calls it; printable.
        version: of meshwit.
        controllers: versions by name.
        addresses: where it listens.
        datagram_counter: where the counter of its datagrams stands; smaller ones are replays.
        instance: random, another one at each start of the program.
        protocol: the version that both speak.
        chain: the certificates by which it was admitted, to be judged again when somebody is expelled; empty for a
            device that wants to join.
    """

    id: PeerId
    key: bytes
    name: str = ""
    version: str = ""
    controllers: dict[str, str] = {}
    addresses: tuple[Address, ...] = ()
    datagram_counter: int = 0
    instance: bytes = b""
    protocol: int = PROTOCOL
    chain: bytes = b""


_DECODER: Final = msgspec.msgpack.Decoder(Message)
_ENCODER: Final = msgspec.msgpack.Encoder()


# --- effects -----------------------------------------------------------------------------------------------------


class SendPayload(msgspec.Struct, frozen=True):
    """Send this payload on the HANDSHAKE channel."""

    payload: bytes


class Proved(msgspec.Struct, frozen=True):
    """Both sides know each other; the handshake is over. `gone` is what the client said in its `Proof`."""

    info: PeerInfo
    purpose: Purpose
    gone: bytes = b""


class HandshakeFailed(msgspec.Struct, frozen=True):
    """It came to nothing: close after what was to be sent is sent."""

    kind: ErrorKind
    message: str
    hint: str = ""


Effect: TypeAlias = SendPayload | Proved | HandshakeFailed


class HandshakeState(Enum):
    """Where one side stands."""

    AWAIT_HELLO = auto()
    AWAIT_CHALLENGE = auto()
    AWAIT_PROOF = auto()
    AWAIT_READY = auto()
    PROVED = auto()
    FAILED = auto()


EXPECTED: Final[dict[HandshakeState, tuple[type[Message], ...]]] = {
    HandshakeState.AWAIT_HELLO: (Hello,),
    HandshakeState.AWAIT_CHALLENGE: (Challenge, Refusal),
    HandshakeState.AWAIT_PROOF: (Proof, Refusal),
    HandshakeState.AWAIT_READY: (Accepted, Refusal),
    HandshakeState.PROVED: (),
    HandshakeState.FAILED: (),
}
"""Which messages a state takes; every other one is a breach."""


class _Side:
    """What both sides share: the state, decoding, refusals."""

    def __init__(
        self,
        authority: Authority,
        verify: Verifier,
        about: PeerInfo,
        certificate: bytes,
        nonce: bytes,
        protocols: tuple[int, int],
        state: HandshakeState,
    ) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
        self.state = state
        self._authority = authority
        self._verify = verify
        self._info = about
        self._certificate = hashlib.sha256(certificate).digest()
        self._nonce = nonce
        self._protocols = protocols

    def receive(self, payload: bytes) -> list[Effect]:
        """Takes a payload of the HANDSHAKE channel."""
        try:
            message: Message = _DECODER.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._refuse("protocol", "the handshake has another form")
        if not isinstance(message, EXPECTED[self.state]):
            return self._refuse("protocol", f"{type(message).__name__} came when it was not its turn")
        match message:
            case Hello() | Challenge() | Proof() | Accepted():
                return self._next(message)
            case Refusal():
                return [self._refused(message)]
            case _ as never:
                assert_never(never)

    @property
    def connection_id(self) -> bytes:
        """Names this connection on both sides: the first 8 bytes of the client's nonce, once it is known."""
        raise NotImplementedError

    def _next(self, message: Hello | Challenge | Proof | Accepted) -> list[Effect]:
        raise NotImplementedError

    def _about(self, purpose: Purpose) -> About:
        """All of it is for members; a stranger at either end of a joining is told a name."""
        info = self._info
        if purpose == "join":
            return About(info.name)
        return About(info.name, info.version, info.controllers, info.addresses, info.datagram_counter)

    def _refuse(self, kind: ErrorKind, message: str, hint: str = "") -> list[Effect]:
        """Says so to the other side, in words that hold there; nothing is answered once the handshake is over."""
        over = self.state in (HandshakeState.FAILED, HandshakeState.PROVED)
        self.state = HandshakeState.FAILED
        low, high = self._protocols
        said = Refusal(kind, message, low, high, self._info.name)
        return [*([] if over else [SendPayload(_ENCODER.encode(said))]), HandshakeFailed(kind, message, hint)]

    def _refused(self, refusal: Refusal) -> HandshakeFailed:
        self.state = HandshakeState.FAILED
        if refusal.code == "version":
            return version_failure(refusal.name, (refusal.protocol_min, refusal.protocol_max), self._protocols)
        text = printable(refusal.message, 200) or "it says no more"
        who = printable(refusal.name) or "the peer"
        match refusal.code:
            case "wrong_mesh":
                return HandshakeFailed(
                    "wrong_mesh", f"{who} belongs to another mesh", "`meshwit up` shows the meshes there are"
                )
            case "expelled":
                return HandshakeFailed("expelled", f"{who} refuses this device: {text}", "a member must invite it anew")
            case "identity":
                return HandshakeFailed("identity", f"{who} does not accept this device: {text}")
            case _:
                return HandshakeFailed("protocol", f"{who} refuses: {text}")

    def _proved_info(self, key: bytes, about: About, instance: bytes, protocol: int, chain: bytes) -> PeerInfo:
        return PeerInfo(
            id=peer_id(key),
            key=key,
            name=printable(about.name),
            version=printable(about.version),
            controllers={
                printable(name): printable(version) for name, version in list(about.controllers.items())[:_LISTED_MAX]
            },
            addresses=tuple(each for each in map(_good_address, about.addresses[:_LISTED_MAX]) if each),
            datagram_counter=max(0, min(about.datagram_counter, 2**63)),
            instance=instance[:INSTANCE_BYTES],
            protocol=protocol,
            chain=chain,
        )

    def _not_admitted(self, why: str) -> list[Effect]:
        return self._refuse("expelled" if "expelled" in why else "identity", why)


class ClientHandshake(_Side):
    """The side that dialled. `certificate` and `server_key` are what TLS told of the server."""

    def __init__(
        self,
        *,
        authority: Authority,
        verify: Verifier,
        about: PeerInfo,
        certificate: bytes,
        server_key: bytes,
        nonce: bytes,
        purpose: Purpose = "member",
        gone: bytes = b"",
        protocols: tuple[int, int] = (PROTOCOL_MIN, PROTOCOL),
    ) -> None:
        super().__init__(authority, verify, about, certificate, nonce, protocols, HandshakeState.AWAIT_CHALLENGE)
        self._gone = gone
        self._purpose: Purpose = purpose
        self._server_key = server_key
        self._challenge: Challenge | None = None
        low, high = protocols
        hello = Hello(
            key=authority.signer.public_key,
            nonce=nonce,
            purpose=purpose,
            mesh=authority.mesh_hash(nonce) if purpose == "member" else b"",
            protocol_min=low,
            protocol_max=high,
            version=about.version,
            instance=about.instance,
        )
        self._hello = _ENCODER.encode(hello)

    def start(self) -> list[Effect]:
        """What to send first."""
        return [SendPayload(self._hello)]

    def _next(self, message: Hello | Challenge | Proof | Accepted) -> list[Effect]:
        if isinstance(message, Challenge):
            return self._prove(message)
        assert isinstance(message, Accepted) and self._challenge is not None
        self.state = HandshakeState.PROVED
        challenge = self._challenge
        chain = challenge.chain if self._purpose == "member" else b""
        info = self._proved_info(challenge.key, message.about, challenge.instance, challenge.protocol, chain)
        return [Proved(info, self._purpose)]

    def _prove(self, challenge: Challenge) -> list[Effect]:
        low, high = self._protocols
        signer = self._authority.signer
        if not low <= challenge.protocol <= high:
            return self._refuse("protocol", f"protocol {challenge.protocol} was not offered")
        if challenge.key != self._server_key:
            return self._refuse("identity", "the device key is not the one of the TLS certificate")
        if challenge.key == signer.public_key:
            return self._refuse("identity", "that is this device itself")
        mesh = self._authority.mesh_hash(self._nonce + challenge.nonce) if self._purpose == "member" else _NO_MESH
        signed = covered(
            challenge.protocol, self._nonce, challenge.nonce, signer.public_key, challenge.key, self._certificate, mesh,
            self._hello,
        )  # fmt: skip
        if not self._verify(challenge.key, _SERVER_LABEL + signed, challenge.signature):
            return self._refuse("identity", "the server's signature is wrong")
        if self._purpose == "member":
            why = self._authority.admits(challenge.chain, challenge.key)
            if why:
                return self._not_admitted(why)
        self.state = HandshakeState.AWAIT_READY
        self._challenge = challenge
        chain = self._authority.chain if self._purpose == "member" else b""
        about = self._about(self._purpose)
        return [SendPayload(_ENCODER.encode(Proof(signer.sign(_CLIENT_LABEL + signed), chain, about, self._gone)))]

    @property
    def connection_id(self) -> bytes:
        return self._nonce[:CONNECTION_ID_BYTES]

    @property
    def server_instance(self) -> bytes:
        """The instance of a server that has proved itself; empty before."""
        return self._challenge.instance if self._challenge is not None else b""


class ServerHandshake(_Side):
    """The side that was dialled. `certificate` is its own, as TLS shows it; `joins`: whether devices may join here."""

    def __init__(
        self,
        *,
        authority: Authority,
        verify: Verifier,
        about: PeerInfo,
        certificate: bytes,
        nonce: bytes,
        joins: bool = False,
        protocols: tuple[int, int] = (PROTOCOL_MIN, PROTOCOL),
    ) -> None:
        super().__init__(authority, verify, about, certificate, nonce, protocols, HandshakeState.AWAIT_HELLO)
        self._joins = joins
        self._hello: Hello | None = None
        self._protocol = 0
        self._signed = b""
        self._raw = b""

    @property
    def connection_id(self) -> bytes:
        return self._hello.nonce[:CONNECTION_ID_BYTES] if self._hello is not None else b""

    def receive(self, payload: bytes) -> list[Effect]:
        """Takes a payload of the HANDSHAKE channel."""
        if self.state is HandshakeState.AWAIT_HELLO:
            self._raw = bytes(payload)
        return super().receive(payload)

    def _next(self, message: Hello | Challenge | Proof | Accepted) -> list[Effect]:
        if isinstance(message, Hello):
            return self._challenge(message)
        assert isinstance(message, Proof) and self._hello is not None
        return self._admit(self._hello, message)

    def _challenge(self, hello: Hello) -> list[Effect]:
        low, high = self._protocols
        signer = self._authority.signer
        self._protocol = min(high, hello.protocol_max)
        if self._protocol < max(low, hello.protocol_min):
            failed = version_failure("", (hello.protocol_min, hello.protocol_max), self._protocols)
            return self._refuse(failed.kind, failed.message, failed.hint)
        member = hello.purpose == "member"
        if member and not hmac.compare_digest(hello.mesh, self._authority.mesh_hash(hello.nonce)):
            return self._refuse("wrong_mesh", "this peer belongs to another mesh")
        if not member and not self._joins:
            return self._refuse("protocol", "no devices may join here now")
        if hello.key == signer.public_key:
            return self._refuse("identity", "that is this device itself")
        mesh = self._authority.mesh_hash(hello.nonce + self._nonce) if member else _NO_MESH
        self._signed = covered(
            self._protocol, hello.nonce, self._nonce, hello.key, signer.public_key, self._certificate, mesh, self._raw
        )
        self._hello = hello
        self.state = HandshakeState.AWAIT_PROOF
        challenge = Challenge(
            key=signer.public_key,
            nonce=self._nonce,
            signature=signer.sign(_SERVER_LABEL + self._signed),
            protocol=self._protocol,
            chain=self._authority.chain if member else b"",
            instance=self._info.instance,
        )
        return [SendPayload(_ENCODER.encode(challenge))]

    def _admit(self, hello: Hello, proof: Proof) -> list[Effect]:
        if not self._verify(hello.key, _CLIENT_LABEL + self._signed, proof.signature):
            return self._refuse("identity", "the client's signature is wrong")
        member = hello.purpose == "member"
        if member:
            why = self._authority.admits(proof.chain, hello.key)
            if why:
                return self._not_admitted(why)
        self.state = HandshakeState.PROVED
        chain = proof.chain if member else b""
        info = self._proved_info(hello.key, proof.about, hello.instance, self._protocol, chain)
        return [
            SendPayload(_ENCODER.encode(Accepted(self._about(hello.purpose)))),
            Proved(info, hello.purpose, proof.gone),
        ]


def covered(
    protocol: int,
    client_nonce: bytes,
    server_nonce: bytes,
    client_key: bytes,
    server_key: bytes,
    certificate_hash: bytes,
    mesh: bytes,
    hello: bytes,
) -> bytes:
    """What both signatures cover beside their labels: parts of fixed length, so no two readings are the same bytes."""
    return b"".join(
        (
            protocol.to_bytes(2, "big"),
            client_nonce,
            server_nonce,
            client_key,
            server_key,
            certificate_hash,
            hashlib.sha256(mesh).digest(),
            hashlib.sha256(hello).digest(),
        )
    )


def version_failure(name: str, theirs: tuple[int, int], ours: tuple[int, int]) -> HandshakeFailed:
    """What to say when there is no common version: who must update, and how."""
    who = f"peer `{printable(name)}`" if printable(name) else "the peer"
    here = theirs[0] > ours[1]
    return HandshakeFailed(
        "version",
        f"{who} speaks {_range(theirs)}, this device {_range(ours)}",
        f"update {'this device' if here else 'that device'}, `pip install -U meshwit`",
    )


def printable(text: str, length_max: int = _NAME_LENGTH_MAX) -> str:
    """A text of another peer without control characters, cut: it goes to terminals."""
    return "".join(c for c in text[:length_max] if c.isprintable())


def _range(versions: tuple[int, int]) -> str:
    low, high = versions
    return f"protocol {high}" if low == high else f"protocols {low} to {high}"


def _good_address(address: tuple[str, int]) -> Address | None:
    try:
        return normalised(*address)
    except ValueError:
        return None
