"""Where a peer listens: host and port, in one spelling each.

Hosts are numbers or names. IPv4 written as IPv6 becomes IPv4; the zone of a link-local address stays, since without it
nobody gets there; nothing is looked up here.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final, TypeAlias

Address: TypeAlias = tuple[str, int]
"""Host (numeric or a name) and port."""

PORT_MAX: Final = 65535
HOST_LENGTH_MAX: Final = 255


def normalised(host: str, port: int) -> Address:
    """The one spelling of an address. Raises ValueError if it can be none."""
    if not 0 <= port <= PORT_MAX:
        raise ValueError(f"{port} is no port: 0 to {PORT_MAX} are")
    return _host(host), port


def from_socket(name: Any) -> Address:
    """The address out of what a socket tells: `(host, port)` or `(host, port, flow, scope)`."""
    host, port = str(name[0]), int(name[1])
    if len(name) > 3 and name[3] and "%" not in host:
        host = f"{host}%{name[3]}"
    return normalised(host, port)


def parse_address(text: str, default_port: int = 0) -> Address:
    """Reads `host`, `host:port`, `[::1]:port` or `::1`. Raises ValueError in plain words."""
    text = text.strip()
    host, port_text = text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no address: write [::1]:7000")
        port_text = rest[1:]
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    if port_text and not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        raise ValueError(f"{port_text!r} is no port: write a number up to {PORT_MAX}")
    return normalised(host, int(port_text) if port_text else default_port)


def address_text(address: Address) -> str:
    """As people write it: `10.0.0.7:7000`, `[fe80::1%2]:7000`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(text: str) -> str:
    if not 0 < len(text) <= HOST_LENGTH_MAX or not text.isprintable() or any(c in text for c in " []/@"):
        raise ValueError(f"{text[:80]!r} is no host")
    bare, _, zone = text.partition("%")
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        if ":" in text or zone:
            raise ValueError(f"{text[:80]!r} is no host") from None
        return text.lower()
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        if ip.is_link_local and zone:
            return f"{ip}%{zone}"
    return str(ip)
