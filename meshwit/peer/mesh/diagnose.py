"""Observes what may keep devices from seeing each other, within five seconds, and has it judged.

Works with a running peer and without one. Nothing is changed; what cannot be observed on a system is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import psutil

import meshwit
from meshwit.ids import MeshId
from meshwit.peer.control.api import Finding, MeshView, PeerView
from meshwit.peer.home import default_folder
from meshwit.peer.mesh.address_book import DEFAULT_PORT
from meshwit.peer.mesh.diagnosis import Dialled, Observations, Seen, judge
from meshwit.peer.mesh.discovery import Discovery
from meshwit.peer.mesh.interfaces import look
from meshwit.peer.mesh.multicast_probe import multicast_fault
from meshwit.peer.mesh.sightings import Sighting, mesh_hash
from meshwit.peer.trust.certificates import expelled_in
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.keys import KEY_FILE, DeviceKey
from meshwit.peer.trust.store import read_membership
from meshwit.peer.wire.addresses import Address

BROWSE_S: Final = 1.5
DIAL_LIMIT_S: Final = 2.5
COMMAND_LIMIT_S: Final = 1.0
LIMIT_S: Final = 5.0
_TRIAL_BYTES: Final = 16 * 1024
SEEN_MAX: Final = 16
MAC_FIREWALL: Final = "/usr/libexec/ApplicationFirewall/socketfilterfw"


async def diagnose(home: Path | None, mesh: MeshView | None, peers: Sequence[PeerView] = ()) -> list[Finding]:
    """What keeps this device and others apart, worst first.

    Args:
        home: the folder of the configuration; None for the usual one.
        mesh: as the running peer tells it; None if none runs.
        peers: its members, for their versions and notes.
    """
    return judge(await observe(home, mesh, peers))


async def observe(home: Path | None, mesh: MeshView | None, peers: Sequence[PeerView] = ()) -> Observations:
    """What is to be judged; takes five seconds at most."""
    folder = home or default_folder()
    interfaces = tuple(await asyncio.to_thread(look))
    hosts = [host for each in interfaces if not each.skipped for host in each.hosts if "." in host]
    all_hosts = {host for each in interfaces for host in each.hosts}
    discovery_faults: list[str] = []
    seen: list[Seen] = []
    faults: dict[str, str] = {}
    walls: list[str] = []
    own_port: dict[str, Dialled] = {}
    port = mesh.port if mesh else 0

    async def others() -> None:
        found, fault = await _browse()
        discovery_faults.append(fault)
        seen.extend(await _dial_others(found, {(host, port) for host in all_hosts}))

    async def group() -> None:
        faults.update(zip(hosts, await asyncio.gather(*map(multicast_fault, hosts)), strict=True))

    async def firewalls() -> None:
        walls.extend(await _firewalls())

    async def itself() -> None:
        if port:
            own_port.update({host: each for (host, _), each in (await _dial([(one, port) for one in hosts])).items()})

    # Whatever is late is left out: what is known by then is judged.
    work = [asyncio.ensure_future(each()) for each in (others, group, firewalls, itself)]
    _, late = await asyncio.wait(work, timeout=LIMIT_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    fault, newest, keys = await asyncio.to_thread(_home, folder)
    me = mesh.me if mesh else PeerView()
    others_known = [each for each in peers if not each.me and each.state == "alive"]
    return Observations(
        running=mesh is not None,
        interfaces=interfaces,
        multicast=faults,
        discovery_fault="".join(discovery_faults),
        firewalls=tuple(walls),
        port=port,
        own_port=own_port,
        default_port_fault="" if mesh else await asyncio.to_thread(_default_port_fault),
        own_mesh=mesh_hash(MeshId(mesh.id)) if mesh and mesh.id else "",
        own_mesh_name=mesh.name if mesh else "",
        seen=tuple(seen),
        other_meshes=tuple(mesh.other_meshes) if mesh else (),
        peers_alive=mesh.peers_alive if mesh else 0,
        clock_s=time.time(),
        newest_file_s=newest,
        clock_notes=tuple(f"{each.name}: {each.note}" for each in (me, *others_known) if "clock" in each.note),
        version=me.version or meshwit.__version__,
        versions={each.name: each.version for each in others_known},
        home=str(folder),
        home_fault=fault,
        open_keys=tuple(keys),
        profile_faults=tuple(await asyncio.to_thread(_profile_faults, folder)),
    )


async def _browse() -> tuple[list[Sighting], str]:
    """Who is seen by mDNS, and why nobody could be."""
    discovery = Discovery(lambda _: None)
    try:
        await discovery.start()
        await asyncio.sleep(BROWSE_S)
        return discovery.sightings, discovery.fault
    finally:
        await discovery.close()


async def _dial_others(found: Iterable[Sighting], own: set[Address]) -> list[Seen]:
    """Try the addresses of those that are not this device's own peer."""
    others = [each for each in found if not own & set(each.addresses)][:SEEN_MAX]
    dialled = await _dial([address for each in others for address in each.addresses])
    return [Seen(each, {address: dialled[address] for address in each.addresses}) for each in others]


