"""What members tell each other about membership itself, over links only: expulsions, secrets, approvals.

On every new link each side sends all that it knows. Whoever learns something passes it on over all its links, so it
reaches everybody who is connected to anybody, within a round trip per hop; and whoever was away learns it on return.
It does not ride on gossip: a secret must not cross in datagrams that it is to seal, and what shuts somebody out must
not depend on records that are forgotten when their owner is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, assert_never

import msgspec

from meshwit.ids import PeerId
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.trust.expulsions import EXPULSIONS_MAX
from meshwit.peer.trust.membership import Membership
from meshwit.peer.wire.frames import Channel
from meshwit.peer.wire.links import Link, Links
from meshwit.records import Record

RENEW_AFTER_S: Final = (1.0, 3.0)
"""A secret that an expelled peer may know is replaced after a random time between these: mostly one member does."""
PIECE_BYTES: Final = 512 * 1024
"""Of expulsions in one message; a frame may have twice as much."""
_RECORD_OVERHEAD_BYTES: Final = 256


class Standing(msgspec.Struct, frozen=True, tag="standing", tag_field="type"):
    """Who is expelled, and the newest secret: all of it, or what is new."""

    secrets: bytes = b""
    expulsions: tuple[Record, ...] = ()


class Approve(msgspec.Struct, frozen=True, tag="approve", tag_field="type"):
    """Please let in the device with that id, which waits at you."""

    waiting: str


Message: TypeAlias = Standing | Approve
_DECODER: Final = msgspec.msgpack.Decoder(Message)


class MembershipNews:
    """Keeps the standing of this peer and that of those it is linked to the same.

    Args:
        approve: lets a waiting device in, by its id; called when another member asks for it.
        misbehaved: told who broke the rules, and how.
    """

    def __init__(
        self,
        keeper: MembershipKeeper,
        links: Links,
        approve: Callable[[str, PeerId], None],
        misbehaved: Callable[[PeerId, str], None],
    ) -> None:
        self._keeper = keeper
        self._links = links
        self._approve = approve
        self._misbehaved = misbehaved
        self._renewing: asyncio.TimerHandle | None = None
        self._closed = False
        links.on_message(Channel.MEMBERSHIP, self._receive)
        keeper.on_change.append(self._changed)

    def greet(self, link: Link) -> None:
        """A link is new: tell all."""
        for raw in _messages(self._keeper.secrets_for_members(), self._keeper.membership.expulsions):
            link.send(Channel.MEMBERSHIP, raw)

    def ask_to_approve(self, holder: PeerId, waiting: str) -> bool:
        """Asks the member where a device waits to let it in; False if there is no link to it."""
        link = self._links.links.get(holder)
        return link is not None and link.send(Channel.MEMBERSHIP, msgspec.msgpack.encode(Approve(waiting)))

    def close(self) -> None:
        """Stops."""
        self._closed = True
        if self._renewing is not None:
            self._renewing.cancel()

    def _receive(self, link: Link, raw: bytes) -> None:
        try:
            message = _DECODER.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._misbehaved(link.peer, "it sent news of the membership that cannot be read")
            return
        match message:
            case Standing(secrets=secrets, expulsions=expulsions):
                if len(expulsions) > EXPULSIONS_MAX:
                    self._misbehaved(link.peer, f"it sent {len(expulsions)} expulsions at once")
                self._keeper.add_expulsions(expulsions[:EXPULSIONS_MAX])
                if secrets and self._is_member(link):
                    try:
                        self._keeper.add_secrets(secrets)
                    except ValueError as error:
                        self._misbehaved(link.peer, str(error))
            case Approve(waiting=waiting):
                if self._is_member(link):
                    self._approve(waiting, link.peer)
            case _:
                assert_never(message)

    def _changed(self, membership: Membership) -> None:
        """Passes on what is new; who has just been expelled is told that, and no secret."""
        to_members = _messages(self._keeper.secrets_for_members(), membership.expulsions)
        to_expelled = _messages(b"", membership.expulsions)
        for link in list(self._links.links.values()):
            for raw in to_members if self._is_member(link) else to_expelled:
                link.send(Channel.MEMBERSHIP, raw)
        if self._keeper.secret_is_stale and self._renewing is None and not self._closed:
            delay = random.uniform(*RENEW_AFTER_S)
            self._renewing = asyncio.get_running_loop().call_later(delay, self._renew)

    def _is_member(self, link: Link) -> bool:
        """Still, after all that is known now. Judged by what it proved itself with: who tells nobody of itself has a
        chain too, and it may lead through somebody expelled."""
        return not self._keeper.admits(link.info.chain, link.info.key)

    def _renew(self) -> None:
        self._renewing = None
        if self._keeper.secret_is_stale:
            self._keeper.renew_secret()


def _messages(secrets: bytes, expulsions: Sequence[Record]) -> list[bytes]:
    """The whole standing in pieces that fit into frames; the secret comes last, so that nobody expelled shares it."""
    pieces: list[list[Record]] = [[]]
    room = PIECE_BYTES
    for record in expulsions:
        size = len(record.payload) + _RECORD_OVERHEAD_BYTES
        if size > room:
            pieces.append([])
            room = PIECE_BYTES
        pieces[-1].append(record)
        room -= size
    *first, last = pieces
    standings = [*(Standing(expulsions=tuple(each)) for each in first), Standing(secrets, tuple(last))]
    return [msgspec.msgpack.encode(each) for each in standings]
