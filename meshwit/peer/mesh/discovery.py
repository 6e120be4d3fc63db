"""Finds peers on the local network and lets them find this one, by mDNS.

What is found is a hint where to dial, never a sign of life: a peer that was killed stays listed for 19 minutes. Real
interfaces only (`meshwit.peer.mesh.interfaces`), one that appears later is used from then on, and so is one that comes
back after sleep. Where nothing can be multicast everything else goes on, and `fault` has the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from meshwit.peer.mesh.interfaces import Interface, InterfaceKind, ip_address, look, told_addresses
from meshwit.peer.mesh.responder import Family, Responder, group_fault
from meshwit.peer.mesh.sightings import Sighting, Sightings

MULTICAST_VARIABLE: Final = "MESHWIT_MULTICAST"
"""`off`: nobody is looked for and nothing is announced. Others are then found by `--peer`, invites and memory alone."""
START_LIMIT_S: Final = 1.5
LOOK_EVERY_S: Final = 3.0
TRY_AGAIN_S: Final = 30.0
"""How long to wait after mDNS did not start, with nothing else changed."""
ASK_AFTER_S: Final = (0.2, 0.3)
ASK_AGAIN_S: Final = 15.0
"""How often to ask while nobody was seen: answers may have been lost."""
TOLD_MAX: Final = 12
"""Of addresses; a record has to fit into one datagram."""
SLEPT_S: Final = 20.0
"""A look that comes that much later than it should comes after sleep."""

FAMILIES: Final[tuple[Family, Family]] = (4, 6)
Survey: TypeAlias = Callable[[], Sequence[Interface]]


class Discovery:
    """Sees and is seen, from `start` to `close`.

    Args:
        on_found: a peer was seen, or is seen at other addresses. Called in the event loop; must not raise.
        on_lost: it took its announcement back.

    Attributes:
        fault: why nobody can be found by multicast, or not on every interface; empty if all is well.
        interfaces: those in use.
    """

    def __init__(self, on_found: Callable[[Sighting], None], on_lost: Callable[[Sighting], None] | None = None) -> None:
        self.fault = ""
        self.interfaces: tuple[Interface, ...] = ()
        self._on_found = on_found
        self._on_lost = on_lost
        self._survey: Survey = look
        self._sightings = Sightings()
        self._responders: list[Responder] = []
        self._announced: tuple[str, int] | None = None
        self._vpn_hosts: tuple[str, ...] = ()
        self._failed = False
        self._changing = asyncio.Lock()
        self._opened = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def sightings(self) -> list[Sighting]:
        """Who is seen now."""
        return list(self._sightings)

    @property
    def deaf(self) -> bool:
        """Whether there is no interface on which anybody could be heard now."""
        return not self._responders

    async def start(self, survey: Survey = look) -> None:
        """Start; returns when the first question is out, after 1.5 s at the latest.

        Args:
            survey: the interfaces of the device, asked every few seconds; skipped ones are left alone.
        """
        self._survey = survey
        self._watching = asyncio.create_task(self._watch())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_LIMIT_S):
                await self._opened.wait()

    async def announce(self, mesh_hash: str, port: int) -> None:
        """Tell all that a peer of that mesh listens on that port, in place of what was told before."""
        async with self._changing:
            self._announced = (mesh_hash, port)
            await self._tell()

    async def unannounce(self) -> None:
        """Take back what was told."""
        async with self._changing:
            self._announced = None
            await asyncio.gather(*(each.withdraw() for each in self._responders))

    async def close(self) -> None:
        """Take back what was told and let go of the network."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        async with self._changing:
            await self._let_go()

    async def _watch(self) -> None:
        """Look at the interfaces every few seconds, and begin anew when they have changed."""
        known: _View | None = None
        opened_at = asked_at = -TRY_AGAIN_S
        looked_at = time.time()
        while True:
            view = await asyncio.to_thread(_view, self._survey)
            now, before, looked_at = time.monotonic(), looked_at, time.time()
            slept = looked_at - before > LOOK_EVERY_S + SLEPT_S
            failed = self._failed and now - opened_at >= TRY_AGAIN_S
            if view != known or slept or failed:
                known, opened_at, asked_at = view, now, now
                async with self._changing:
                    await self._begin(view)
            elif not len(self._sightings) and now - asked_at >= ASK_AGAIN_S:
                asked_at = now
                for each in self._responders:
                    each.ask()
            self._opened.set()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _begin(self, view: _View) -> None:
        await self._let_go()
        self.interfaces, self._vpn_hosts = view.used, view.vpn_hosts
        self._failed = False
        faults: dict[Family, list[str]] = {4: list(view.refused4.values()), 6: list(view.refused6.values())}
        if view.hosts4:
            faults[4] += await self._open(4, view.hosts4)
        if view.hosts6:
            faults[6] += await self._open(6, view.hosts6)
        # IPv6 alone may be missing or broken: who is there is found without it.
        heard = {each.family for each in self._responders}
        reasons = faults[4] or ([] if 4 in heard else faults[6])
        if view.silent:
            reasons = [f"{MULTICAST_VARIABLE} is off"]
        elif all(each.kind is InterfaceKind.LOOPBACK for each in view.used):
            reasons = ["no interface of this device leads to others"]
        self.fault = "; ".join(reasons)
        self._asking = asyncio.create_task(self._ask_again())
        await self._tell()

    async def _ask_again(self) -> None:
        """Ask twice more if nobody answers: a question or its answer may have been lost."""
        for pause_s in ASK_AFTER_S:
            await asyncio.sleep(pause_s)
            if not len(self._sightings):
                for each in self._responders:
                    each.ask(direct=True)

    async def _open(self, family: Family, hosts: Sequence[str]) -> list[str]:
        via = str(family)
        responder = Responder(family, lambda each: self._seen(each, via), lambda each: self._gone(each, via))
        # In the list from the first moment: whoever stops this halfway finds it there.
        self._responders.append(responder)
        try:
            await responder.open(hosts)
        except OSError as error:
            await responder.close()
            self._responders.remove(responder)
            self._failed = True
            return [f"no mDNS over IPv{family} on {', '.join(hosts)}: {error.strerror or error}"]
        return []

    async def _tell(self) -> None:
        if self._announced is None or not self._responders:
            return
        mesh_hash, port = self._announced
        instance = secrets.token_hex(16)
        self._sightings.own(instance)
        hosts = [*(host for each in self.interfaces for host in each.hosts), *self._vpn_hosts]
        hosts = sorted(dict.fromkeys(hosts), key=lambda host: (ip_address(host).is_link_local, ":" in host))[:TOLD_MAX]
        await asyncio.gather(*(each.announce(instance, mesh_hash, port, hosts) for each in self._responders))

    async def _let_go(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
            self._asking = None
        await asyncio.gather(*(each.close() for each in self._responders))
        self._responders.clear()
        self._sightings.clear()

    def _seen(self, sighting: Sighting, via: str) -> None:
        news = self._sightings.seen(sighting, via, time.monotonic())
        if news is not None:
            self._on_found(news)

    def _gone(self, instance: str, via: str) -> None:
        lost = self._sightings.gone(instance, via)
        if lost is not None and self._on_lost is not None:
            self._on_lost(lost)


async def browse(
    seconds: float, enough: Callable[[Sighting], bool] | None = None, survey: Survey = look
) -> list[Sighting]:
    """Who is seen within that time.

    Args:
        enough: ends the search early with a sighting that it likes.
    """
    done = asyncio.Event()

    def found(sighting: Sighting) -> None:
        if enough is not None and enough(sighting):
            done.set()

    discovery = Discovery(found)
    try:
        await discovery.start(survey)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await done.wait()
        return discovery.sightings
    finally:
        await discovery.close()


class _View(msgspec.Struct, frozen=True):
    """What there is to work with: interfaces, and the addresses from which mDNS is spoken or refused."""

    used: tuple[Interface, ...]
    vpn_hosts: tuple[str, ...]
    hosts4: tuple[str, ...]
    hosts6: tuple[str, ...]
    refused4: dict[str, str]
    refused6: dict[str, str]
    silent: bool = False


def _view(survey: Survey) -> _View:
    """Look at the device. One interface that refuses would keep zeroconf from all others, so each is tried before."""
    found = tuple(survey())
    used = tuple(each for each in found if not each.skipped)
    silent = os.environ.get(MULTICAST_VARIABLE, "").strip().lower() == "off"
    speaking = () if silent else used
    hosts4, hosts6 = (tuple(h for each in speaking if (h := _speaker(each, family))) for family in FAMILIES)
    refused4 = {host: fault for host in hosts4 if (fault := group_fault(4, host))}
    refused6 = {host: fault for host in hosts6 if (fault := group_fault(6, host))}
    return _View(
        used=used,
        vpn_hosts=tuple(told_addresses(each for each in found if each.kind is InterfaceKind.VPN)),
        hosts4=tuple(host for host in hosts4 if host not in refused4),
        hosts6=tuple(host for host in hosts6 if host not in refused6),
        refused4=refused4,
        refused6=refused6,
        silent=silent,
    )


def _speaker(interface: Interface, family: Family) -> str:
    """The address of an interface from which mDNS is spoken: link-local where it is IPv6, as RFC 6762 has it."""
    hosts = [host for host in interface.hosts if ip_address(host).version == family]
    if family == 6:
        # The loopback of IPv6 carries no multicast.
        hosts = [host for host in hosts if not ip_address(host).is_loopback]
        hosts.sort(key=lambda host: not ip_address(host).is_link_local)
    return hosts[0] if hosts else ""