async def _dial(addresses: Iterable[Address]) -> dict[Address, Dialled]:
    unique = list(dict.fromkeys(addresses))
    return dict(zip(unique, await asyncio.gather(*map(_dial_one, unique)), strict=True))


async def _dial_one(address: Address) -> Dialled:
    """Connect and close: nothing is said, the other side only sees a connection that ends."""
    try:
        async with asyncio.timeout(DIAL_LIMIT_S):
            _, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        return Dialled.SILENT
    except ConnectionRefusedError:
        return Dialled.REFUSED
    except OSError:
        return Dialled.UNREACHABLE
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Dialled.ANSWERED


async def _firewalls() -> list[str]:
    """Firewalls that are on, as far as one can tell without rights."""
    if sys.platform == "win32":
        return ["Windows"] if await asyncio.to_thread(_windows_firewall) else []
    if sys.platform == "darwin":
        return ["macOS"] if "enabled" in await _output(MAC_FIREWALL, "--getglobalstate") else []
    found = []
    with contextlib.suppress(OSError):
        if "ENABLED=yes" in Path("/etc/ufw/ufw.conf").read_text(encoding="utf-8", errors="replace").split():
            found.append("ufw")
    if Path("/run/firewalld").exists():
        found.append("firewalld")
    if not found and (nft := shutil.which("nft")):
        # Only root is told; the hint is worth having then.
        lines = (await _output(nft, "list", "chains")).splitlines()
        if any("hook input" in line and "policy drop" in line for line in lines):
            found.append("nftables")
    return found


def _windows_firewall() -> bool:
    """The service runs; whether it keeps anything out it does not say."""
    try:
        service = psutil.win_service_get("mpssvc")  # type: ignore[attr-defined,unused-ignore]
        return bool(service.status() == "running")
    except (OSError, psutil.Error):
        return False


async def _output(*words: str) -> str:
    """What a command prints; empty if it fails or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except (OSError, NotImplementedError):
        return ""
    try:
        async with asyncio.timeout(COMMAND_LIMIT_S):
            out, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return ""
    return out.decode("utf-8", "replace")


def _home(folder: Path) -> tuple[str, float, list[str]]:
    """Why the folder cannot be written, when anything in it was last written, and keys that others may read."""
    fault = ""
    existing = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    try:
        if existing == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_TRIAL_BYTES))  # on a full disk files can be made, but not be filled
                file.flush()
        elif not os.access(existing, os.W_OK):
            fault = f"{existing} does not let this user make it"
    except OSError as error:
        fault = error.strerror or str(error)
    newest, keys = 0.0, []
    with contextlib.suppress(OSError):
        for path in [each for each in folder.glob("peers/*/*") if each.is_file()]:
            status = path.stat()
            newest = max(newest, status.st_mtime)
            if path.name == KEY_FILE and os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
                keys.append(str(path))
    return fault, newest, keys


def _profile_faults(folder: Path) -> list[tuple[str, str]]:
    """What is the matter with keys and memberships, and what to do; keys that others may read are told apart."""
    faults = []
    for path in sorted(each for each in folder.glob("peers/*") if each.is_dir()):
        try:
            DeviceKey.load(path)
            membership = read_membership(path)
        except TrustError as error:
            if "by other users" not in error.message:
                faults.append((error.message, error.hint))
            continue
        if membership is not None and expelled_in(membership.chain, membership.expelled) is not None:
            what = f"this device was expelled from {membership.mesh_name}"
            faults.append((what, "to join again as a new device: meshwit leave, then meshwit up"))
    return faults


def _default_port_fault() -> str:
    """Why the default port cannot be listened at; empty if it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # Connections that have ended hold the port for a minute; elsewhere this option means to share it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", DEFAULT_PORT))
        except OSError as error:
            return error.strerror or str(error)
    return ""
