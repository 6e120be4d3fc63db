"""The doctor names the reason why devices do not see each other, and what to do, for each reason there is."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from meshwit.ids import mesh_id
from meshwit.peer.control.api import Finding, MeshView, PeerView
from meshwit.peer.mesh.diagnose import diagnose, observe
from meshwit.peer.mesh.diagnosis import CLOCK_MIN_S, Dialled, Observations, Seen, judge
from meshwit.peer.mesh.interfaces import VARIABLE, Interface, InterfaceKind
from meshwit.peer.mesh.sightings import Sighting, mesh_hash
from tests.netlab import Netlab, require_netlab

REAL = Interface("eth0", InterfaceKind.REAL, ("192.168.1.7/24", "fd00::7/64"))
VPN = Interface("tun0", InterfaceKind.VPN, ("10.9.0.2/24",), "a VPN: it carries no multicast")
DOCKER = Interface("docker0", InterfaceKind.VIRTUAL, ("172.17.0.1/16",))
LOOPBACK = Interface("lo", InterfaceKind.LOOPBACK, ("127.0.0.1/8",))
OWN = mesh_hash(mesh_id(b"own"))
OTHER = mesh_hash(mesh_id(b"other"))
DEN = ("192.168.1.8", 7723)
WELL = Observations(
    running=True,
    interfaces=(REAL,),
    multicast={"192.168.1.7": ""},
    port=7723,
    own_port={"192.168.1.7": Dialled.ANSWERED},
    own_mesh=OWN,
    own_mesh_name="ada's",
    peers_alive=3,
    clock_s=CLOCK_MIN_S + 1000,
    version="0.1.0",
    home="/home/ada/.config/meshwit",
)


def changed(**fields: object) -> Observations:
    return Observations(**{**{name: getattr(WELL, name) for name in WELL.__struct_fields__}, **fields})


def seen(dialled: Dialled, mesh: str = OWN) -> tuple[Seen, ...]:
    return (Seen(Sighting(mesh, (DEN,), 7723, "0" * 32), {DEN: dialled}),)


def troubles(observed: Observations) -> list[Finding]:
    return [each for each in judge(observed) if each.state != "ok"]


def test_a_device_that_is_well_has_nothing_to_do():
    assert troubles(WELL) == []
    assert [each.what.split(":")[0] for each in judge(WELL)] == [
        *("peer", "configuration", "interfaces", "multicast", "port", "other device", "clock"),
    ]


@pytest.mark.parametrize(
    ("fields", "state", "what", "do"),
    [
        ({"running": False}, "fail", "none runs", "meshwit up"),
        ({"home_fault": "Permission denied"}, "fail", "cannot be written", "MESHWIT_HOME"),
        ({"open_keys": ("/h/key.pem",)}, "fail", "/h/key.pem can be read by other users", "chmod 600 '/h/key.pem'"),
        ({"interfaces": ()}, "fail", "none leads to other devices", "connect"),
        ({"interfaces": (LOOPBACK,)}, "fail", "none leads to other devices", "connect"),
        ({"interfaces": (LOOPBACK, VPN)}, "fail", "none leads to other devices", "--peer HOST"),
        ({"interfaces": (DOCKER,)}, "warn", "only docker0 (172.17.0.1) is in use", VARIABLE),
        (
            {"interfaces": (Interface("eth0", InterfaceKind.REAL, ("10.0.0.1/8",), f"not among {VARIABLE}"),)},
            *("fail", f"none is named as {VARIABLE} says", "correct"),
        ),
        (
            {"interfaces": (Interface("eth0", InterfaceKind.REAL, ("169.254.3.4/16", "fe80::1%eth0/64")),)},
            *("warn", "an address that it gave itself", "router"),
        ),
        ({"multicast": {"192.168.1.7": "dropped"}}, "fail", "multicast: none from 192.168.1.7", "5353"),
        ({"discovery_fault": "port taken"}, "fail", "mDNS did not start", "--peer HOST"),
        ({"own_port": {"192.168.1.7": Dialled.SILENT}}, "fail", "7723 does not answer on 192.168.1.7", "firewall"),
        ({"default_port_fault": "in use"}, "warn", "7723 is taken", "name the port"),
        ({"seen": seen(Dialled.SILENT)}, "fail", "192.168.1.8:7723 is seen, but does not answer", "client isolation"),
        ({"seen": seen(Dialled.UNREACHABLE)}, "fail", "192.168.1.8:7723 is seen, but does not answer", "isolation"),
        ({"seen": seen(Dialled.REFUSED)}, "warn", "nobody listens there", "meshwit up"),
        ({"peers_alive": 1}, "warn", "none is seen by mDNS", "--peer HOST"),
        ({"peers_alive": 1, "seen": seen(Dialled.ANSWERED, OTHER)}, "warn", "another mesh", "meshwit leave"),
        ({"clock_s": 0.0}, "fail", "years behind", "set the clock"),
        ({"newest_file_s": CLOCK_MIN_S + 9000}, "warn", "went back by 133 minutes", "set the clock"),
        ({"clock_notes": ("den: its clock is an hour ahead",)}, "warn", "an hour ahead", "set the clock"),
        ({"versions": {"den": "0.2.0"}}, "warn", "den has 0.2.0", "pip install -U meshwit"),
    ],
)
def test_each_reason_is_named_with_what_to_do(fields, state, what, do):
    (finding,) = [each for each in troubles(changed(**fields)) if what in each.what]
    assert finding.state == state
    assert do in finding.do
    assert finding.why


def test_firewalls_matter_only_while_somebody_is_missing():
    assert troubles(changed(firewalls=("ufw", "firewalld", "Windows", "macOS", "nftables"))) == []
    named = [each for each in troubles(changed(firewalls=("ufw",), peers_alive=1)) if "ufw" in each.what]
    assert "sudo ufw allow 7723" in named[0].do
    assert any(
        "nftables" in each.what for each in troubles(changed(firewalls=("nftables",), seen=seen(Dialled.SILENT)))
    )


def test_other_meshes_patch_versions_ports_and_missing_ipv6_are_no_trouble():
    observed = changed(
        other_meshes=("bob's",),
        seen=seen(Dialled.ANSWERED, OTHER),
        versions={"den": "0.1.7"},
        port=7724,
        interfaces=(Interface("eth0", InterfaceKind.REAL, ("192.168.1.7/24",)),),
    )
    assert troubles(observed) == []
    texts = [each.what for each in judge(observed)]
    for part in ("bob's", "den has 0.1.7", "7724 instead of 7723", "IPv6: there is none"):
        assert any(part in text for text in texts)


def test_what_fails_comes_first():
    states = [each.state for each in judge(changed(home_fault="full", versions={"den": "9.0"}))]
    assert states == sorted(states, key=("fail", "warn", "ok").index)


def test_a_device_without_a_peer_is_examined(tmp_path):
    """The real thing, on whatever device this runs: what it finds there varies, that it ends well does not."""
    findings = asyncio.run(asyncio.wait_for(diagnose(tmp_path / "new", None), 20))
    assert any("none runs" in each.what for each in findings)
    assert not any(each.what.startswith("configuration") for each in findings if each.state != "ok")


def test_the_running_peer_is_dialled_and_the_default_port_looked_at(tmp_path):
    async def main() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            mesh = MeshView(name="ada's", id=mesh_id(b"own"), port=port, peers_alive=2, me=PeerView(version="0.1.0"))
            peers = [PeerView(name="den", version="0.2.0", note="its clock is wrong"), PeerView(me=True)]
            observed = await observe(tmp_path, mesh, peers)
        assert observed.running
        assert observed.own_mesh == OWN
        assert set(observed.own_port.values()) <= {Dialled.ANSWERED}
        assert observed.versions == {"den": "0.2.0"}
        assert observed.clock_notes == ("den: its clock is wrong",)

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_key_that_others_may_read_and_a_time_to_come_are_seen(tmp_path):
    profile = tmp_path / "peers" / "1"
    profile.mkdir(parents=True)
    key = profile / "key.pem"
    key.write_bytes(b"")
    key.chmod(0o644)
    os.utime(key, (4e9, 4e9))
    observed = asyncio.run(asyncio.wait_for(observe(tmp_path, None), 20))
    assert observed.open_keys == (str(key),)
    assert observed.newest_file_s == 4e9


ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3])}
EXAMINE = """
import asyncio, json, sys, msgspec
from pathlib import Path
from meshwit.peer.control.api import MeshView
from meshwit.peer.mesh.diagnose import diagnose
print(msgspec.json.encode(asyncio.run(diagnose(Path(sys.argv[1]), None))).decode())
"""
ANNOUNCE = """
import asyncio, sys
from meshwit.peer.mesh.discovery import Discovery
async def main():
    discovery = Discovery(lambda _: None)
    await discovery.start()
    await discovery.announce("0" * 20, 7723)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 7723)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def test_between_hosts_a_firewall_and_an_isolated_client_are_told_apart(tmp_path):
    """Multicast blocked here; then a device that is seen but lets nobody connect."""
    require_netlab()

    def examine(lab: Netlab) -> list[str]:
        found = json.loads(lab.host(0).run([sys.executable, "-c", EXAMINE, str(tmp_path)], env=ENVIRONMENT))
        return [each["what"] for each in found if each.get("state", "ok") != "ok" and "peer: " not in each["what"]]

    with Netlab(2) as lab:
        lab.block_multicast(0)
        assert "multicast: none from 10.77.0.10" in examine(lab)
        lab.block_multicast(0, blocked=False)
        other = lab.host(1).popen([sys.executable, "-c", ANNOUNCE], env=ENVIRONMENT, stdout=subprocess.PIPE)
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        assert examine(lab) == []
        chain = "table inet closed { chain input { type filter hook input priority 1; tcp dport 7723 drop; }; }"
        lab.host(1).run(["nft", chain])
        assert any("is seen, but does not answer" in each for each in examine(lab))


def test_a_taken_default_port_is_noticed(tmp_path):
    with socket.socket() as other:
        try:
            other.bind(("0.0.0.0", 7723))
            other.listen()
        except OSError:
            pytest.skip("port 7723 is in use on this device")
        observed = asyncio.run(asyncio.wait_for(observe(tmp_path, None), 20))
    assert observed.default_port_fault
