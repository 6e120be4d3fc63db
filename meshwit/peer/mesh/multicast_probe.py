"""Sends a datagram to all from one interface and listens whether it comes back.

It goes to the group and port of mDNS, since firewalls have rules for that port. It is a question for a random name
that nobody has, so nobody answers. What comes back shows that this device lets it out and in; not that the network
carries it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from typing import Final

from meshwit.peer.mesh.responder import GROUPS, MDNS_PORT

LISTEN_S: Final = 0.5
TRIES: Final = 3


class _Listening(asyncio.DatagramProtocol):
    """Waits for one datagram."""

    def __init__(self, awaited: bytes) -> None:
        self.heard = asyncio.Event()
        self._awaited = awaited

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data == self._awaited:
            self.heard.set()


async def multicast_fault(host: str) -> str:
    """Why a datagram to all, sent from that IPv4 address, does not come back to it; empty if it does."""
    question = _question()
    try:
        transport, listening = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Listening(question), sock=_listener(host)
        )
    except OSError as error:
        return f"UDP port {MDNS_PORT} cannot be listened at: {error.strerror or error}"
    try:
        for _ in range(TRIES):
            _send(host, question)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTEN_S):
                    await listening.heard.wait()
                    return ""
    except OSError as error:
        return f"it cannot be sent: {error.strerror or error}"
    finally:
        transport.close()
    return "what was sent did not come back: a firewall on this device drops it"


def _send(host: str, question: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sender.sendto(question, (GROUPS[4], MDNS_PORT))


def _listener(host: str) -> socket.socket:
    """A socket that hears the group on that interface, beside others on the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Bound to the group where that is possible: unicast answers to others stay with them.
        listener.bind(("" if os.name == "nt" else GROUPS[4], MDNS_PORT))
        membership = socket.inet_aton(GROUPS[4]) + socket.inet_aton(host)
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _question() -> bytes:
    """A DNS question for the text of a name that is random (RFC 1035, section 4)."""
    label = f"meshwit-{secrets.token_hex(8)}".encode()
    header = bytes(5) + b"\x01" + bytes(6)
    return header + bytes([len(label)]) + label + b"\x05local\x00" + b"\x00\x10\x00\x01"
