"""Whether anybody alive is declared dead while packets are lost, or while somebody is too slow to judge."""

from __future__ import annotations

from typing import Final

from simulations.gossip_mesh import GossipMesh
from simulations.hosts import Conditions
from simulations.scenario import Figure, Run, Scenario

FREEZES: Final = 10


def play_loss_5(run: Run) -> None:
    """Every twentieth packet is lost."""
    lossy(run, 0.05)


def play_loss_20(run: Run) -> None:
    """Every fifth packet is lost."""
    lossy(run, 0.2)


def lossy(run: Run, loss: float) -> None:
    """Peers that do nothing but live, for `run.duration_s`, at that loss."""
    mesh = GossipMesh(run, Conditions(delay_s=0.001, jitter_s=0.002, loss=loss), steps_per_check=50)
    peers = mesh.gather(run.size)
    run.expect(mesh.all_know(peers, peers), "not all know each other before it begins")
    suspicions, sent, deaths = mesh.watch.false_suspicions, mesh.bytes_out(), len(mesh.watch.false_deaths)
    run.simulation.run(run.simulation.now + run.duration_s)
    hours = run.size * run.duration_s / 3600
    run.sample("false deaths", len(mesh.watch.false_deaths) - deaths)
    run.sample("peer-hours", hours)
    run.sample("suspected per peer-hour", (mesh.watch.false_suspicions - suspicions) / hours)
    run.sample("sent by a peer", (mesh.bytes_out() - sent) / run.duration_s / run.size)
    for time, subject, accuser in mesh.watch.false_deaths:
        run.simulation.note(f"false death {time} {subject} {accuser}")


def play_frozen(run: Run) -> None:
    """One process after another stands still for some seconds: it must not take the others for dead when it wakes."""
    mesh = GossipMesh(run)
    peers = mesh.gather(run.size)
    rng = run.simulation.rng("frozen")
    for _ in range(FREEZES):
        victim = peers[rng.randrange(len(peers))]
        lasting_s = 1.0 + 9.0 * rng.random()
        mesh.watch.disturbed([victim.id], lasting_s)
        mesh.network.freeze(victim.host, lasting_s)
        run.simulation.run(run.simulation.now + lasting_s)
        accused_before = [key for key in mesh.watch.died_at if key[0] == victim.id]
        woke = run.simulation.now
        healed = run.simulation.run_until(lambda: mesh.all_know(peers, peers), woke + 30.0, 0.05)
        run.expect(healed, f"{victim.name} was frozen and is not back")
        run.sample("back after", run.simulation.now - woke)
        run.simulation.run(woke + 40.0)
        accused = [key for key in mesh.watch.died_at if key[0] == victim.id and key not in accused_before]
        run.sample("accused by the frozen", len(accused))
    run.sample("false deaths", len(mesh.watch.false_deaths))


def figures(deaths_max: int) -> tuple[Figure, ...]:
    """What is told of peace under loss."""
    return (
        Figure("false deaths", "sum", "", limit=deaths_max),
        Figure("peer-hours", "sum", "h"),
        Figure("suspected per peer-hour", "mean", ""),
        Figure("sent by a peer", "mean", "B/s"),
    )


LOSS_5: Final = Scenario(
    "loss-5", "nobody alive is declared dead at 5 % loss; --long: in 1,000 peer-hours", play_loss_5, figures(0),
    sizes=(10,), seeds=3, long_seeds=100, duration_s=3600.0,
)  # fmt: skip
LOSS_20: Final = Scenario(
    "loss-20", "at most one false death at 20 % loss; --long: in 1,000 peer-hours", play_loss_20, figures(1),
    sizes=(10,), seeds=3, long_seeds=100, duration_s=3600.0,
)  # fmt: skip
FROZEN: Final = Scenario(
    "frozen",
    "processes that stand still for seconds accuse nobody and are back soon",
    play_frozen,
    (
        Figure("false deaths", "sum", "", limit=0),
        Figure("accused by the frozen", "sum", "", limit=0),
        Figure("back after", "median"),
        Figure("back after", "max", limit=10.0),
    ),
    seeds=4,
    long_seeds=20,
)
