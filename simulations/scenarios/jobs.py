"""Jobs whose leaders die: whether they end, with the right outcome, and what it costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from meshwit.gossip.members import State
from meshwit.ids import PeerId
from meshwit.peer.succession.settings import WAKE_S
from simulations.jobs.faults import CRASHES, FAULTS, LIFE, Faults
from simulations.jobs.mesh import DONE, JobsMesh
from simulations.jobs.scripts import Script, once_script, random_script
from simulations.scenario import Figure, Run, Scenario

FAULTS_UNTIL_S: Final = 10.0
CALM_AT_S: Final = 14.0
TAKES_OVER_S: Final = 20.0
"""After the last fault somebody leads again what anybody led or stood by for, or a person has it resumed. Who is waited
for since a device woke is waited for longer: people are as patient."""
ENDS_S: Final = 90.0
"""After that, and the time that those who are there take for all the work there was, all is over."""
AGREES_S: Final = 5.0
MEETS_S: Final = 40.0
"""After that all that run hold each other for alive, and are linked, whatever has been: who was cut off alone seeks
after pauses that grow."""
TIDY_S: Final = 70.0
"""After that nothing of it is left in anybody's memory, but for what is kept."""
PATIENCE_S: Final = 4.0
"""So long a person waits for what a command does."""


def play_takeover(run: Run) -> None:
    """Some peers, some jobs, and random faults."""
    play(run, sorted(FAULTS), random_script)


def play_once(run: Run) -> None:
    """Tasks that must not run twice, while processes are killed and begin anew: nobody is cut off."""
    play(run, CRASHES, once_script)


def play_people(run: Run) -> None:
    """The same where devices have several versions of the controller, change them, and are suspended."""
    play(run, sorted([*FAULTS, *LIFE, *LIFE, *LIFE]), random_script, skewed=True)


def play(run: Run, kinds: Sequence[str], make: Callable[[random.Random], Script], *, skewed: bool = False) -> None:
    """Faults of these kinds while such jobs run; some devices have `skewed` versions of the controller."""
    mesh = JobsMesh(run)
    simulation = mesh.simulation
    rng = simulation.rng("takeover")
    for _ in range(rng.randrange(3, 7)):
        mesh.add(rng.randrange(1, 4), rng.uniform(0.5, 2.0))
    faults = Faults(mesh)
    faults.prepare()
    if skewed:
        faults.skew()
    for device in mesh.devices:
        mesh.start(device)
    simulation.run(0.5)
    speed = sum(device.speed * device.slots for device in mesh.devices)
    for _ in range(rng.choice((1, 1, 1, 2))):
        script = make(rng)
        script.mean_s = min(1.0, rng.uniform(1.0, 6.0) * speed / script.items)
        submitter = rng.choice([device for device in mesh.devices if device.able])
        simulation.at(rng.uniform(0.5, 2.0), submit, mesh, submitter.id, script)
    faults.plan(rng.randrange(1, 7), FAULTS_UNTIL_S, kinds)
    simulation.run(CALM_AT_S)
    faults.calm()
    for kind in faults.drawn:
        run.sample(kind, 1.0)
    ends(mesh, WAKE_S + TAKES_OVER_S if skewed else TAKES_OVER_S)
    meet(mesh)
    agree(mesh)
    tidy(mesh)


def submit(mesh: JobsMesh, peer: PeerId, script: Script) -> None:
    """A job, if its peer runs."""
    if peer in mesh.running and mesh.device(peer).able:
        mesh.submit(mesh.device(peer), script, standbys=mesh.rng.choice((1, 2, 2, 3)))


def ends(mesh: JobsMesh, patience_s: float = TAKES_OVER_S) -> None:
    """All jobs end, those that nobody leads for so long when a person has them resumed."""
    run, simulation = mesh.run, mesh.simulation
    rng = simulation.rng("people")
    calm_at = simulation.now
    limit = calm_at + ENDS_S + work_s(mesh)
    resumed: dict[str, int] = {}
    next_at: dict[str, float] = {}

    def all_over() -> bool:
        return all(mesh.over(job) is not None or not mesh.holders(job) for job in mesh.jobs)

    while not simulation.run_until(all_over, min(simulation.now + 1.0, limit), 0.1):
        if simulation.now >= limit:
            break
        for job in mesh.jobs:
            if mesh.over(job) is not None or not mesh.holders(job) or simulation.now < next_at.get(job, 0.0):
                continue
            next_at[job] = simulation.now + PATIENCE_S
            held = mesh.held(job)
            if held is not None and resumed.get(job, 0) < 10:
                resumed[job] = resumed.get(job, 0) + 1
                mesh.resume(held.device, job, rng.random() < 0.5)
            elif simulation.now > calm_at + patience_s and not mesh.led(job) and resumed.get(job, 0) < 10:
                holders = [each for each in mesh.holders(job) if each.id in mesh.running and each.able]
                resumed[job] = resumed.get(job, 0) + 1
                if holders:
                    mesh.resume(rng.choice(holders), job)
    for job in mesh.jobs:
        if mesh.holders(job):
            run.expect(mesh.over(job) is not None, f"{job} has not ended: {states(mesh, job)}")


