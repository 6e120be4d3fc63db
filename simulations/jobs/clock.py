"""The clock of a simulated process and what it has planned: it leaps when the device slept, and stands while frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulations.engine import Simulation
from simulations.hosts import Host

RESOLUTION_S: Final = 1e-6
"""So much later something wakes up, so that its time has come whatever was rounded."""


class Alarm:
    """Wakes somebody at a time that may be moved; `due` by the process's clock, None for never."""

    __slots__ = ("_action", "_clock", "_planned", "due")

    def __init__(self, clock: Clock, action: Callable[[float], None]) -> None:
        self.due: float | None = None
        self._clock = clock
        self._action = action
        self._planned = float("inf")

    def set(self, due: float | None) -> None:
        """Wake at another time. The action is told how late it is."""
        self.due = due
        if due is not None and due < self._planned:
            self._plan(due)

    def leapt(self) -> None:
        """The clock did."""
        self._planned = float("inf")
        if self.due is not None:
            self._plan(self.due)

    def _plan(self, due: float) -> None:
        self._planned = due
        simulation = self._clock.simulation
        simulation.at(max(simulation.now, due - self._clock.offset) + RESOLUTION_S, self._wake, due)

    def _wake(self, planned: float) -> None:
        if planned != self._planned or not self._clock.lives:
            return
        host, simulation = self._clock.host, self._clock.simulation
        if host.frozen_until > simulation.now:
            simulation.at(host.frozen_until, self._wake, planned)
            return
        self._planned = float("inf")
        now = self._clock.now
        if self.due is None:
            return
        if self.due > now:
            self._plan(self.due)
            return
        late, self.due = now - self.due, None
        self._action(late)


class Clock:
    """See the module.

    Attributes:
        offset: of this clock, to virtual time.
        suspended_s: in so many seconds it stood still, since the device was suspended.
        lives: the process does.
    """

    def __init__(self, simulation: Simulation, host: Host, offset: float, suspended_s: float = 0.0) -> None:
        self.simulation = simulation
        self.host = host
        self.offset = offset
        self.suspended_s = suspended_s
        self.lives = True
        self._alarms: list[Alarm] = []

    @property
    def now(self) -> float:
        """By this clock."""
        return self.simulation.now + self.offset

    @property
    def wall(self) -> float:
        """By the clock on the wall of the device, which goes on while it is suspended."""
        return self.now + self.suspended_s

    def suspend(self, seconds: float) -> None:
        """So long it stands still, while nothing runs."""
        self.suspended_s += seconds
        self.leap(-seconds)

    def leap(self, seconds: float) -> None:
        """So much later it is all at once."""
        self.offset += seconds
        for alarm in self._alarms:
            alarm.leapt()

    def alarm(self, action: Callable[[float], None]) -> Alarm:
        """A new one."""
        made = Alarm(self, action)
        self._alarms.append(made)
        return made

    def forget(self, alarm: Alarm) -> None:
        """One that is needed no more."""
        alarm.set(None)
        if alarm in self._alarms:
            self._alarms.remove(alarm)

    def soon(self, action: Callable[..., None], *arguments: object) -> None:
        """When all that happens now has happened."""
        self.later(0.0, action, *arguments)

    def later(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        """After so many seconds of virtual time, while the process lives and is not frozen."""
        self.simulation.at(self.simulation.now + seconds, self._do, action, arguments)

    def _do(self, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if not self.lives:
            return
        if self.host.frozen_until > self.simulation.now:
            self.simulation.at(self.host.frozen_until, self._do, action, arguments)
        else:
            action(*arguments)
