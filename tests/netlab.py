"""Several hosts on one machine: network namespaces on one switch, for tests that need real sockets between hosts.

`with Netlab(3) as lab:` makes hosts `lab.host(0)` to `lab.host(2)`, each with an interface `eth0` (10.77.0.10 and up,
fd77::10 and up). The switch is a bridge in a namespace of its own, so nothing of it shows on the machine and the
machine's firewall does not meddle. All names carry the pid of the test's process; what dead ones left is swept.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psutil
import pytest

COMMAND_LIMIT_S: Final = 20
_NAMESPACE: Final = re.compile(r"mw(\d+)-\d+-(?:n\d+|switch)")
_numbers = itertools.count()


class LabError(Exception):
    """A command of the lab failed; says which and how."""


def command(*words: str, text: str | None = None) -> str:
    """Run a command, with `text` as its input; what it printed. Raises LabError."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
    if done.returncode:
        raise LabError(f"`{' '.join(words)}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


@functools.cache
def missing() -> str:
    """Why there can be no lab here; empty if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if absent := [each for each in ("ip", "nft") if shutil.which(each) is None]:
        return f"{' and '.join(absent)} not installed (apt install iproute2 nftables)"
    try:
        with Netlab(1) as lab:
            lab.loss(0, 1)
            lab.split({0})
    except LabError as error:
        return f"network namespaces are not permitted here: {error}"
    return ""


def require_netlab() -> None:
    """Skip the calling test where there can be no lab, with the reason; fail it where `MESHWIT_NETLAB=required`."""
    if reason := missing():
        if os.environ.get("MESHWIT_NETLAB") == "required":
            pytest.fail(reason)
        pytest.skip(reason)


def table(family: str, chains: Iterable[str]) -> str:
    """The table `lab`, whole and in one go, as nft reads it: what it held before is replaced."""
    start = f"table {family} lab {{\n}}\ndelete table {family} lab\n"
    return start + f"table {family} lab {{\n" + "\n".join(chains) + "\n}\n"


class Host:
    """One host of the lab.

    Attributes:
        address, address6: of its `eth0`.
    """

    def __init__(self, lab: str, index: int) -> None:
        self.index = index
        self.name = f"{lab}-n{index}"
        self.address = f"10.77.{(index + 10) // 250}.{(index + 10) % 250}"
        self.address6 = f"fd77::{index + 10}"
        self.processes: list[subprocess.Popen[Any]] = []
        self.loss_percent = 0
        self.udp_blocked = False
        self.udp_spared: tuple[int, ...] = ()
        self.multicast_blocked = False

    def popen(self, args: Sequence[str], env: Mapping[str, str] | None = None, **kw: Any) -> subprocess.Popen[Any]:
        """Start a command on this host; its pid is the command's own. `env` is added to the test's environment."""
        environment = {**os.environ, **(env or {})}
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *args], env=environment, **kw)
        self.processes.append(process)
        return process

    def run(self, args: Sequence[str], **kw: Any) -> str:
        """Run a command on this host to its end; what it printed. Raises LabError."""
        with self.popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw) as process:
            try:
                out, err = process.communicate(timeout=COMMAND_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise LabError(f"`{' '.join(args)}` did not end within {COMMAND_LIMIT_S} s")
        if process.returncode:
            raise LabError(f"`{' '.join(args)}` failed: {err.strip() or process.returncode}")
        return str(out)

    def filter(self) -> str:
        """What this host's own firewall drops, as nft reads it."""
        both: list[str] = []
        if self.multicast_blocked:
            both += ["meta l4proto udp ip daddr 224.0.0.0/4 drop", "meta l4proto udp ip6 daddr ff00::/8 drop"]
        share = f"numgen random mod 100 < {self.loss_percent} " if self.loss_percent < 100 else ""
        lost = [f"{share}drop"] if self.loss_percent else []
        udp: list[str] = []
        if self.udp_blocked:
            # Two `!=` in one rule are merged into one by some versions of nft, which then drops too much.
            udp = [f"udp {side} {port} accept" for port in self.udp_spared for side in ("sport", "dport")]
            udp.append("meta l4proto udp drop")
        chains = []
        for hook, side, rules in (("input", "iifname", both + lost + udp), ("output", "oifname", both + udp)):
            lines = [f"type filter hook {hook} priority 0", f"{side} lo accept", *rules]
            chains.append(f"chain {hook} {{\n" + "\n".join(lines) + "\n}")
        return table("inet", chains)

    def end(self) -> None:
        """End what still runs here: what the test started, and what that started in turn."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        with contextlib.suppress(LabError):
            for pid in command("ip", "netns", "pids", self.name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


class Netlab:
    """A switch and `size` hosts on it, while the context lasts."""

    def __init__(self, size: int) -> None:
        self.name = f"mw{os.getpid()}-{next(_numbers)}"
        self.switch = f"{self.name}-switch"
        self.hosts = [Host(self.name, index) for index in range(size)]

    def __enter__(self) -> Self:
        sweep()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    def host(self, index: int) -> Host:
        """The host with that number, from 0."""
        return self.hosts[index]

    def cut(self, index: int) -> None:
        """Pull the cable of a host: its interface has no carrier."""
        command("ip", "-n", self.switch, "link", "set", f"v{index}", "down")

    def heal(self, index: int) -> None:
        """Plug the cable of a host in again."""
        command("ip", "-n", self.switch, "link", "set", f"v{index}", "up")

    def split(self, some: Iterable[int]) -> None:
        """Hosts in `some` see each other only, and so do the rest. Cables stay plugged in."""
        mine = ", ".join(f'"v{index}"' for index in some)
        lines = [
            "type filter hook forward priority 0",
            f"iifname {{ {mine} }} oifname != {{ {mine} }} drop",
            f"iifname != {{ {mine} }} oifname {{ {mine} }} drop",
        ]
        self._switch_table(["chain forward {\n" + "\n".join(lines) + "\n}"])

    def join(self) -> None:
        """Undo `split`."""
        self._switch_table([])

    def loss(self, index: int, percent: int) -> None:
        """Drop that share of what a host receives; 0 undoes it."""
        self.host(index).loss_percent = percent
        self._filter(index)

    def block_udp(self, index: int, blocked: bool = True, spare: Sequence[int] = ()) -> None:
        """Drop all UDP of a host, but that from or to the ports in `spare`."""
        self.host(index).udp_blocked = blocked
        self.host(index).udp_spared = tuple(spare)
        self._filter(index)

    def block_multicast(self, index: int, blocked: bool = True) -> None:
        """Drop all multicast UDP of a host, both ways."""
        self.host(index).multicast_blocked = blocked
        self._filter(index)

    @staticmethod
    def freeze(pid: int) -> None:
        """Stop a process where it stands, as a device that sleeps does."""
        os.kill(pid, signal.SIGSTOP)

    @staticmethod
    def thaw(pid: int) -> None:
        """Let a frozen process go on."""
        os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End all processes of the lab and remove it. Never raises LabError."""
        for host in self.hosts:
            host.end()
        with contextlib.suppress(LabError):
            existing = set(namespaces())
            remove([each for each in (self.switch, *(host.name for host in self.hosts)) if each in existing])

    def _build(self) -> None:
        command("ip", "netns", "add", self.switch)
        _kernel(self.switch, {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1})
        command("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
        command("ip", "-n", self.switch, "link", "set", "bridge", "up")
        for host in self.hosts:
            port = f"v{host.index}"
            command("ip", "netns", "add", host.name)
            # Addresses are usable at once: nobody else could have them.
            _kernel(host.name, {"ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0})
            command(
                *("ip", "-n", self.switch, "link", "add", port),
                *("type", "veth", "peer", "name", "eth0", "netns", host.name),
            )
            command("ip", "-n", self.switch, "link", "set", port, "master", "bridge", "up")
            lines = [
                "link set lo up",
                "link set eth0 up",
                f"addr add {host.address}/16 brd + dev eth0",
                "route add default dev eth0",
                f"addr add {host.address6}/64 dev eth0 nodad",
            ]
            # A kernel without IPv6 fails on the last line only.
            with contextlib.suppress(LabError):
                command("ip", "-n", host.name, "-batch", "-", text="\n".join(lines))
            if host.address not in command("ip", "-n", host.name, "addr", "show", "eth0"):
                raise LabError(f"{host.name} has no address")

    def _switch_table(self, chains: Sequence[str]) -> None:
        command("ip", "netns", "exec", self.switch, "nft", "-f", "-", text=table("bridge", chains))

    def _filter(self, index: int) -> None:
        host = self.host(index)
        command("ip", "netns", "exec", host.name, "nft", "-f", "-", text=host.filter())


def namespaces() -> list[str]:
    """The namespaces of labs of any process, those of dead ones too."""
    return [line.split()[0] for line in command("ip", "netns", "list").splitlines() if _NAMESPACE.match(line)]


def remove(names: Sequence[str]) -> None:
    """Remove namespaces: cables first, a namespace that lingers keeps them otherwise."""
    for name in names:
        if name.endswith("-switch"):
            links = [line.split(":")[1].split("@")[0].strip() for line in _links(name)]
            for link in links:
                if link.startswith("v") or link == "bridge":
                    with contextlib.suppress(LabError):
                        command("ip", "-n", name, "link", "del", link)
    for name in names:
        with contextlib.suppress(LabError):
            command("ip", "netns", "del", name)


def sweep() -> None:
    """Remove what labs of dead processes left behind."""
    with contextlib.suppress(LabError):
        dead = [each for each in namespaces() if not psutil.pid_exists(int(each[2:].split("-")[0]))]
        remove(dead)


def _links(namespace: str) -> list[str]:
    with contextlib.suppress(LabError):
        return command("ip", "-n", namespace, "-o", "link", "show").splitlines()
    return []


def _kernel(namespace: str, settings: Mapping[str, int]) -> None:
    """Set what the kernel lets be set in a namespace; what it does not know is left."""
    lines = [
        f"[ ! -w /proc/sys/net/{path} ] || echo {value} > /proc/sys/net/{path}" for path, value in settings.items()
    ]
    if Path("/proc/sys/net").is_dir():
        command("ip", "netns", "exec", namespace, "sh", "-c", "\n".join(lines))
