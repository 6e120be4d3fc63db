"""What it costs a long job that peers come and go, its leader among them: time until somebody leads on, and makespan
against what the peers that were there could have done at best."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from meshwit.peer.succession.known import Role
from simulations.jobs.device import Device
from simulations.jobs.mesh import JobsMesh
from simulations.jobs.scripts import Script, plain_grid
from simulations.scenario import Figure, Run, Scenario

SLOTS: Final = 2
TASK_S: Final = 0.25
IDEAL_S: Final = 20.0
LIMIT_S: Final = 300.0
GROWTH: Final = 1.03
"""What a takeover may cost besides seconds."""
CHURN_EACH_S: Final = 10.0
PARTED_S: Final = 60.0


class Long:
    """A mesh of equal peers with one long Grid step, led by one of them.

    Attributes:
        job: its id.
        ideal_s: how long it takes all that are there.
    """

    def __init__(self, run: Run, ideal_s: float, task_s: float = TASK_S) -> None:
        self.mesh = JobsMesh(run)
        self.simulation = run.simulation
        self.rng = run.simulation.rng("costs")
        self.ideal_s = ideal_s
        for _ in range(run.size):
            self.mesh.start(self.mesh.add(SLOTS, 1.0))
        self.simulation.run(0.5 + self.rng.random())
        self.script: Script = plain_grid(round(ideal_s * run.size * SLOTS / task_s))
        self.script.mean_s = task_s
        self.began = self.simulation.now
        self._changes: list[tuple[float, int]] = [(self.began, run.size)]
        self.leader = self.mesh.devices[self.rng.randrange(run.size)]
        self.job = self.mesh.submit(self.leader, self.script)

    def changed(self) -> None:
        """Peers have come or gone."""
        self._changes.append((self.simulation.now, len(self.mesh.running)))

    def kill(self, device: Device) -> None:
        """Its process ends."""
        self.mesh.watch.losses += 1
        self.mesh.kill(device)
        self.changed()

    def holders(self) -> list[Device]:
        """Who would lead it on."""
        return [
            self.mesh.device(peer.id)
            for peer in self.mesh.running.values()
            if self.job in peer.keeping.core.jobs and peer.keeping.core.jobs[self.job].role is not Role.AWARE
        ]

    def led_again(self, since: float) -> float | None:
        """When another leader has let the script run."""
        times = [time for time, _ in self.mesh.watch.at_work_at.get(self.job, []) if time > since]
        return min(times, default=None)

    def end(self, limit_s: float = LIMIT_S) -> None:
        """Let it end, and sample what it took."""
        run, simulation, watch = self.mesh.run, self.simulation, self.mesh.watch
        run.expect(
            simulation.run_until(lambda: self.mesh.over(self.job) is not None, simulation.now + limit_s, 0.05),
            "the job has not ended",
        )
        run.expect(not self.mesh.gossip.false_deaths, "peers that lived undisturbed were held for dead")
        ended = watch.ended_at.get(self.job, simulation.now)
        took, ideal = ended - self.began, self.best_s(ended)
        run.sample("makespan / ideal", took / ideal)
        run.sample("makespan growth", took - GROWTH * ideal)
        run.sample("results that outlived their leader and were computed again", len(watch.again))
        run.sample("tasks run twice", max(0, watch.runs - self.script.items) / self.script.items)

    def best_s(self, ended: float) -> float:
        """What the peers that were there would have taken at best."""
        left = sum(self.mesh.watch.work_of(self.job, self.path, number) for number in range(self.script.items))
        times = [*self._changes, (float("inf"), 0)]
        for (since, count), (until, _) in itertools.pairwise(times):
            if left <= (until - since) * count * SLOTS:
                return since + left / (count * SLOTS) - self.began
            left -= (until - since) * count * SLOTS
        return ended - self.began

    @property
    def path(self) -> tuple[int, ...]:
        """Of its only step."""
        return self.mesh.watch.paths[self.job]


def lose(run: Run, how: Callable[[Long], None]) -> None:
    """The leader goes at any time of the job."""
    long = Long(run, IDEAL_S)
    long.simulation.run(long.began + long.rng.uniform(1.0, 0.8 * IDEAL_S))
    since = long.simulation.now
    how(long)
    again = long.simulation.run_until(lambda: long.led_again(since) is not None, since + 30.0, 0.01)
    run.expect(again, "nobody leads on")
    run.sample("led again", (long.led_again(since) or since + 30.0) - since)
    long.end()


def play_leader_dies(run: Run) -> None:
    """The leader's process is killed."""

    def how(long: Long) -> None:
        long.mesh.watch.strict = True
        long.kill(long.leader)

    lose(run, how)


