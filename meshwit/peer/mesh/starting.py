"""Starting a peer, step by step, and stopping it in the other order. Shell.

What cannot start ends it with a sentence; what the mesh can do without (multicast, the directory) leaves a word for
`meshwit doctor`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from meshwit import __version__
from meshwit.peer.control.api import PeerApi
from meshwit.peer.control.options import JoinPrompt, UpError, UpOptions
from meshwit.peer.control.server import ControlServer
from meshwit.peer.engine import Engine
from meshwit.peer.mesh.address_book import AddressBookFile, listening_ports
from meshwit.peer.mesh.belonging import Belonging, Search
from meshwit.peer.mesh.jobs import MeshJobs, settings_of
from meshwit.peer.mesh.keeper import MembershipKeeper
from meshwit.peer.mesh.kept import Remembered, device_id, load_kept, ports_beside, save_kept
from meshwit.peer.mesh.parts import Parts
from meshwit.peer.mesh.portrait import portrait
from meshwit.peer.mesh.profile import MemberProfile
from meshwit.peer.mesh.watchers import Watchers
from meshwit.peer.trust.certificates import NAME_LENGTH_MAX, clean_name, expelled_in
from meshwit.peer.trust.files import write_private
from meshwit.peer.trust.invites import read_token
from meshwit.peer.trust.membership import Membership
from meshwit.peer.trust.store import Home, Profile
from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.datagrams import Datagrams
from meshwit.peer.wire.handshake import PeerInfo
from meshwit.peer.wire.links import Links
from meshwit.peer.wire.sealing import SALT_BYTES, Sealer
from meshwit.peer.wire.sockets import bound_sockets
from meshwit.peer.wire.streams import TlsStreams
from meshwit.peer.wire.tls import self_signed
from meshwit.plugins.discovery import BrokenController, installed
from meshwit.plugins.registry import ControllerClash

HOSTS: Final = ("0.0.0.0", "::")
LOOPBACK: Final = "127.0.0.1"


@asynccontextmanager
async def running_parts(
    api: PeerApi, home: Home, profile: Profile, options: UpOptions, prompt: JoinPrompt, watchers: Watchers,
    contacts: Sequence[Address] = (),
) -> AsyncIterator[Parts]:  # fmt: skip
    """A peer that is a member, talks to others, and answers its owner.

    Args:
        contacts: where members may be found, besides what is remembered.

    Raises:
        UpError: it cannot start.
        TrustError: a file of the profile cannot be used.
    """
    kept = load_kept(profile.folder)
    membership = profile.load_membership()
    if membership is not None:
        _check_member(membership, options)
        membership = msgspec.structs.replace(membership, open=options.open)
    name = options.name or kept.name
    if not profile.certificate_file.exists():
        write_private(profile.certificate_file, self_signed(profile.key.private_pem()))
    keeper = MembershipKeeper(profile, membership)
    about: list[MemberProfile] = []
    sealer = Sealer(profile.key.id, keeper.secrets, time.time_ns() // 1000, os.urandom(SALT_BYTES))

    def info() -> PeerInfo:
        told = about[0] if about else MemberProfile(name or host_name(), b"")
        return PeerInfo(
            id=profile.key.id, key=profile.key.public_key, name=told.name, version=__version__,
            controllers=told.controllers, addresses=tuple((host, told.port) for host in told.addresses),
            datagram_counter=sealer.counter,
        )  # fmt: skip

    async with AsyncExitStack() as stack:
        links = Links(profile.key, TlsStreams(profile.certificate_file, profile.key_file), keeper, info)
        stack.push_async_callback(links.close)
        datagrams = Datagrams(sealer, keeper.is_expelled)
        stack.callback(datagrams.close)
        belonging = Belonging(membership) if membership is not None else None
        if belonging is None:
            _check_port(options.port)  # before a mesh is made or joined for nothing
            search = Search(home, profile, options, prompt, links.open_join, name or host_name())
            belonging = await search.belong()
            keeper.adopt(msgspec.structs.replace(belonging.membership, open=options.open))
        if belonging.told:
            prompt.say(belonging.told)
        try:
            member = await asyncio.to_thread(
                portrait, options, called(name, belonging.membership.name), device_id(home.folder), keeper.chain
            )
        except (ValueError, BrokenController, ControllerClash) as error:
            raise UpError(str(error)) from error
        book = AddressBookFile(profile.address_book_file)
        registry = installed()
        engine = await stack.enter_async_context(
            Engine(registry, settings_of(member.slots, options, profile.folder), profile.key.id, member.name)
        )
        jobs = MeshJobs(engine, registry)
        stack.callback(jobs.close)
        jobs.listen(links)
        # From here to the middle of `parts.start` nothing is awaited: whoever dials at once, as members do that keep a
        # link to this peer, must meet somebody who listens to what they say.
        port = await _listen(links, datagrams, options.port, kept.port)
        save_kept(profile.folder, Remembered(name, port))
        member = msgspec.structs.replace(member, port=port)
        parts = Parts(home, keeper, links, sealer, datagrams, book, member, options, watchers, jobs)
        parts.on_member = lambda told: about.__setitem__(slice(None), [told])
        stack.push_async_callback(parts.close)
        beside = [(LOOPBACK, each) for each in ports_beside(profile.folder)]
        await parts.start([*belonging.contacts, *contacts, *beside])
        control = ControlServer(api, profile.folder, jobs=jobs)
        await control.start()
        stack.push_async_callback(control.close)
        yield parts


def called(wanted: str, certified: str) -> str:
    """What a member is called: as its owner wants, with the number that its certificate added to tell it apart."""
    if not wanted:
        return certified
    name = clean_name(wanted)
    stem, _, number = certified.rpartition("-")
    return certified if number.isdecimal() and stem == name[: NAME_LENGTH_MAX - 6] else name


def host_name() -> str:
    """What this device is called if nobody says."""
    return clean_name(platform.node().split(".")[0])


def _check_member(membership: Membership, options: UpOptions) -> None:
    """Raises UpError where a member was asked for what only a stranger can do, or is none any more."""
    name = membership.mesh_name
    if expelled_in(membership.chain, membership.expelled) is not None:
        raise UpError(
            f"this device was expelled from {name}",
            "it can only come back as a new device: meshwit leave, then meshwit up",
        )
    if options.new:
        raise UpError(f"this device is in the mesh {name} already", "leave it first: meshwit leave")
    if options.invite:
        try:
            token = read_token(options.invite, time.time())
        except ValueError:
            return  # a member needs none
        if token.mesh != membership.mesh:
            raise UpError(
                f"this device is in the mesh {name}, the invite is into {token.mesh_name}", "leave first: meshwit leave"
            )


def _check_port(wanted: int) -> None:
    """Raises UpError if something has the port that was asked for."""
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for each in bound_sockets(HOSTS, wanted, kind):
                each.close()
    except OSError as error:
        raise _port_error(wanted, error) from error


def _port_error(wanted: int, problem: OSError | None) -> UpError:
    reason = problem.strerror or problem if problem else ""
    if wanted:
        return UpError(f"port {wanted} cannot be used: {reason}", "choose another one with --port, or leave it out")
    return UpError(f"no port can be used: {reason}")


async def _listen(links: Links, datagrams: Datagrams, wanted: int, before: int) -> int:
    """One port for TCP and UDP: the one asked for, or the one used before, or the first that is free."""
    ports = [wanted] if wanted else [*([before] if before else []), *listening_ports()]
    problem: OSError | None = None
    for each in ports:
        try:
            port = await datagrams.start(HOSTS, each)
            if each in (0, port):
                return await links.start(HOSTS, port)
            problem = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        except OSError as error:
            problem = error
        datagrams.close()
    raise _port_error(wanted, problem)
