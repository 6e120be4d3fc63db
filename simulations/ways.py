"""The ways between hosts: what is reachable, what a packet meets."""

from __future__ import annotations

from collections.abc import Iterable

from simulations.engine import Simulation
from simulations.hosts import LAN, Conditions, Cut, Host


class Ways:
    """All hosts and the ways between them, with their cuts and their chance."""

    def __init__(self, simulation: Simulation, conditions: Conditions = LAN) -> None:
        self.simulation = simulation
        self.conditions = conditions
        self.hosts: list[Host] = []
        self._cuts: list[Cut] = []
        self._paths: dict[tuple[str, str], Conditions] = {}
        self.rng = simulation.rng("network")

    # --- what stands ---------------------------------------------------------------------------------------------

    def add_host(self, name: str, site: str = "") -> Host:
        """One more host, plugged in, with nobody listening."""
        host = Host(name, len(self.hosts), site)
        self.hosts.append(host)
        return host

    def connect_sites(self, one: str, other: str, conditions: Conditions) -> None:
        """Other conditions between two sites (or within one)."""
        self._paths[one, other] = self._paths[other, one] = conditions

    def cut(self, left: Iterable[Host], right: Iterable[Host], one_way: bool = False) -> Cut:
        """Cuts all ways from left to right, and back. Gives what `heal` takes."""
        made = Cut(left, right, one_way)
        self._cuts.append(made)
        self.simulation.note(f"cut {sorted(made.left)} {sorted(made.right)} {one_way}")
        return made

    def heal(self, cut: Cut) -> None:
        """Takes a cut back."""
        self._cuts.remove(cut)
        self.simulation.note("healed")

    def unplug(self, host: Host) -> None:
        """The cable is pulled, or the power fails: nobody is told."""
        self.simulation.note(f"unplugged {host.name}")
        host.plugged = False

    def plug(self, host: Host) -> None:
        """The cable is back."""
        self.simulation.note(f"plugged {host.name}")
        host.plugged = True

    def freeze(self, host: Host, duration_s: float) -> None:
        """The process does nothing for a while, then finds all that came."""
        self.simulation.note(f"frozen {host.name}")
        host.frozen_until = self.simulation.now + duration_s

    def reachable(self, source: Host, target: Host) -> bool:
        """Whether what source sends can get to target's network card."""
        if not (source.plugged and target.plugged):
            return False
        return not any(cut.blocks(source, target) for cut in self._cuts)

    def conditions_between(self, source: Host, target: Host) -> Conditions:
        """How the way is."""
        if not self._paths:
            return self.conditions
        return self._paths.get((source.site, target.site), self.conditions)

    # --- chance --------------------------------------------------------------------------------------------------

    def lost(self, source: Host, target: Host, conditions: Conditions) -> bool:
        """Whether one packet is lost by chance."""
        loss = conditions.loss
        if source.loss or target.loss:
            loss = 1 - (1 - loss) * (1 - source.loss) * (1 - target.loss)
        return loss > 0 and self.rng.random() < loss

    def delay_s(self, source: Host, conditions: Conditions, size: int) -> float:
        """How long a packet of that size takes, its wait for the sender's line included."""
        delay = conditions.delay_s
        if conditions.jitter_s:
            delay += self.rng.expovariate(1.0) * conditions.jitter_s
        if conditions.bytes_per_s:
            now = self.simulation.now
            source.busy_until = max(now, source.busy_until) + size / conditions.bytes_per_s
            delay += source.busy_until - now
        return delay
