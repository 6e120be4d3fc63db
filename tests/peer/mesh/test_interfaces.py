"""Interfaces are chosen by what they are: real ones found, virtual ones left out with the reason, names overrule."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import pytest

from meshwit.peer.mesh.interfaces import (
    VARIABLE,
    Interface,
    InterfaceKind,
    forced,
    kind_of,
    look,
    networks,
    survey,
    told_addresses,
    usable,
)


class Address(NamedTuple):
    address: str
    netmask: str | None = None


class Stats(NamedTuple):
    isup: bool = True


LAN = [Address("192.168.1.7", "255.255.255.0"), Address("fe80::7%eth0", "ffff:ffff:ffff:ffff::")]
LOOPBACK = [Address("127.0.0.1", "255.0.0.0"), Address("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
HARDWARE = Address("02:fc:00:00:00:01")


def names(addresses: dict[str, list[Address]], down: tuple[str, ...] = (), wanted: tuple[str, ...] = ()) -> list[str]:
    return [each.name for each in usable(addresses, {name: Stats(name not in down) for name in addresses}, wanted)]


def reasons(addresses: dict[str, list[Address]], down: tuple[str, ...] = ()) -> dict[str, str]:
    return {
        each.name: each.skipped for each in survey(addresses, {name: Stats(name not in down) for name in addresses})
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (each, InterfaceKind.REAL)
            for each in ("eth0", "enp3s0", "enx00e04c680001", "wlan0", "wlp2s0", "en0", "bridge0", "br0")
        ),
        *(
            (each, InterfaceKind.REAL)
            for each in ("br-lan", "bond0", "eth0.20", "p2p1", "Ethernet", "Wi-Fi", "WLAN", "Ethernet 2")
        ),
        *(
            (each, InterfaceKind.VIRTUAL)
            for each in ("docker0", "br-0123456789ab", "veth12ab", "virbr0", "vmnet8", "vboxnet0")
        ),
        *(
            (each, InterfaceKind.VIRTUAL)
            for each in ("vEthernet (WSL)", "vEthernet (Default Switch)", "bridge100", "lxdbr0")
        ),
        *(
            (each, InterfaceKind.VIRTUAL)
            for each in ("VMware Network Adapter VMnet1", "VirtualBox Host-Only Network", "cni0")
        ),
        *(
            (each, InterfaceKind.VPN)
            for each in ("tun0", "utun4", "wg0", "tailscale0", "Tailscale", "ppp0", "ProtonVPN", "ztabc123")
        ),
        *((each, InterfaceKind.LOOPBACK) for each in ("lo", "lo0", "Loopback Pseudo-Interface 1")),
        *((each, InterfaceKind.BLUETOOTH) for each in ("bnep0", "Bluetooth Network Connection")),
        *(
            (each, InterfaceKind.SPECIAL)
            for each in ("awdl0", "llw0", "ifb0", "Local Area Connection* 2", "p2p-wlan0-0")
        ),
        ("vEthernet (External)", InterfaceKind.SWITCH),
    ],
)
def test_a_name_tells_what_an_interface_is(name, kind):
    assert kind_of(name) is kind


def test_real_interfaces_are_used_and_every_other_has_a_reason():
    addresses = {
        "lo": LOOPBACK,
        "eth0": [*LAN, HARDWARE],
        "wlan0": [HARDWARE],
        "eth1": LAN,
        "docker0": [Address("172.17.0.1", "255.255.0.0")],
        "wg0": [Address("10.9.0.2", "255.255.255.0")],
    }
    assert names(addresses, down=("eth1",)) == ["eth0"]
    assert reasons(addresses, down=("eth1",)) == {
        "lo": "loopback: it leads nowhere else",
        "eth0": "",
        "wlan0": "has no address",
        "eth1": "down, or no cable",
        "docker0": "a virtual network of this device",
        "wg0": "a VPN: it carries no multicast",
    }


def test_a_switch_that_took_the_address_of_the_real_adapter_is_used_in_its_place():
    addresses = {
        "Ethernet": [HARDWARE],
        "vEthernet (External)": LAN,
        "vEthernet (WSL)": [Address("172.20.0.1", "255.255.240.0")],
    }
    assert names(addresses) == ["vEthernet (External)"]


def test_with_nothing_else_peers_of_one_device_meet_over_loopback_but_never_over_a_vpn():
    assert names({"lo": LOOPBACK, "tun0": [Address("10.9.0.2", "255.255.255.0")]}) == ["lo"]
    assert names({"tun0": [Address("10.9.0.2", "255.255.255.0")]}) == []


def test_names_and_addresses_overrule_what_was_chosen():
    addresses = {"eth0": LAN, "docker0": [Address("172.17.0.1", "255.255.0.0")], "lo": LOOPBACK}
    assert names(addresses, wanted=("DOCKER0",)) == ["docker0"]
    assert names(addresses, wanted=("127.0.0.1", "eth0")) == ["eth0", "lo"]
    assert names(addresses, wanted=("eth7",)) == []
    assert names(addresses, down=("eth0",), wanted=("eth0",)) == []


def test_the_variable_names_them(monkeypatch):
    monkeypatch.setenv(VARIABLE, " eth0, ,wlan0")
    assert forced() == ["eth0", "wlan0"]
    monkeypatch.setenv(VARIABLE, "none-of-that-name")
    assert all(each.skipped for each in look())


def test_addresses_have_an_order_and_their_prefixes():
    found = [
        Address("fe80::7%eth0", "ffff:ffff:ffff:ffff::"),
        Address("fd00::7"),
        Address("169.254.3.4", "255.255.0.0"),
        Address("192.168.1.7", "255.255.254.0"),
        Address("0.0.0.0", "0.0.0.0"),
        HARDWARE,
    ]
    (interface,) = usable({"eth0": found}, {})
    assert interface.addresses == ("192.168.1.7/23", "fd00::7/64", "169.254.3.4/16", "fe80::7%eth0/64")
    assert interface.hosts[3] == "fe80::7%eth0"


def test_others_are_told_real_addresses_then_those_of_vpns_and_never_link_local_ipv6():
    interfaces = [
        Interface("tun0", InterfaceKind.VPN, ("10.9.0.2/24",), "a VPN"),
        Interface("docker0", InterfaceKind.VIRTUAL, ("172.17.0.1/16",), "virtual"),
        Interface("eth0", InterfaceKind.REAL, ("192.168.1.7/24", "fd00::7/64", "fe80::7%eth0/64")),
    ]
    assert told_addresses(interfaces) == ["192.168.1.7", "fd00::7", "10.9.0.2"]


def test_the_networks_of_a_device_are_told_without_link_local_ones():
    interfaces = [
        Interface("eth0", InterfaceKind.REAL, ("192.168.1.7/24", "fd00::7/64", "fe80::7%eth0/64", "fe80::8/64"))
    ]
    assert networks(interfaces) == [ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00::/64")]


def test_this_device_is_looked_at_without_failing():
    assert {each.name for each in look()} != set()
