"""A peer of a mesh, from start to stop: puts the parts together and is what its owner controls.

A shell. What is decided is decided in cores: who belongs (`trust`), who is alive (`gossip`), to whom to be linked
(`neighbours`), when to tell one's load (`reports`). Here their answers meet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from meshwit import __version__
from meshwit.gossip.members import Member, State
from meshwit.ids import PeerId, short
from meshwit.peer.control.api import (
    Finding,
    InviteKind,
    InviteView,
    MeshEvent,
    MeshView,
    PeerError,
    PeerView,
    PendingView,
    RateView,
)
from meshwit.peer.control.options import JoinPrompt, RunnablePeer, UpError, UpOptions
from meshwit.peer.mesh.diagnose import diagnose
from meshwit.peer.mesh.parts import Parts
from meshwit.peer.mesh.starting import running_parts
from meshwit.peer.mesh.view import KnownPeer, named, peer_views
from meshwit.peer.mesh.watchers import Watchers
from meshwit.peer.rates import RateError
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.join_effects import Joined
from meshwit.peer.trust.store import Home, Profile
from meshwit.peer.wire.addresses import Address

MEET_EVERY_S: Final = 0.01
SEEN_WITHIN_S: Final = 0.5
"""A member that has moved is not where it was; by then multicast has told where it is."""
_STATES: Final = {State.ALIVE: "alive", State.SUSPECT: "suspect", State.DEAD: "dead", State.LEFT: "left"}


class MeshPeer:
    """One peer; `run` it once.

    Args:
        options: what its owner asked for.
        prompt: the owner, while it is no member yet.
        profile: the one to take, which has to be a member's; by default the first that nobody holds.
    """

    def __init__(self, options: UpOptions, prompt: JoinPrompt, profile: str | None = None) -> None:
        self._options = options
        self._profile = profile
        self._prompt = prompt
        self._watchers = Watchers()
        self._stop = asyncio.Event()
        self._fault: UpError | None = None
        self._parts: Parts | None = None
        self._leaving = False
        self._ended = False
        self._merged: Joined | None = None
        self._told_ready = False
        self._started_at = time.monotonic()

    async def run(self, ready: Callable[[RunnablePeer], None]) -> None:
        """Run until `down`, `leave` or cancellation.

        Args:
            ready: called once, when the peer is a member and its control API answers.

        Raises:
            UpError: it cannot start, or cannot go on.
        """
        home = Home(self._options.home)
        try:
            with home.profile(self._profile) as profile:
                if self._profile is not None and profile.load_membership() is None:
                    raise UpError(f"the profile {self._profile} is in no mesh", "join one: meshwit up")
                contacts: tuple[Address, ...] | None = ()
                try:
                    while contacts is not None:
                        contacts = await self._live(home, profile, ready, contacts)
                finally:
                    self._watchers.close()
                    if self._leaving:
                        profile.leave()
        except TrustError as error:
            raise UpError(error.message, error.hint) from error
        if self._fault is not None:
            raise self._fault

    async def _live(
        self, home: Home, profile: Profile, ready: Callable[[RunnablePeer], None], contacts: tuple[Address, ...]
    ) -> tuple[Address, ...] | None:
        """Runs as a member of one mesh; contacts in the next one if it was merged into that, else None."""
        if self._ended:  # while it went over to another mesh
            return None
        self._stop.clear()
        self._merged = None
        try:
            async with running_parts(
                self, home, profile, self._options, self._prompt, self._watchers, contacts
            ) as parts:
                self._parts = parts
                parts.on_expelled = self._expelled
                if parts.me in parts.keeper.membership.expelled:  # it was told so while it started
                    self._expelled()
                parts.merger.on_merge = self._merge
                if not self._told_ready:
                    self._told_ready = True
                    ready(self)
                await self._stop.wait()
                parts.goodbye()
                if self._merged is None:
                    self._watchers.close()
        finally:
            self._parts = None
        if self._merged is None:
            return None
        profile.save_membership(self._merged.membership)
        self._watchers.tell("merged", f"joined {self._merged.membership.mesh_name}, which was made at the same time")
        return self._merged.addresses

    def _expelled(self) -> None:
        name = self.parts.keeper.membership.mesh_name
        hint = "it can only come back as a new device: meshwit leave, then meshwit up"
        self.end(UpError(f"this device was expelled from {name}", hint))

    def _merge(self, joined: Joined) -> None:
        if not self._stop.is_set():
            self.parts.admissions.close()
            self._merged = joined
            self._stop.set()

    async def meet(self, within_s: float) -> None:
        """Wait until another member offers itself to jobs; at once where none is remembered.

        What is waited for are answers: once all who were asked have none, and none was seen nearby, nobody is there.
        """
        parts = self.parts
        loop = asyncio.get_running_loop()
        begun = loop.time()
        known = bool(parts.book.peers or parts.book.hosts)
        while known and loop.time() - begun < within_s:
            if len(parts.jobs.engine.leading.workers) > 1:
                return
            if not (parts.links.links or parts.seeker.is_trying) and loop.time() - begun > SEEN_WITHIN_S:
                return
            await asyncio.sleep(MEET_EVERY_S)

    def irreplaceable_for(self) -> int:
        """How many streams and jobs would end with it, since it leads them and nobody stands by to lead on; and how
        many have ended that it is still telling of, its standbys among them."""
        jobs = self.parts.jobs
        alone = sum(not jobs.known.is_followed(job.id) for job in jobs.engine.leading.jobs)
        return alone + jobs.known.owed + jobs.untold

    def end(self, fault: UpError | None = None) -> None:
        """Stops; with a fault, `run` raises it."""
        self._fault = self._fault or fault
        self._ended = True
        self._stop.set()

    @property
    def parts(self) -> Parts:
        """What it is made of. Raises PeerError unless it runs."""
        if self._parts is None:
            raise PeerError("the peer is starting or stopping")
        return self._parts

    # --- what is shown -----------------------------------------------------------------------------------------

    def peers(self) -> list[PeerView]:
        """All known peers, this one first."""
        parts = self.parts
        now = asyncio.get_running_loop().time()
        own = parts.roster.known(parts.me, me=True, heard_s=0.0, address=parts.own_address)
        others = [self._known(member, now) for member in parts.gossip.members.values() if member.id != parts.me]
        return peer_views([own, *others], __version__)

    def mesh(self) -> MeshView:
        """How the mesh is."""
        parts = self.parts
        peers = self.peers()
        membership = parts.keeper.membership
        return MeshView(
            name=membership.mesh_name,
            id=membership.mesh,
            me=peers[0],
            peers_alive=sum(one.state in ("alive", "suspect") for one in peers),
            peers_known=max(len(peers), parts.gossip.known_count),
            open=membership.open,
            pending=[each for _, each in self._pending()],
            other_meshes=parts.merger.others(),
            up_s=time.monotonic() - self._started_at,
            port=parts.port,
            home=str(parts.home.folder),
            when=self._options.when,
        )

    def subscribe(self) -> AsyncIterator[MeshEvent]:
        """Events from now on."""
        return self._watchers.subscribe()

    async def doctor(self) -> list[Finding]:
        """What keeps devices from seeing each other, looked at from inside."""
        return await diagnose(self.parts.home.folder, self.mesh(), self.peers())

    # --- what is done ------------------------------------------------------------------------------------------

    async def invite(self, kind: InviteKind, hours: float) -> InviteView:
        """A new invitation."""
        parts = self.parts
        mesh = parts.keeper.membership.mesh_name
        try:
            if kind == "code":
                code, expires_in_s = parts.admissions.new_code()
                return InviteView(kind="code", text=code, expires_in_s=expires_in_s, mesh=mesh)
            token = parts.admissions.new_token(hours, parts.listening_at())
        except ValueError as error:
            raise PeerError(str(error)) from error
        return InviteView(kind="token", text=token, expires_in_s=hours * 3600, mesh=mesh)

    async def approve(self, name: str) -> str:
        """Let a waiting device in, by its name, id or words."""
        wanted = name.strip().lower()
        found = [
            (holder, each)
            for holder, each in self._pending()
            if wanted in (each.name.lower(), each.id, short(each.id), each.words.lower())
        ]
        if not found:
            waiting = ", ".join(each.name for _, each in self._pending())
            hint = f"waiting: {waiting}" if waiting else "nobody waits; on the new device, run: meshwit up"
            raise PeerError(f"no device named {name} waits to be let in", hint)
        if len(found) > 1:
            both = "; ".join(f"{each.name}: {each.words}" for _, each in found)
            raise PeerError(f"{len(found)} devices named {name} wait", f"approve one by its words ({both})")
        holder, pending = found[0]
        if holder == self.parts.me:
            self.parts.admissions.approve(pending.id)
            return f"{pending.name} is let in"
        if not self.parts.news.ask_to_approve(holder, pending.id):
            raise PeerError(f"{pending.name} waits at {self.parts.roster.name(holder)}, which cannot be reached now")
        return f"{self.parts.roster.name(holder)} lets {pending.name} in"

    async def expel(self, name: str) -> str:
        """Shut a member out for good, on all peers."""
        target = self._one(name)
        try:
            self.parts.keeper.expel(PeerId(target.id), self.parts.roster.chains())
        except TrustError as error:
            raise PeerError(error.message, error.hint) from error
        return f"{target.name} is expelled: no peer of the mesh talks to it any more"

    async def forget(self, name: str) -> str:
        """Drop a peer that is gone from the table and the address book."""
        target = self._one(name)
        if target.state in ("alive", "suspect"):
            raise PeerError(
                f"{target.name} is {target.state}: it would be back at once",
                f"to shut it out for good: meshwit expel {target.name}",
            )
        self.parts.forget(PeerId(target.id))
        return f"{target.name} is forgotten; it remains a member and comes back when it runs again"

    async def leave(self) -> str:
        """Leave the mesh for good."""
        name = self.parts.keeper.membership.mesh_name
        self._leaving = True
        asyncio.get_running_loop().call_later(0.1, self.end)
        return f"left {name}"

    async def down(self) -> None:
        """Stop this peer; it stays a member."""
        asyncio.get_running_loop().call_later(0.1, self.end)

    async def bench(self) -> PeerView:
        """Measure this device again."""
        await self.parts.measuring.scores(refresh=True)
        return self.peers()[0]

    async def rate(self, activity: str, refresh: bool) -> RateView:
        """How fast this device is at an activity."""
        try:
            rate = await self.parts.measuring.rate(activity, refresh=refresh)
        except RateError as error:
            raise PeerError(str(error)) from error
        return RateView(
            activity=rate.activity, per_s=rate.per_s, unit=rate.unit, version=rate.version, measured_at=rate.measured_at
        )

    async def need(self, activities: list[str]) -> None:
        """A job uses these: all peers measure what they have not."""
        self.parts.measuring.need(activities)

    # --- within ------------------------------------------------------------------------------------------------

    def _known(self, member: Member, now: float) -> KnownPeer:
        parts = self.parts
        link = parts.links.links.get(member.id)
        round_trip_s = member.round_trip_s
        if round_trip_s is None and link is not None:
            round_trip_s = link.round_trip_s or None  # 0 until it is measured
        return parts.roster.known(
            member.id,
            state=_STATES[member.state],
            round_trip_s=round_trip_s,
            heard_s=max(0.0, now - member.heard_at),
            address=parts.address_of(member.id),
            remembered_name=entry.name if (entry := parts.book.peers.get(member.id)) else "",
        )

    def _pending(self) -> list[tuple[PeerId, PendingView]]:
        """Who waits, and at whom; those who wait here, then those elsewhere."""
        parts = self.parts
        here = [(parts.me, each) for each in parts.admissions.pending()]
        known = {each.id for _, each in here}
        alive = {member.id for member in parts.gossip.alive()}
        return here + [one for one in parts.roster.pending() if one[0] in alive and one[1].id not in known]

    def _one(self, name: str) -> PeerView:
        """The other peer that a name means. Raises PeerError."""
        peers = self.peers()
        found = named(name, peers)
        if not found:
            others = ", ".join(one.name for one in peers if not one.me) or "there is no other"
            raise PeerError(f"no peer is named {name}", f"known: {others}")
        if len(found) > 1:
            both = ", ".join(f"{one.name} ({short(one.id)})" for one in found)
            raise PeerError(f"{name} may mean {both}", "give the id in parentheses")
        if found[0].me:
            raise PeerError(f"{found[0].name} is this peer", "run: meshwit leave, or meshwit down")
        return found[0]
