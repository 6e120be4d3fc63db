"""Why devices do not see each other: judges what was observed, and says what to do.

The judgement is all here; `meshwit.peer.mesh.diagnose` gathers the observations. Every finding names one point that
was looked at. Those that explain the most come first.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from meshwit.peer.control.api import Finding
from meshwit.peer.mesh.address_book import DEFAULT_PORT
from meshwit.peer.mesh.interfaces import VARIABLE, Interface, InterfaceKind
from meshwit.peer.mesh.sightings import Sighting
from meshwit.peer.wire.addresses import Address, address_text

CLOCK_MIN_S = 1_767_225_600.0
"""The beginning of 2026: no clock that is right shows less."""
CLOCK_TOLERANCE_S = 600.0
"""What certificates forgive."""
DIALLED_SHOWN_MAX = 4


class Dialled(enum.Enum):
    """What came of connecting to an address."""

    ANSWERED = "answers"
    REFUSED = "refuses"
    SILENT = "does not answer"
    UNREACHABLE = "cannot be reached"


class Seen(msgspec.Struct, frozen=True):
    """A peer seen by mDNS, and what came of connecting to each of its addresses."""

    sighting: Sighting
    dialled: dict[Address, Dialled] = {}


class Observations(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed on this device. Reasons are empty where all is well.

    Attributes:
        running: whether a peer of this user runs here.
        interfaces: all of them, with why some are skipped.
        multicast: why a datagram to all, sent from an address, did not come back to it.
        discovery_fault: why mDNS did not start.
        firewalls: those that are on, by name.
        port: at which the running peer listens; 0 if none runs.
        own_port: what came of connecting to it through each address of this device.
        default_port_fault: why the default port could not be taken, where no peer runs.
        own_mesh: the hash of the mesh that this device is in; empty if in none.
        own_mesh_name: for people.
        seen: peers of other devices seen by mDNS.
        other_meshes: names of other meshes that the running peer met.
        peers_alive: in the mesh, this one included.
        clock_s: seconds since 1970.
        newest_file_s: when a file of the home was last written, by the clock of then.
        clock_notes: what members say of their clocks, or of ours.
        version: of this meshwit.
        versions: of the members, by name.
        home: the folder of the configuration.
        home_fault: why nothing can be written there.
        open_keys: key files that other users may read.
        profile_faults: what else is the matter with keys and memberships, and what to do about it.
    """

    running: bool = False
    interfaces: tuple[Interface, ...] = ()
    multicast: dict[str, str] = {}
    discovery_fault: str = ""
    firewalls: tuple[str, ...] = ()
    port: int = 0
    own_port: dict[str, Dialled] = {}
    default_port_fault: str = ""
    own_mesh: str = ""
    own_mesh_name: str = ""
    seen: tuple[Seen, ...] = ()
    other_meshes: tuple[str, ...] = ()
    peers_alive: int = 0
    clock_s: float = CLOCK_MIN_S
    newest_file_s: float = 0.0
    clock_notes: tuple[str, ...] = ()
    version: str = ""
    versions: dict[str, str] = {}
    home: str = ""
    home_fault: str = ""
    open_keys: tuple[str, ...] = ()
    profile_faults: tuple[tuple[str, str], ...] = ()


def judge(observed: Observations) -> list[Finding]:
    """What is the matter, worst first; points that are well come last."""
    found = [
        *_peer(observed),
        *_home(observed),
        *_interfaces(observed),
        *_multicast(observed),
        *_port(observed),
        *_others(observed),
        *_meshes(observed),
        *_firewalls(observed),
        *_clock(observed),
        *_versions(observed),
        *_ipv6(observed),
    ]
    order = ("fail", "warn", "ok")
    return sorted(found, key=lambda each: order.index(each.state))


def _peer(observed: Observations) -> Iterator[Finding]:
    if observed.running:
        many = f"{observed.peers_alive} devices" if observed.peers_alive > 1 else "this device alone"
        yield Finding(what=f"peer: runs, the mesh {observed.own_mesh_name!r} is {many}")
    else:
        yield Finding(
            state="fail",
            what="peer: none runs on this device",
            why="others can neither see it nor use it",
            do="start it: meshwit up",
        )


def _home(observed: Observations) -> Iterator[Finding]:
    if observed.home_fault:
        yield Finding(
            state="fail",
            what=f"configuration: {observed.home} cannot be written",
            why=observed.home_fault,
            do="give the folder to this user, or name another one in MESHWIT_HOME",
        )
    for path in observed.open_keys:
        yield Finding(
            state="fail",
            what=f"configuration: {path} can be read by other users",
            why="who has the key is this device, for all others",
            do=f"run: chmod 600 '{path}'",
        )
    for what, do in observed.profile_faults:
        yield Finding(state="fail", what=f"configuration: {what}", why="no peer can start with it", do=do)
    if not observed.home_fault and not observed.open_keys and not observed.profile_faults:
        yield Finding(what=f"configuration: {observed.home} is private and writable")


