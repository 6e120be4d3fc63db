"""Budgets by host: what each may spend, refilled at a rate. Core."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

HOSTS_MAX: Final = 1024
"""Hosts remembered; the one that spent longest ago is forgotten first."""


class Budget:
    """Tokens by host.

    Args:
        per_s: tokens that come back each second.
        burst: tokens that a host has at first, and at most.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._hosts: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def left(self, host: str, now: float) -> float:
        """What a host may spend now."""
        known = self._hosts.get(host)
        return self._burst if known is None else min(self._burst, known[0] + (now - known[1]) * self._per_s)

    def spend(self, host: str, now: float) -> bool:
        """Takes one token; False if there is none."""
        left = self.left(host, now)
        if left < 1:
            return False
        self._hosts[host] = (left - 1, now)
        self._hosts.move_to_end(host)
        if len(self._hosts) > HOSTS_MAX:
            self._hosts.popitem(last=False)
        return True


class Gate:
    """How many connections that have proved nothing are let in at once, in all and by host.

    Args:
        total_max: in all.
        per_host_max: of one host.
        per_host_s: of one host per second in the long run, four times as many at once.
    """

    def __init__(self, total_max: int, per_host_max: int, per_host_s: float) -> None:
        self.total = 0
        self._total_max = total_max
        self._per_host_max = per_host_max
        self._inside: dict[str, int] = {}
        self._budget = Budget(per_host_s, max(1.0, 4 * per_host_s))

    def enter(self, host: str, now: float) -> bool:
        """Whether one more may come in; if so it counts until `leave`."""
        host = host_group(host)
        inside = self._inside.get(host, 0)
        if self.total >= self._total_max or inside >= self._per_host_max or not self._budget.spend(host, now):
            return False
        self.total += 1
        self._inside[host] = inside + 1
        return True

    def leave(self, host: str) -> None:
        """One has proved itself, or is gone."""
        host = host_group(host)
        inside = self._inside.get(host, 0)
        if inside == 0:
            return
        self.total -= 1
        if inside == 1:
            del self._inside[host]
        else:
            self._inside[host] = inside - 1


def host_group(host: str) -> str:
    """What counts as one host: an IPv4 address, or the 64 bits of network of an IPv6 address that is not link-local."""
    if ":" not in host:
        return host
    try:
        ip = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return host if ip.is_link_local else str(ipaddress.IPv6Address(int(ip) >> 64 << 64))
