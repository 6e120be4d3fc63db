"""How a device comes to belong to a mesh: by what it has, by whom it finds, or by founding one of its own. Shell.

In this order: a membership on disk; an invite; a member among the other peers of the same user on this device; a mesh
that is near, which it asks to be let in while its owner may type a code; and where there is none, a mesh of its own.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, assert_never

import msgspec

from meshwit.peer.control.options import JoinPrompt, UpError, UpOptions
from meshwit.peer.mesh.address_book import DEFAULT_PORT, resolve
from meshwit.peer.mesh.conversation import Conversation
from meshwit.peer.mesh.discovery import Discovery
from meshwit.peer.mesh.sightings import Sighting
from meshwit.peer.trust.certificates import clean_name
from meshwit.peer.trust.invites import Token, read_token
from meshwit.peer.trust.join_effects import (
    Admit,
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
from meshwit.peer.trust.joiner import Joiner
from meshwit.peer.trust.keys import DeviceKey
from meshwit.peer.trust.membership import Membership, found_mesh
from meshwit.peer.trust.store import Home, Profile
from meshwit.peer.trust.words import read_code
from meshwit.peer.wire.addresses import Address, address_text
from meshwit.peer.wire.endings import LinkError
from meshwit.peer.wire.join_stream import JoinStream

BROWSE_S: Final = 1.5
"""How long a fresh device looks for a mesh before it founds one."""
BROWSE_OPEN_S: Final = 0.7
"""By how much more at most with `--open`: devices that start together should not all found one."""
INVITE_TRIES_S: Final = 60.0
"""How long a device with an invite looks for a member."""
ASK_AGAIN_S: Final = 2.0
ASK_OPEN_AGAIN_S: Final = 60.0
"""A mesh that takes anybody, which was not asked for: it has to issue a certificate each time, for nothing."""
MEMBERS_MAX: Final = 32
"""Members that are asked; one would do, but a code is known to the one alone that shows it."""

OpenJoin = Callable[[Address], Awaitable[JoinStream]]


class Belonging(msgspec.Struct, frozen=True):
    """A place in a mesh.

    Attributes:
        contacts: where members are, as far as joining told.
        told: how it came to be, a sentence; empty if nothing was done.
    """

    membership: Membership
    contacts: tuple[Address, ...] = ()
    told: str = ""


class Search:
    """One device on its way into a mesh.

    Args:
        open_join: connects to a member, by `Links.open_join`.
        name: of this device.
    """

    def __init__(
        self,
        home: Home,
        profile: Profile,
        options: UpOptions,
        prompt: JoinPrompt,
        open_join: OpenJoin,
        name: str,
    ) -> None:
        self._home = home
        self._profile = profile
        self._options = options
        self._prompt = prompt
        self._open_join = open_join
        self._name = name
        self._members: dict[Address, tuple[Address, ...]] = {}
        """By its first address: all addresses of a member that was seen or named."""
        self._seen = asyncio.Event()

    async def belong(self) -> Belonging:
        """The place. Raises UpError."""
        options = self._options
        if options.invite:
            return await self._by_invite(options.invite)
        if not options.new:
            adopted = self._home.adopt(self._profile, time.time(), self._name)
            if adopted is not None:
                return Belonging(adopted, (), f"joined {adopted.mesh_name}, the mesh of your other peer on this device")
        return await self._by_search()

    # --- the ways ----------------------------------------------------------------------------------------------

    async def _by_invite(self, text: str) -> Belonging:
        try:
            token = read_token(text, time.time())
        except ValueError as error:
            raise UpError(str(error), "a member makes one with: meshwit invite --token") from error
        await self._name_members([*token.addresses, *self._options.peers])
        discovery = Discovery(self._sighted)
        problem = "no member was found on this network"
        try:
            await discovery.start()
            deadline = time.monotonic() + INVITE_TRIES_S
            while time.monotonic() < deadline:
                for addresses in list(self._members.values()):
                    ended = await self._ask(addresses, token=token)
                    if isinstance(ended, Joined):
                        return self._joined(ended)
                    problem = ended.reason
                    if ended.why in (RefusalKind.INVITE, RefusalKind.EXPELLED):
                        raise UpError(ended.reason, ended.hint)
                self._seen.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_AGAIN_S):
                        await self._seen.wait()
        finally:
            await discovery.close()
        raise UpError(f"nobody of {token.mesh_name} let this device in: {problem}", "run: meshwit doctor")

    async def _by_search(self) -> Belonging:
        options = self._options
        if options.new:
            return self._found()
        await self._name_members(options.peers)
        discovery = Discovery(self._sighted)
        try:
            await discovery.start()
            if not self._members and not discovery.deaf:
                patience = BROWSE_S + (random.uniform(0, BROWSE_OPEN_S) if options.open else 0.0)
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self._seen.wait()
            if not self._members:
                if options.peers:
                    asked = ", ".join(address_text(each) for each in options.peers)
                    raise UpError(f"nobody answers at {asked}", "is `meshwit up` running there? run: meshwit doctor")
                return self._found()
            return await self._ask_to_be_let_in()
        finally:
            await discovery.close()

    def _found(self) -> Belonging:
        """A mesh of one's own, named after user and host."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):
            user = "mesh"
        mesh = clean_name(f"{user}@{clean_name(platform.node().split('.')[0])}")
        membership = found_mesh(
            self._profile.key,
            mesh,
            time.time(),
            os.urandom,
            device_name=clean_name(self._name),
            open=self._options.open,
        )
        self._profile.save_membership(membership)
        return Belonging(membership, (), f"made the mesh {mesh}")

    async def _ask_to_be_let_in(self) -> Belonging:
        """Waits at the door until somebody approves, a code is typed that opens it, or the user goes."""
        waiting = asyncio.create_task(self._wait_for_approval())
        typing = asyncio.create_task(self._prompt.code())
        try:
            while True:
                done, _ = await asyncio.wait((waiting, typing), return_when=asyncio.FIRST_COMPLETED)
                if waiting in done:
                    return self._joined(waiting.result())
                try:
                    code = read_code(typing.result())
                except ValueError as error:  # mistyped: no reason to give up the place at the door
                    self._prompt.wrong_code(str(error))
                    typing = asyncio.create_task(self._prompt.code())
                    continue
                waiting.cancel()
                (ended,) = await asyncio.gather(waiting, return_exceptions=True)
                if isinstance(ended, Joined):  # approved at the same moment
                    return self._joined(ended)
                if isinstance(ended, UpError):
                    raise ended
                joined = await self._by_code(code)
                if joined is not None:
                    return self._joined(joined)
                waiting = asyncio.create_task(self._wait_for_approval())
                typing = asyncio.create_task(self._prompt.code())
        finally:
            waiting.cancel()
            typing.cancel()
            await asyncio.gather(waiting, typing, return_exceptions=True)

    async def _wait_for_approval(self) -> Joined:
        """Asks one member after the other, and waits at the first that listens."""
        told: set[str] = set()
        not_before: dict[tuple[Address, ...], float] = {}
        while True:
            for addresses in list(self._members.values()):
                if time.monotonic() < not_before.get(addresses, 0.0):
                    continue
                ended = await self._ask(addresses, accept_open=self._options.open)
                if isinstance(ended, Joined):
                    return ended
                if ended.why is RefusalKind.EXPELLED:
                    raise UpError(ended.reason, ended.hint)
                if ended.why is RefusalKind.OPEN_MESH:
                    not_before[addresses] = time.monotonic() + ASK_OPEN_AGAIN_S
                if ended.reason not in told:
                    hint = f"; {ended.hint}" if ended.why is RefusalKind.OPEN_MESH else ""
                    self._prompt.say(f"{ended.reason}{hint}")
                told.add(ended.reason)
            await asyncio.sleep(ASK_AGAIN_S)

    async def _by_code(self, code: str) -> Joined | None:
        """Tries the code at all members: only the one that shows it knows it."""
        problem, answered = "no member could be reached", False
        for addresses in list(self._members.values()):
            ended = await self._ask(addresses, code=code)
            if isinstance(ended, Joined):
                return ended
            # What one says does not keep the others from being asked: it may be none of the mesh at all.
            if not answered:
                problem = f"{ended.reason}; {ended.hint}" if ended.hint else ended.reason
                answered = ended.why not in (RefusalKind.UNKNOWN_CODE, RefusalKind.GIVEN_UP, RefusalKind.FULL)
        self._prompt.wrong_code(problem)
        return None

    # --- one member --------------------------------------------------------------------------------------------

    async def _ask(
        self, addresses: Sequence[Address], *, code: str = "", token: Token | None = None, accept_open: bool = False
    ) -> Joined | JoinRefused:
        """Talks to one member to the end; one that cannot be talked to has given up."""
        problem = "it has no address"
        for address in addresses:
            try:
                stream: JoinStream = await self._open_join(address)
            except LinkError as error:
                problem = f"{address_text(address)}: {error.message}"
                continue
            ending: list[Joined | JoinRefused] = []
            joiner = Joiner(
                self._profile.key, stream.peer_key, self._name, os.urandom, code=code, token=token,
                accept_open=accept_open, confirm=True,
            )  # fmt: skip
            asked: list[Confirm] = []
            conversation = Conversation(joiner, stream, partial(self._perform, stream, asked, ending))
            with suppress(LinkError):
                await conversation.run(joiner.start(time.time()))
            if asked and not ending:
                agreed = await self._prompt.confirm(asked[0].words, asked[0].name)
                conversation.perform(joiner.confirm(time.time()) if agreed else joiner.deny(time.time()))
            if ending:
                return ending[0]
            problem = f"{address_text(address)} hung up"
        return JoinRefused(problem, "", RefusalKind.GIVEN_UP)

    def _perform(
        self, stream: JoinStream, asked: list[Confirm], ending: list[Joined | JoinRefused], effect: Effect
    ) -> None:
        match effect:
            case Show(words=words, name=name):
                self._prompt.found([name])
                self._prompt.words(words, name)
            case Joined() | JoinRefused():
                ending.append(effect)
            case AskCode():
                pass  # it is asked for all the time, for all members at once
            case Confirm():
                asked.append(effect)
                stream.close()  # the member has said all; what a person says takes its time
            case SendMessage() | Admit():
                raise AssertionError(f"a joiner does not want {type(effect).__name__} here")
            case _:
                assert_never(effect)

    def _joined(self, joined: Joined) -> Belonging:
        membership = joined.membership
        if joined.way is not Way.OPEN and self._options.open:
            membership = msgspec.structs.replace(membership, open=True)
        self._profile.save_membership(membership)
        return Belonging(membership, joined.addresses, f"joined {membership.mesh_name} as {membership.name}")

    # --- whom to ask -------------------------------------------------------------------------------------------

    def _sighted(self, sighting: Sighting) -> None:
        self._add(sighting.addresses)

    async def _name_members(self, addresses: Sequence[Address]) -> None:
        for host, port in addresses:
            try:
                self._add(tuple(await resolve((host, port or DEFAULT_PORT))))
            except OSError as error:
                self._prompt.say(str(error))

    def _add(self, addresses: tuple[Address, ...]) -> None:
        if addresses and (addresses[0] in self._members or len(self._members) < MEMBERS_MAX):
            self._members[addresses[0]] = addresses
            self._seen.set()


async def enter_open_mesh(
    open_join: OpenJoin, key: DeviceKey, name: str, addresses: Sequence[Address]
) -> Joined | None:
    """The place in the mesh of a member nearby if that takes anybody; None if it does not, or nobody answers."""
    for address in addresses:
        try:
            stream = await open_join(address)
        except LinkError:
            continue
        joined: list[Joined] = []

        def perform(effect: Effect, stream: JoinStream = stream, joined: list[Joined] = joined) -> None:
            if isinstance(effect, Joined) and effect.way is Way.OPEN:
                joined.append(effect)
            elif isinstance(effect, Show):
                stream.close()  # a person would have to approve: not open

        joiner = Joiner(key, stream.peer_key, name, os.urandom, accept_open=True)
        with suppress(LinkError):
            await Conversation(joiner, stream, perform).run(joiner.start(time.time()))
        return joined[0] if joined else None
    return None