def _interfaces(observed: Observations) -> Iterator[Finding]:
    used = [each for each in observed.interfaces if not each.skipped]
    listed = "; ".join(f"{each.name}: {each.skipped}" for each in observed.interfaces if each.skipped)
    shown = ", ".join(f"{each.name} ({each.hosts[0]})" for each in used)
    kinds = {each.kind for each in used}
    vpn = [each.name for each in observed.interfaces if each.kind is InterfaceKind.VPN and each.addresses]
    connect = "connect this device to the network of the others"
    if not used and any(f"among {VARIABLE}" in each.skipped for each in observed.interfaces):
        yield Finding(
            state="fail", what=f"interfaces: none is named as {VARIABLE} says", why=listed, do=f"correct {VARIABLE}"
        )
    elif not used or kinds == {InterfaceKind.LOOPBACK}:
        why = (
            f"only a VPN is up ({', '.join(vpn)}), and it carries no multicast"
            if vpn
            else listed or "there is no other"
        )
        do = "name a peer's address: meshwit up --peer HOST" if vpn else connect
        yield Finding(state="fail", what="interfaces: none leads to other devices", why=why, do=do)
    elif not kinds & {InterfaceKind.REAL, InterfaceKind.SWITCH}:
        yield Finding(
            state="warn",
            what=f"interfaces: only {shown} is in use, and it is virtual",
            why="it leads to what runs on this device, not to other devices",
            do=f"{connect}, or name the right interface in {VARIABLE}",
        )
    else:
        yield Finding(what=f"interfaces: {shown}", why=f"not used: {listed}" if listed else "")
    if all(host.startswith("169.254.") for each in used for host in each.hosts if "." in host) and any(
        "." in host for each in used for host in each.hosts
    ):
        yield Finding(
            state="warn",
            what=f"interfaces: {shown} has an address that it gave itself",
            why="no router answered; devices at a router are not seen from here",
            do="unless this is a cable from device to device, look at the connection to the router",
        )


def _multicast(observed: Observations) -> Iterator[Finding]:
    for host, reason in observed.multicast.items():
        if reason:
            yield Finding(
                state="fail",
                what=f"multicast: none from {host}",
                why=reason,
                do="let UDP port 5353 in and out through the firewall, or name a peer: meshwit up --peer HOST",
            )
    leads = any(each.kind is not InterfaceKind.LOOPBACK for each in observed.interfaces if not each.skipped)
    if leads and observed.discovery_fault and not any(observed.multicast.values()):
        yield Finding(
            state="fail",
            what="multicast: mDNS did not start",
            why=observed.discovery_fault,
            do="name a peer: meshwit up --peer HOST",
        )
    if observed.multicast and not any(observed.multicast.values()) and not observed.discovery_fault:
        yield Finding(what=f"multicast: works on {', '.join(observed.multicast)}")


def _port(observed: Observations) -> Iterator[Finding]:
    if observed.default_port_fault:
        yield Finding(
            state="warn",
            what=f"port: {DEFAULT_PORT} is taken",
            why=f"{observed.default_port_fault}; the peer will take one of the next",
            do="others that name this device by --peer have to name the port too",
        )
    silent = [host for host, dialled in observed.own_port.items() if dialled is not Dialled.ANSWERED]
    if silent:
        yield Finding(
            state="fail",
            what=f"port: {observed.port} does not answer on {', '.join(silent)}",
            why="not even this device reaches its own peer there: a firewall, or it listens elsewhere",
            do=f"let TCP and UDP port {observed.port} in through the firewall",
        )
    elif observed.own_port:
        yield Finding(what=f"port: {observed.port} answers on {', '.join(observed.own_port)}")
    if observed.running and observed.port and observed.port != DEFAULT_PORT:
        yield Finding(
            what=f"port: {observed.port} instead of {DEFAULT_PORT}",
            do=f"others that name this device by --peer write HOST:{observed.port}",
        )


