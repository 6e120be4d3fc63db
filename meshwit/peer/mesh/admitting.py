"""The door of a member: devices that ask to be let in, the codes it shows, the tokens it writes. Shell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, assert_never

from meshwit.ids import PeerId, peer_id
from meshwit.peer.control.api import PeerError, PendingView
from meshwit.peer.mesh.conversation import Conversation
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.trust.admitter import Admitter, AdmitterState, Handout
from meshwit.peer.trust.codes import CODE_LIFETIME_S, CodeBook
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.invites import make_token
from meshwit.peer.trust.join_effects import Admit, AskCode, Confirm, Effect, Joined, JoinRefused, SendMessage, Show, Way
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.budget import Budget, host_group
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.join_stream import JoinStream

_HOW: Final = {
    Way.OPEN: "because this mesh is open",
    Way.APPROVAL: "by approval",
    Way.CODE: "with the code",
    Way.TOKEN: "with an invite",
}
PER_HOST_MAX: Final = 4
"""Devices of one host that may wait; the one that has waited longest goes: one host cannot take all places."""
TOLD_BURST: Final = 20
"""What happens at the door is told so often, then every other second: strangers make it happen."""
ARRIVAL_S: Final = 10.0
"""How long a device that was let in may take until it is linked."""


class _Waiting:
    """One device at the door."""

    def __init__(self, admitter: Admitter, conversation: Conversation, host: str) -> None:
        self.admitter = admitter
        self.conversation = conversation
        self.host = host
        self.since = time.monotonic()

    def view(self, waiting_id: str) -> PendingView:
        """For people."""
        since_s = time.monotonic() - self.since
        return PendingView(
            id=waiting_id, name=self.admitter.name, words=self.admitter.words, address=self.host, since_s=since_s
        )


class Admissions:
    """All devices that ask this member to be let in.

    Args:
        taken: the names in use in the mesh by others than that device.
        addresses: where this peer can be reached; told to who comes in.
        on_change: called when somebody comes to wait or waits no longer, with a kind and a sentence.
    """

    def __init__(
        self,
        keeper: MembershipKeeper,
        taken: Callable[[PeerId], Collection[str]],
        addresses: Callable[[], Sequence[Address]],
        on_change: Callable[[str, str], None],
    ) -> None:
        self._keeper = keeper
        self._taken = taken
        self._addresses = addresses
        self._on_change = on_change
        self._codes = CodeBook()
        self._waiting: dict[str, _Waiting] = {}
        self._admitted_at = float("-inf")
        self._closed = False
        self._told = Budget(0.5, TOLD_BURST)

    def new_code(self) -> tuple[str, float]:
        """A code for one device, and for how many seconds it is good. Raises ValueError."""
        return self._codes.new(time.time(), os.urandom), CODE_LIFETIME_S

    def new_token(self, hours: float, addresses: Sequence[Address]) -> str:
        """A token for many devices. Raises ValueError."""
        membership = self._keeper.membership
        return make_token(membership, self._keeper.signer, time.time(), hours, addresses, os.urandom)

    def pending(self) -> list[PendingView]:
        """Who waits for approval here, the longest first."""
        return [
            each.view(waiting_id)
            for waiting_id, each in self._waiting.items()
            if each.admitter.state is AdmitterState.PENDING
        ]

    def approve(self, waiting_id: str) -> None:
        """Lets a waiting device in. Raises PeerError if it does not wait any more."""
        found = self._waiting.get(waiting_id)
        try:
            if found is None or found.conversation.ended:
                raise TrustError("it does not wait here any more")
            found.conversation.perform(found.admitter.approve(time.time()))
        except TrustError as error:
            raise PeerError(error.message, error.hint) from error

    async def serve(self, stream: JoinStream) -> None:
        """Talks to one device until it is in, refused or gone."""
        if self._closed:
            return
        joiner = peer_id(stream.peer_key)
        handout = partial(self._handout, joiner)
        admitter = Admitter(self._keeper.signer, stream.peer_key, handout, self._codes, os.urandom, time.time())
        conversation = Conversation(admitter, stream, partial(self._perform, joiner))
        before = self._waiting.pop(joiner, None)
        if before is not None:
            before.conversation.close()
        self._make_room(host_group(stream.remote))
        mine = self._waiting[joiner] = _Waiting(admitter, conversation, stream.remote)
        try:
            await conversation.run([])
        except LinkError:
            pass  # it went: whoever looks sees that it waits no longer
        finally:
            if self._waiting.get(joiner) is mine:
                del self._waiting[joiner]
                gave_up = admitter.state is AdmitterState.PENDING
                self._tell("gone", f"{admitter.name} waits no longer" if gave_up else "")

    @property
    def admitted_lately(self) -> bool:
        """Whether somebody was let in so short a time ago that it may still be on its way."""
        return time.monotonic() - self._admitted_at < ARRIVAL_S

    def close(self) -> None:
        """Lets nobody in any more."""
        self._closed = True
        for each in self._waiting.values():
            each.conversation.close()

    def _make_room(self, host: str) -> None:
        theirs = [each for each in self._waiting.values() if host_group(each.host) == host]
        for each in theirs[: max(0, len(theirs) - PER_HOST_MAX + 1)]:
            each.conversation.close()

    def _tell(self, kind: str, text: str) -> None:
        if kind != "admitted" and not self._told.spend("", time.monotonic()):
            text = ""
        if not self._closed:
            self._on_change(kind, text)

    def _perform(self, joiner: str, effect: Effect) -> None:
        name = self._waiting[joiner].admitter.name if joiner in self._waiting else ""
        match effect:
            case Show(words=words):
                self._tell("pending", f"{name} asks to be let in: {words}")
            case Admit(certificate=certificate, way=way):
                self._admitted_at = time.monotonic()
                self._tell("admitted", f"{certificate.name} is let in {_HOW[way]}")
            case JoinRefused(reason=reason):
                self._tell("refused", f"{name or 'a device'} is not let in: {reason}")
            case SendMessage() | AskCode() | Confirm() | Joined():
                raise AssertionError(f"an admitter does not want {type(effect).__name__}")
            case _:
                assert_never(effect)

    def _handout(self, joiner: PeerId) -> Handout:
        return Handout(self._keeper.membership, tuple(self._addresses()), frozenset(self._taken(joiner)))