def work_s(mesh: JobsMesh) -> float:
    """What all jobs take on the devices that run and are able."""
    work = sum(script.mean_s * script.items for script in mesh.jobs.values())
    speeds = [peer.device.speed * peer.device.slots for peer in mesh.running.values() if peer.device.able]
    return work / sum(speeds) if speeds else 0.0


def states(mesh: JobsMesh, job: str) -> str:
    """What each peer believes, for people."""
    told = []
    for peer in mesh.running.values():
        known = peer.keeping.core.jobs.get(job)
        if known is not None:
            led = [each.leader for each in peer.leading.jobs if each.id == job]
            told.append(
                f"{peer.device.name} {known.role.value} {known.term.epoch} over {known.over} "
                f"followers {len(known.followers)}{' led here' if led else ''}"
            )
    return "; ".join(told)


def agree(mesh: JobsMesh) -> None:
    """Who knows of a job's end tells the same outcome."""
    simulation = mesh.simulation
    simulation.run(simulation.now + AGREES_S)
    for job in mesh.jobs:
        told = {device.name: mesh.outcome_at(device, job) for device in mesh.devices}
        known = {name: outcome for name, outcome in told.items() if outcome is not None}
        first = next(iter(known.values()), None)
        mesh.run.expect(
            all(outcome == first for outcome in known.values()), f"{job} has several outcomes: {list(known)}"
        )
        for name, outcome in known.items():
            if outcome["state"] is DONE[0]:
                mesh.watch.judge(job, f"{name} when asked", outcome)
    for peer in mesh.running.values():
        peer.check()


def tidy(mesh: JobsMesh) -> None:
    """Nothing is left of what was under way, once all is over."""
    if not all(mesh.over(job) is not None or not mesh.holders(job) for job in mesh.jobs):
        return
    run, simulation = mesh.run, mesh.simulation

    def is_tidy() -> bool:
        return not any(peer.left() for peer in mesh.running.values())

    if not simulation.run_until(is_tidy, simulation.now + TIDY_S, 0.5):
        for peer in mesh.running.values():
            run.expect(not peer.left(), f"{peer.name} still has {peer.left()}")


def meet(mesh: JobsMesh) -> None:
    """All that run are one mesh again."""
    run, simulation = mesh.run, mesh.simulation
    run.expect(
        simulation.run_until(mesh.whole, max(simulation.now, CALM_AT_S + MEETS_S), 0.5),
        f"they are not one mesh: {apart(mesh)}",
    )
    run.expect(
        not mesh.gossip.false_deaths, f"{len(mesh.gossip.false_deaths)} that lived undisturbed were held for dead"
    )


def apart(mesh: JobsMesh) -> str:
    """Who does not hold whom for alive, or is not linked to him, for people."""
    return ", ".join(
        f"{peer.name} to {mesh.device(other).name}: {known.state.name if known is not None else 'unknown'}, "
        f"{'linked' if other in peer.links else 'not linked'}"
        for peer in mesh.running.values()
        for other in mesh.running
        if other != peer.id
        and (
            (known := peer.core.members.get(other)) is None or known.state is not State.ALIVE or other not in peer.links
        )
    )


TAKEOVER: Final = Scenario(
    "takeover",
    "jobs end, and right, whatever happens to peers",
    play_takeover,
    (Figure("crash", "count", ""),),
    seeds=200,
    long_seeds=100_000,
)
TAKEOVER_PEOPLE: Final = Scenario(
    "takeover-people",
    "jobs end, and right, though devices have other versions of what they use, and go to sleep",
    play_people,
    (Figure("upgrade", "count", ""), Figure("suspend", "count", "")),
    seeds=100,
    long_seeds=10_000,
)
TAKEOVER_ONCE: Final = Scenario(
    "takeover-once",
    "tasks that must not run twice begin once, whoever is killed",
    play_once,
    (Figure("crash", "count", ""),),
    seeds=50,
    long_seeds=10_000,
)