def _others(observed: Observations) -> Iterator[Finding]:
    for each in observed.seen:
        results = set(each.dialled.values())
        tried = list(each.dialled)[:DIALLED_SHOWN_MAX]
        place = ", ".join(address_text(address) for address in tried) or "no address"
        if Dialled.ANSWERED in results:
            yield Finding(what=f"other device: {place} is seen and answers")
        elif Dialled.REFUSED in results:
            yield Finding(
                state="warn",
                what=f"other device: {place} is seen, but nobody listens there",
                why="a peer that was killed stays listed for up to 19 minutes",
                do="start it there: meshwit up",
            )
        else:
            yield Finding(
                state="fail",
                what=f"other device: {place} is seen, but does not answer",
                why="its firewall, or a Wi-Fi that keeps its clients apart (client isolation, guest network)",
                do=f"there, let TCP and UDP port {each.sighting.port} in; "
                "at the access point, switch client isolation off or use another network",
            )
    if not observed.seen and observed.multicast and not any(observed.multicast.values()):
        alone = observed.peers_alive <= 1
        yield Finding(
            state="warn" if alone else "ok",
            what="other device: none is seen by mDNS",
            why="no peer runs near here, or multicast is lost on the way: guest networks, some access points and "
            "switches, and devices in another subnet",
            do="on the other device: meshwit up, then meshwit doctor; or name this one there: meshwit up --peer HOST"
            if alone
            else "",
        )


def _meshes(observed: Observations) -> Iterator[Finding]:
    hashes = {each.sighting.mesh_hash for each in observed.seen} - {observed.own_mesh}
    known = ", ".join(repr(each) for each in observed.other_meshes)
    if not hashes and not known:
        return
    many = known or (f"{len(hashes)} other meshes" if len(hashes) > 1 else "another mesh")
    if observed.own_mesh:
        only_others = observed.peers_alive <= 1
        yield Finding(
            state="warn" if only_others else "ok",
            what=f"mesh: there is {many} on this network",
            why=f"this device is in {observed.own_mesh_name!r}; it sees the others and stays out"
            if only_others
            else "",
            do="to move this device there: meshwit leave, then meshwit up" if only_others else "",
        )
    else:
        yield Finding(what=f"mesh: there is {many} on this network", do="to join it: meshwit up")


def _firewalls(observed: Observations) -> Iterator[Finding]:
    if not observed.firewalls:
        return
    port = observed.port or DEFAULT_PORT
    isolated = any(Dialled.ANSWERED not in each.dialled.values() for each in observed.seen)
    alone = observed.peers_alive <= 1
    rules = {
        "ufw": f"sudo ufw allow {port}, sudo ufw allow 5353/udp",
        "firewalld": f"sudo firewall-cmd --permanent --add-port={port}/tcp --add-port={port}/udp --add-service=mdns, "
        "then sudo firewall-cmd --reload",
        "Windows": "Windows Security, Firewall, Allow an app: tick Python for private networks, and set the network to "
        "private",
        "macOS": "System Settings, Network, Firewall, Options: allow incoming connections for Python",
    }
    for each in observed.firewalls:
        yield Finding(
            state="warn" if alone or isolated else "ok",
            what=f"firewall: {each} is on",
            why=f"it may keep others from TCP and UDP port {port} and from UDP port 5353; whether it does, only they "
            "can tell",
            do=rules.get(each, f"let TCP and UDP port {port} and UDP port 5353 in") if alone or isolated else "",
        )


def _clock(observed: Observations) -> Iterator[Finding]:
    set_it = "set the clock of this device, best by itself from the network"
    if observed.clock_s < CLOCK_MIN_S:
        yield Finding(state="fail", what="clock: years behind", why="certificates seem to lie in the future", do=set_it)
    elif observed.newest_file_s > observed.clock_s + CLOCK_TOLERANCE_S:
        behind = (observed.newest_file_s - observed.clock_s) / 60
        yield Finding(
            state="warn",
            what=f"clock: went back by {behind:.0f} minutes or more",
            why="a file of this configuration was written at a time that has not come yet",
            do=set_it,
        )
    elif not observed.clock_notes:
        yield Finding(what="clock: plausible")
    for note in observed.clock_notes:
        yield Finding(state="warn", what=f"clock: {note}", why="certificates forgive ten minutes", do=set_it)


def _versions(observed: Observations) -> Iterator[Finding]:
    others = {name: each for name, each in observed.versions.items() if each and each != observed.version}
    if not others:
        return
    shown = ", ".join(f"{name} has {each}" for name, each in sorted(others.items())[:DIALLED_SHOWN_MAX])
    more = len(others) - DIALLED_SHOWN_MAX
    yield Finding(
        state="warn" if any(_line(each) != _line(observed.version) for each in others.values()) else "ok",
        what=f"version: {observed.version} here; {shown}{f' and {more} more differ' if more > 0 else ''}",
        why="they work together where they can",
        do="where it is older: pip install -U meshwit",
    )


def _ipv6(observed: Observations) -> Iterator[Finding]:
    used = [each for each in observed.interfaces if not each.skipped]
    if used and not any(":" in host for each in used for host in each.hosts):
        yield Finding(what="IPv6: there is none", why="IPv4 does")


def _line(version: str) -> tuple[str, ...]:
    """What has to be the same for versions to be expected to agree: major and minor."""
    return tuple(version.split(".")[:2])
