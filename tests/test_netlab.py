"""The lab of network namespaces does what tests rely on: hosts reach each other, cables are cut, networks split."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.netlab import Netlab, command, namespaces, require_netlab, sweep

ECHO = """
import socket, struct, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("", 5000))
group = socket.inet_aton("239.7.7.7") + socket.inet_aton(sys.argv[1])
listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
print("ready", flush=True)
while True:
    data, sender = listener.recvfrom(100)
    listener.sendto(data, sender)
"""
ASK = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
asker = socket.socket(family, socket.SOCK_DGRAM)
asker.settimeout(0.3)
answered = 0
for number in range(int(sys.argv[2])):
    try:
        asker.sendto(b"%d" % number, (sys.argv[1], 5000))
        answered = asker.recvfrom(100)[0][:1].isdigit()
        break
    except OSError:
        time.sleep(0.1)
print(int(answered))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Netlab]:
    """Three hosts; the first answers what comes to its port 5000, to a multicast group too."""
    require_netlab()
    with Netlab(3) as made:
        first = made.host(0)
        echo = first.popen([sys.executable, "-c", ECHO, first.address], stdout=subprocess.PIPE, text=True)
        assert echo.stdout is not None
        assert echo.stdout.readline() == "ready\n"
        yield made


def reaches(lab: Netlab, index: int, address: str = "") -> bool:
    """Whether host `index` gets an answer from the first host; patient, since hosts first look for each other."""
    return lab.host(index).run([sys.executable, "-c", ASK, address or lab.host(0).address, "30"]) == "1\n"


def misses(lab: Netlab, index: int, address: str = "") -> bool:
    """Whether host `index` gets no answer from the first host."""
    return lab.host(index).run([sys.executable, "-c", ASK, address or lab.host(0).address, "3"]) == "0\n"


def test_hosts_reach_each_other(lab):
    assert reaches(lab, 1)


def test_multicast_reaches_every_host(lab):
    assert reaches(lab, 1, "239.7.7.7")
    assert reaches(lab, 2, "239.7.7.7")


def test_a_cut_cable_carries_nothing_until_it_is_plugged_in_again(lab):
    lab.cut(1)
    assert misses(lab, 1)
    lab.heal(1)
    assert reaches(lab, 1)


def test_a_split_parts_the_hosts_until_they_are_joined(lab):
    lab.split({0, 1})
    assert reaches(lab, 1)
    assert misses(lab, 2)
    lab.split({0})
    assert misses(lab, 1)
    lab.join()
    assert reaches(lab, 1)
    assert reaches(lab, 2)


def test_what_is_lost_is_lost(lab):
    lab.loss(1, 100)
    assert misses(lab, 1)
    lab.loss(1, 50)
    assert reaches(lab, 1)
    lab.loss(1, 0)
    assert reaches(lab, 1)


def test_blocked_udp_spares_the_ports_named(lab):
    lab.block_udp(1)
    assert misses(lab, 1)
    lab.block_udp(1, spare=[5000])
    assert reaches(lab, 1)
    lab.block_udp(1, blocked=False)
    assert reaches(lab, 1)


def test_blocked_multicast_leaves_the_rest(lab):
    lab.block_multicast(1)
    assert misses(lab, 1, "239.7.7.7")
    assert reaches(lab, 1)
    lab.block_multicast(1, blocked=False)
    assert reaches(lab, 1, "239.7.7.7")


def test_a_frozen_process_goes_on_when_it_is_thawed(lab):
    process = lab.host(2).popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lab.freeze(process.pid)
    stopped = psutil.Process(process.pid)
    for _ in range(200):
        if stopped.status() == psutil.STATUS_STOPPED:
            break
        time.sleep(0.01)
    assert stopped.status() == psutil.STATUS_STOPPED
    lab.thaw(process.pid)
    process.communicate(b"\n", timeout=20)
    assert process.returncode == 0


def test_nothing_stays_behind_after_a_failure():
    require_netlab()
    lab = Netlab(2)
    sleepers = []

    def fail() -> None:
        with lab:
            sleepers.append(lab.host(0).popen([sys.executable, "-c", "import time; time.sleep(600)"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sleepers[0].poll() is not None
    assert [each for each in namespaces() if each.startswith(f"{lab.name}-")] == []


def test_what_a_dead_process_left_is_swept():
    require_netlab()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = f"mw{ended.pid}-0-n0"
    command("ip", "netns", "add", left)
    sweep()
    assert left not in namespaces()
