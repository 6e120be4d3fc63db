"""Which network interfaces of this device lead to other devices, and why the others do not.

What is real is told by names, as systems and their virtual networks give them: there is no better sign that all
systems share. If nothing real is up, the next best kind is used: a Hyper-V switch (it takes the address of the real
adapter that it is bridged with), then other virtual networks, then loopback, over which peers of one device find each
other. Names in `MESHWIT_INTERFACES` overrule all that.
"""

from __future__ import annotations

import enum
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import psutil

VARIABLE: Final = "MESHWIT_INTERFACES"
"""Names of interfaces to use, or addresses of theirs, with commas between."""

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class InterfaceKind(enum.IntEnum):
    """What an interface is, by its name; the lower, the better."""

    REAL = 0
    SWITCH = 1
    VIRTUAL = 2
    LOOPBACK = 3
    VPN = 4
    BLUETOOTH = 5
    SPECIAL = 6


_WHAT: Final = {
    InterfaceKind.REAL: "a real interface",
    InterfaceKind.SWITCH: "a virtual switch of Hyper-V",
    InterfaceKind.VIRTUAL: "a virtual network of this device",
    InterfaceKind.LOOPBACK: "loopback: it leads nowhere else",
    InterfaceKind.VPN: "a VPN: it carries no multicast",
    InterfaceKind.BLUETOOTH: "Bluetooth",
    InterfaceKind.SPECIAL: "an interface that the system keeps for itself",
}
_KINDS: Final = (
    (InterfaceKind.LOOPBACK, r"lo\d*|loopback.*|.*loopback adapter.*"),
    (InterfaceKind.BLUETOOTH, r"bnep\d+|pan\d+|bluetooth.*"),
    (
        InterfaceKind.VPN,
        r"utun\d+|tun\d*|tap\d*|wg\d*|wg-.*|ppp\d+|ipsec\d+|tailscale.*|zt\w+|zerotier.*|nordlynx.*|nordvpn.*|proton.*"
        r"|openvpn.*|.*tap-windows.*|.*wintun.*|wireguard.*|.*vpn.*|nebula\d*|hamachi.*|ham\d+|cloudflare.*|netbird.*",
    ),
    (
        InterfaceKind.SPECIAL,
        r"awdl\d+|llw\d+|anpi\d+|gif\d+|stf\d+|xhc\d+|sit\d+|gre\d+|gretap\d+|erspan\d+|ip6tnl\d+|tunl\d+|ip_vti\d+"
        r"|ip6_vti\d+|dummy\d+|ifb\d+|nlmon\d+|teql\d+|isatap.*|teredo.*|6to4.*|local area connection\* \d+"
        r"|.*wi-fi direct.*|rmnet.*|p2p0|p2p-.*",
    ),
    (
        InterfaceKind.VIRTUAL,
        r"docker.*|br-[0-9a-f]{12}|veth(?!ernet).*|virbr.*|vnet\d+|vmnet\d+|vmenet\d+|bridge1\d\d|vboxnet\d+|.*virtualbox.*|.*vmware.*"
        r"|lxcbr\d+|lxdbr\d+|lxc.*|incusbr.*|podman\d+|cni\d+|cni-.*|flannel.*|cali.*|cilium.*|kube-.*|nerdctl\d+"
        r"|vethernet \((?:default switch|wsl.*|nat|docker.*)\)|waydroid\d+|anbox\d+",
    ),
    (InterfaceKind.SWITCH, r"vethernet.*"),
)  # fmt: skip
_PATTERNS: Final = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KINDS)


