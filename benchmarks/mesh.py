"""What a mesh takes and costs, between hosts: `python -m benchmarks.mesh [--quick] [--long]`. Linux, root.

Each host is a network namespace with a peer of its own (`benchmarks.mesh_peer`; the idle ones are `meshwit up`). All
share one clock, so times are from what was done to what a peer told, to the millisecond. All hosts share this machine
too: a dozen peers that start together wait for its cores, and so the seconds of processor time of one start stand
beside. Devices count as fresh, but those that start in crowds have been measured before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ratio import Verdict, at_most, tell
from tests.mesh.devices import Device
from tests.netlab import Host, Netlab, command, missing

PATIENCE_S = 60.0
NOT_THERE = frozenset({"died", "left"})
THERE = frozenset({"joined", "recovered"})


class Peer(Device):
    """A device whose peer tells what happens."""

    def __init__(self, host: Host, folder: Path, name: str, *, fresh: bool = False) -> None:
        self._fresh = fresh
        super().__init__(host, folder, name)
        self.id = ""
        self.events: list[dict[str, Any]] = []
        self.started_at = 0.0
        self.ready_at = 0.0
        self._reader: threading.Thread | None = None

    def remember_scores(self) -> None:
        if not self._fresh:
            super().remember_scores()

    def start(self, *options: str) -> None:
        self.events = []
        self.started_at = time.time()
        with self.log.open("ab") as log:
            self.peer = self.host.popen(
                [sys.executable, "-m", "benchmarks.mesh_peer", self.name, *options], env=self.environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self.peer, self.events), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str], events: list[dict[str, Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["kind"] == "ready":
                self.id, self.ready_at = event["peer"], float(event["time"])
            events.append(event)

    def order(self, *words: str) -> None:
        assert self.peer is not None and self.peer.stdin is not None
        self.peer.stdin.write(" ".join(words) + "\n")
        self.peer.stdin.flush()

    def at(self, kinds: frozenset[str], peer: str, since: float) -> float | None:
        """When it first told that of a peer, after some time."""
        for event in list(self.events):
            if event["kind"] in kinds and event["peer"] == peer and event["time"] >= since:
                return float(event["time"])
        return None

    def alive_since(self, peer: str) -> float | None:
        """Since when it has held a peer for alive without a break; None if it does not."""
        since: float | None = None
        for event in list(self.events):
            if event["peer"] != peer:
                continue
            if event["kind"] in THERE and since is None:
                since = float(event["time"])
            elif event["kind"] in NOT_THERE or event["kind"] == "suspected":
                since = None
        return since

    @property
    def processor_s(self) -> float:
        assert self.peer is not None
        times = psutil.Process(self.peer.pid).cpu_times()
        return float(times.user + times.system)


def wait_for(done: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    limit = time.monotonic() + patience_s
    while not (found := done()):
        if time.monotonic() > limit:
            raise TimeoutError(f"it never came to this: {what}")
        time.sleep(0.02)
    return found


@contextmanager
def peers(count: int, *, fresh: bool = False) -> Iterator[tuple[Netlab, list[Peer]]]:
    with tempfile.TemporaryDirectory() as folder, Netlab(count) as lab:
        made = [Peer(lab.host(index), Path(folder) / f"d{index}", f"d{index}", fresh=fresh) for index in range(count)]
        try:
            yield lab, made
        except TimeoutError:
            for each in made:
                print(f"--- {each.name} ---\n{each.said()}", *each.events[-30:], sep="\n", file=sys.stderr)
            raise
        finally:
            for each in made:
                if each.peer is not None and each.peer.poll() is None:
                    each.peer.terminate()
            for each in made:
                each.stop()


def all_know_all(made: Sequence[Peer]) -> float | None:
    """Since when each has held each other for alive; None if they do not."""
    since = [
        each.alive_since(other.id) if each.id and other.id else None for each in made for other in made
        if each is not other
    ]  # fmt: skip
    known = [one for one in since if one is not None]
    return max(known) if len(known) == len(since) else None


def note(text: str) -> None:
    print(f"  {text}  [load {os.getloadavg()[0]:.1f}]", flush=True)


def spread(times_s: Sequence[float]) -> str:
    ordered = sorted(times_s)
    return f"median {statistics.median(ordered):.3f} s, {ordered[0]:.3f} to {ordered[-1]:.3f} s, {len(ordered)} times"


# --- coming together -------------------------------------------------------------------------------------------------


def second_device(options: argparse.Namespace) -> list[Verdict]:
    """A fresh device, from the start of its process to both knowing each other."""
    print("second fresh device, from the start of its process to both knowing each other")
    verdicts = []
    for way in ("--open", "--invite"):
        times = []
        for _ in range(1 if options.quick else 5):
            with peers(2, fresh=True) as (_, made):
                made[0].start(*(["--open"] if way == "--open" else []))
                wait_for(lambda made=made: made[0].id, "the first is up")  # type: ignore[misc]
                token = [made[0].tell("invite", "--token").strip()] if way == "--invite" else []
                time.sleep(3)  # it measures itself at first
                made[1].start(way, *token)
                times.append(_until_all_know_all(made) - made[1].started_at)
        note(f"{way}: {spread(times)}")
        verdicts.append(at_most(f"second fresh device, {way}, median", 5, statistics.median(times), "s"))
    return verdicts


def ten_devices(options: argparse.Namespace) -> list[Verdict]:
    """Ten devices that start together found one mesh; again with half a second between the starts."""
    print("ten devices, from the last start to all knowing all")
    verdicts = []
    for between_s, what in ((0.0, "started at once"), (0.5, "started 0.5 s apart")):
        times, after_ready, processor = [], [], []
        for _ in range(1 if options.quick else 3):
            with peers(10) as (_, made):
                for each in made:
                    each.start("--open")
                    time.sleep(between_s)
                known_at = _until_all_know_all(made)
                times.append(known_at - made[-1].started_at)
                after_ready.append(known_at - max(each.ready_at for each in made))
                processor.append(statistics.median(each.processor_s for each in made))
        note(f"{what}: {spread(times)}")
        note(f"  of it after the last was ready: {spread(after_ready)}")
        note(f"  processor time that each had used: median {statistics.median(processor):.2f} s")
        verdicts.append(at_most(f"ten devices {what}, median", 5, statistics.median(times), "s"))
    return verdicts


# --- losing each other -----------------------------------------------------------------------------------------------


def eight_devices(options: argparse.Namespace) -> list[Verdict]:
    """One mesh of eight, in which processes are killed, cables pulled, networks split, and one is expelled."""
    with peers(8) as (lab, made):
        made[0].start("--open")
        wait_for(lambda: made[0].id, "the first is up")
        for each in made[1:]:
            each.start("--open")
            time.sleep(0.3)
        _until_all_know_all(made)
        time.sleep(5)
        return [
            *_kills(made, 3 if options.quick else 12),
            *_pulled_cables(lab, made, 3 if options.quick else 16),
            *(_partition(lab, made, each) for each in _partitions(options)),
            _expulsion(made),
        ]


def _partitions(options: argparse.Namespace) -> list[float]:
    if options.quick:
        return [10.0]
    return [60.0, 300.0] if options.long else [60.0]


def _kills(made: list[Peer], count: int) -> list[Verdict]:
    last, each_one = [], []
    for number in range(count):
        victim = made[number % len(made)]
        killed_at = time.time()
        victim.kill()
        heard = _until_all_told(made, victim, killed_at)
        last.append(max(heard) - killed_at)
        each_one += [one - killed_at for one in heard]
        victim.start("--open")
        _until_all_know_all(made)
        time.sleep(2)
    print("killed process, mesh of 8, until the others know")
    note(f"each: {spread(each_one)}")
    note(f"all: {spread(last)}")
    return [at_most("killed process known dead by all, worst", 0.5, max(last), "s")]


def _pulled_cables(lab: Netlab, made: list[Peer], count: int) -> list[Verdict]:
    last, each_one, back = [], [], []
    for number in range(count):
        victim = made[number % len(made)]
        pulled_at = time.time()
        lab.cut(number % len(made))
        heard = _until_all_told(made, victim, pulled_at)
        last.append(max(heard) - pulled_at)
        each_one += [one - pulled_at for one in heard]
        time.sleep(2)
        healed_at = time.time()
        lab.heal(number % len(made))
        back.append(_until_all_know_all(made) - healed_at)
        time.sleep(2)
    print("pulled cable, mesh of 8, until the others know")
    note(f"each: {spread(each_one)}")
    note(f"all: {spread(last)}")
    note(f"plugged in again, until all know all: {spread(back)}")
    p99 = sorted(each_one)[max(0, round(len(each_one) * 0.99) - 1)]
    return [
        at_most("pulled cable known by all others, median", 2, statistics.median(last), "s"),
        at_most("pulled cable known by each other, p99", 5, p99, "s"),
        at_most("pulled cable known by all others, worst", 5, max(last), "s"),
    ]


def _partition(lab: Netlab, made: list[Peer], lasts_s: float) -> Verdict:
    lab.split(range(4))
    time.sleep(lasts_s)
    halves = [all_know_all(half) is not None for half in (made[:4], made[4:])]
    healed_at = time.time()
    lab.join()
    took = _until_all_know_all(made) - healed_at
    print(f"partition 4 + 4 of {lasts_s:g} s; each half was whole: {all(halves)}")
    note(f"healed after {took:.3f} s")
    time.sleep(2)
    return at_most(f"partition of {lasts_s:g} s heals", 10, took, "s")


def _expulsion(made: list[Peer]) -> Verdict:
    *others, victim = made
    for each in others:
        each.order("refuses", victim.id)
    time.sleep(0.5)
    since = time.time()
    others[0].order("expel", victim.name)
    heard = [
        wait_for(lambda each=each: each.at(frozenset({"refuses"}), victim.id, since), "it refuses") for each in others
    ]
    print("expelled peer, mesh of 8")
    note(f"refused by all after {max(heard) - since:.3f} s")
    return at_most("expelled peer refused by all", 5, max(heard) - since, "s")


def _until_all_know_all(made: Sequence[Peer]) -> float:
    return float(wait_for(lambda: all_know_all(made), "all know all"))


def _until_all_told(made: Sequence[Peer], gone: Peer, since: float) -> list[float]:
    return [
        wait_for(lambda each=each: each.at(NOT_THERE, gone.id, since), f"{each.name} knows that {gone.name} is gone")
        for each in made
        if each is not gone
    ]


# --- being there -----------------------------------------------------------------------------------------------------


def idle_mesh(options: argparse.Namespace) -> list[Verdict]:
    """Ten peers that do nothing, as `meshwit up --background` has them."""
    settle_s, measure_s = (10.0, 20.0) if options.quick else (20.0, 60.0)
    with peers(10) as (_, made):
        made[0].up("--open", "--log")
        wait_for(lambda: made[0].alive(), "the first is up")
        for each in made[1:]:
            each.up("--open", "--log")
            time.sleep(0.5)
        for each in made:
            wait_for(lambda each=each: len(each.alive()) == len(made), f"{each.name} knows all")  # type: ignore[misc]
        print(
            f"idle mesh of ten, over {measure_s:g} s; pids {' '.join(str(each.peer.pid) for each in made if each.peer)}"
        )
        time.sleep(settle_s)
        before = [(each.processor_s, *_wire(each)) for each in made]
        started = time.monotonic()
        time.sleep(measure_s)
        took = time.monotonic() - started
        after = [(each.processor_s, *_wire(each)) for each in made]
        processes = [psutil.Process(each.peer.pid) for each in made if each.peer is not None]
        resident = [each.memory_info().rss / 1e6 for each in processes]
        own = [each.memory_full_info().uss / 1e6 for each in processes]
        time.sleep(options.linger)
    rates = [[(b - a) / took for a, b in zip(*one, strict=True)] for one in zip(before, after, strict=True)]
    shares = [100 * one[0] for one in rates]
    received, sent, packets = ([one[index] for one in rates] for index in (1, 2, 3))
    both = [a + b for a, b in zip(received, sent, strict=True)]
    for what, values, unit in (
        ("processor, of one core", shares, "%"), ("resident", resident, "MB"), ("of it nobody else's", own, "MB"),
        ("on the wire, both ways", both, "B/s"), ("received", received, "B/s"), ("sent", sent, "B/s"),
        ("packets, both ways", packets, "/s"),
    ):  # fmt: skip
        note(f"{what}: mean {statistics.mean(values):.3g} {unit}, at most {max(values):.3g}")
    return [
        at_most("idle peer of ten, of one core, mean", 1, statistics.mean(shares), "%"),
        at_most("idle peer of ten, resident, mean", 80, statistics.mean(resident), "MB"),
        at_most("idle peer of ten, on the wire, both ways", 2, statistics.mean(both) / 1e3, "KB/s"),
    ]


def _wire(peer: Peer) -> tuple[int, int, int]:
    """Bytes received and sent by a host with all headers, and packets."""
    stats = json.loads(command("ip", "-n", peer.host.name, "-s", "-j", "link", "show", "dev", "eth0"))[0]["stats64"]
    came, went = stats["rx"], stats["tx"]
    return came["bytes"], went["bytes"], came["packets"] + went["packets"]


BENCHMARKS = {
    "second": second_device,
    "ten": ten_devices,
    "eight": eight_devices,
    "idle": idle_mesh,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="|".join(BENCHMARKS), help="these; all by default")
    parser.add_argument("--quick", action="store_true", help="few times, short")
    parser.add_argument("--long", action="store_true", help="a partition of five minutes too")
    parser.add_argument("--linger", type=float, default=0.0, help="seconds to leave the idle mesh, to look at it")
    parser.add_argument("--json", type=Path, help="write the verdicts here")
    options = parser.parse_args()
    if unknown := set(options.only) - set(BENCHMARKS):
        parser.error(f"there is no {' nor '.join(sorted(unknown))}")
    if reason := missing():
        sys.exit(f"no hosts can be made here: {reason}")
    verdicts = [verdict for name in options.only or BENCHMARKS for verdict in BENCHMARKS[name](options)]
    print()
    tell(verdicts)
    if options.json is not None:
        options.json.write_text(json.dumps(verdicts, indent=1))
    sys.exit(any(one["ratio"] < 1 for one in verdicts))


if __name__ == "__main__":
    main()