def play_cable_pulled(run: Run) -> None:
    """The leader's cable is pulled."""

    def how(long: Long) -> None:
        long.mesh.watch.split = True
        long.mesh.unplug(long.leader)
        long.mesh.running.pop(long.leader.id)  # it works on alone, and nobody will hear of it
        long.changed()

    lose(run, how)


def play_half_die(run: Run) -> None:
    """Half of all are killed at once, one of those that have the job not among them; then all but one."""
    for left in (run.size // 2, 1):
        long = Long(run, IDEAL_S / 2)
        long.simulation.run(long.began + long.rng.uniform(1.0, IDEAL_S / 4))
        survivor = long.rng.choice(long.holders())
        others = [device for device in long.mesh.devices if device is not survivor]
        for device in long.rng.sample(others, run.size - left):
            long.kill(device)
        long.end()


def play_churn(run: Run) -> None:
    """One of all comes or goes every ten seconds, while at least half are there."""
    long = Long(run, run.duration_s * 0.8, 2.0)
    mesh, simulation = long.mesh, long.simulation

    def change() -> None:
        device = long.rng.choice(mesh.devices)
        if device.id not in mesh.running:
            mesh.start(device)
            long.changed()
        elif len(mesh.running) > run.size // 2:
            long.kill(device)
        simulation.after(CHURN_EACH_S, change)

    simulation.after(CHURN_EACH_S, change)
    long.end(10 * run.duration_s)


def play_partition(run: Run) -> None:
    """Two halves lose each other for a minute, and find each other again."""
    long = Long(run, run.duration_s, 1.0)
    mesh, simulation = long.mesh, long.simulation
    mesh.watch.split = True
    simulation.run(long.began + 5.0)
    half = run.size // 2
    cut = mesh.cut(mesh.devices[:half], mesh.devices[half:])
    simulation.run(simulation.now + PARTED_S)
    mesh.network.heal(cut)
    healed = simulation.now

    def agreed() -> bool:
        terms = {peer.keeping.core.jobs[long.job].term for peer in mesh.running.values()}
        return len(terms) == 1 and len(mesh.leaders(long.job)) == 1

    run.expect(simulation.run_until(agreed, healed + 30.0, 0.05), "they do not agree who leads")
    run.sample("agreed", simulation.now - healed)
    run.expect(mesh.over(long.job) is None, "the job ended before they met again")
    long.end()
    simulation.run(simulation.now + 5.0)
    told = [mesh.outcome_at(device, long.job) for device in mesh.devices]
    outcomes = [each for each in told if each is not None]
    run.expect(bool(outcomes) and all(each == outcomes[0] for each in outcomes), "there are several outcomes")
    run.sample("ended with how many tasks run twice", mesh.watch.runs / long.script.items - 1)


AGAIN: Final = Figure("results that outlived their leader and were computed again", "sum", "", 0.0)
TWICE: Final = Figure("tasks run twice", "mean", "")
LEADER_DIES: Final = Scenario(
    "leader-dies",
    "a job whose leader is killed is led on",
    play_leader_dies,
    (
        Figure("led again", "median", limit=2.0), Figure("led again", "p99", limit=5.0),
        Figure("makespan growth", "p95", limit=3.0), AGAIN, TWICE,
    ),
    seeds=20,
    long_seeds=500,
)  # fmt: skip
CABLE_PULLED: Final = Scenario(
    "cable-pulled",
    "a job whose leader is cut off is led on",
    play_cable_pulled,
    (Figure("led again", "median", limit=5.0), Figure("led again", "p99"), Figure("makespan growth", "p95"), TWICE),
    seeds=20,
    long_seeds=500,
)
HALF_DIE: Final = Scenario(
    "half-die",
    "a job ends where half of all peers die at once, and where all but one do",
    play_half_die,
    (Figure("makespan / ideal", "median", ""), Figure("makespan / ideal", "max", "", 1.5), TWICE),
    seeds=10,
    long_seeds=300,
)
CHURN_JOBS: Final = Scenario(
    "churn-jobs",
    "a long job while one of sixteen peers comes or goes every ten seconds",
    play_churn,
    (Figure("makespan / ideal", "median", ""), Figure("makespan / ideal", "max", "", 1.10), TWICE),
    sizes=(16,),
    seeds=1,
    duration_s=600.0,
    long_seeds=20,
)
PARTITION_JOBS: Final = Scenario(
    "partition-jobs",
    "two halves that lose each other for a minute come to one set of results",
    play_partition,
    (Figure("agreed", "max", limit=5.0), Figure("makespan / ideal", "max", ""), TWICE),
    seeds=3,
    duration_s=90.0,
    long_seeds=100,
)
JOB_COSTS: Final = (LEADER_DIES, CABLE_PULLED, HALF_DIE, PARTITION_JOBS, CHURN_JOBS)