class Interface(msgspec.Struct, frozen=True):
    """One network interface.

    Attributes:
        name: as the system has it.
        kind: what it is, by its name.
        addresses: with the lengths of their networks' prefixes, `192.168.1.7/24`; IPv4 first, link-local IPv6 last
            and with its zone where the system tells it (`fe80::1%eth0/64`).
        skipped: why nobody is looked for there; empty if somebody is.
    """

    name: str
    kind: InterfaceKind
    addresses: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses without prefixes."""
        return tuple(each.rsplit("/", 1)[0] for each in self.addresses)


class SystemAddress(Protocol):
    """An address as psutil tells it."""

    @property
    def address(self) -> str: ...
    @property
    def netmask(self) -> str | None: ...


class SystemStats(Protocol):
    """The state of an interface as psutil tells it."""

    @property
    def isup(self) -> bool: ...


def kind_of(name: str) -> InterfaceKind:
    """What an interface of that name is."""
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(name)), InterfaceKind.REAL)


def survey(
    addresses: Mapping[str, Sequence[SystemAddress]],
    stats: Mapping[str, SystemStats],
    forced: Iterable[str] = (),
) -> list[Interface]:
    """All interfaces, each with the reason if it is skipped.

    Args:
        addresses, stats: of `psutil.net_if_addrs` and `psutil.net_if_stats`.
        forced: names or addresses of the only ones to use; empty to choose.
    """
    wanted = {each.strip().lower() for each in forced} - {""}
    found = [Interface(name, kind_of(name), _addresses(each)) for name, each in addresses.items()]
    faults = {each.name: _fault(each, stats.get(each.name)) for each in found}
    if wanted:
        chosen = {each.name for each in found if wanted & {each.name.lower(), *each.hosts}}
        reason = f"not among {VARIABLE}"
    else:
        kinds = [each.kind for each in found if not faults[each.name] and each.kind <= InterfaceKind.LOOPBACK]
        best = min(kinds, default=InterfaceKind.REAL)
        chosen = {each.name for each in found if each.kind == best}
        reason = ""
    return [
        msgspec.structs.replace(
            each, skipped=faults[each.name] or ("" if each.name in chosen else reason or _WHAT[each.kind])
        )
        for each in found
    ]


def usable(
    addresses: Mapping[str, Sequence[SystemAddress]],
    stats: Mapping[str, SystemStats],
    forced: Iterable[str] = (),
) -> list[Interface]:
    """The interfaces over which others are looked for, as `survey` judges them."""
    return [each for each in survey(addresses, stats, forced) if not each.skipped]


def look() -> list[Interface]:
    """All interfaces of this device now, as `survey` judges them with `MESHWIT_INTERFACES`."""
    try:
        return survey(psutil.net_if_addrs(), psutil.net_if_stats(), forced())
    except (OSError, psutil.Error):
        # An interface that goes while it is asked for: the next look sees it gone.
        return []


def forced() -> list[str]:
    """What `MESHWIT_INTERFACES` names."""
    return [each.strip() for each in os.environ.get(VARIABLE, "").split(",") if each.strip()]


def told_addresses(interfaces: Iterable[Interface]) -> list[str]:
    """Where others may reach this device: addresses of the interfaces in use, then of VPNs, without link-local IPv6.

    A link-local address means another interface on every device: only who hears it there knows which.
    """
    found = list(interfaces)
    inner = [each for each in found if not each.skipped]
    outer = [each for each in found if each.kind is InterfaceKind.VPN and each.addresses and each not in inner]
    hosts = [host for each in (*inner, *outer) for host in each.hosts]
    return [host for host in hosts if not (":" in host and ip_address(host).is_link_local)]


def networks(interfaces: Iterable[Interface]) -> list[IpNetwork]:
    """The networks that this device stands in, loopback and VPNs too, link-local IPv6 not."""
    found = [ipaddress.ip_interface(text) for each in interfaces for text in each.addresses if "%" not in text]
    return [each.network for each in found if not (each.version == 6 and each.is_link_local)]


def ip_address(text: str) -> IpAddress:
    """The address, its zone left out. Raises ValueError."""
    return ipaddress.ip_address(text.split("%")[0])


def _fault(interface: Interface, stats: Any) -> str:
    if stats is not None and not stats.isup:
        return "down, or no cable"
    if not interface.addresses:
        return "has no address"
    return ""


def _addresses(found: Sequence[SystemAddress]) -> tuple[str, ...]:
    """IPv4 first; link-local last, since others are reached the better without zones."""
    ranked: list[tuple[int, str]] = []
    for each in found:
        try:
            address = ip_address(each.address)
        except ValueError:
            continue  # a hardware address
        if address.is_unspecified or address.is_multicast:
            continue
        prefix = _prefix(address, each.netmask)
        rank = 2 * address.is_link_local + (address.version == 6)
        ranked.append((rank, f"{each.address}/{prefix}"))
    return tuple(text for _, text in sorted(ranked, key=lambda each: each[0]))


def _prefix(address: IpAddress, netmask: str | None) -> int:
    """The length of the prefix; what is usual where the system tells none (Windows, IPv6)."""
    try:
        return int(ipaddress.ip_address(netmask or "")).bit_count()
    except ValueError:
        return 24 if address.version == 4 else 64
