"""How a simulated peer keeps jobs: `peer.succession.keeping` as it is, on a loop and a disk in virtual time, looked at
after all that it does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from meshwit.codec import Buffer
from meshwit.ids import PeerId
from meshwit.peer.letters import Letter
from meshwit.peer.saying import Say
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.handing_over import Leads
from meshwit.peer.succession.keeping import Keeping
from meshwit.peer.succession.messages import CannotStandBy, StandBy
from meshwit.peer.succession.records import LogId
from simulations.jobs.clock import Clock
from simulations.jobs.device import Device
from simulations.jobs.lab import CODEC
from simulations.jobs.surroundings import NoBlobs, Watching

DISK_S: Final = (0.001, 0.006)
"""One access takes so long."""


class WatchedKeeping(Keeping):
    """See the module. To be made on the running loop of the device."""

    def __init__(
        self,
        device: Device,
        clock: Clock,
        say: Say[Letter],
        linked: Callable[[], Iterable[PeerId]],
        leads: Leads,
        watch: Watching,
    ) -> None:
        self._device = device
        self._watch = watch
        self._told: dict[tuple[str, LogId], int] = {}
        none = NoBlobs()
        super().__init__(
            device.id, lambda: device.disk, CODEC, say, none.fetch, linked, leads, none, lambda: clock.wall
        )

    def _perform(self, effects: Sequence[do.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, do.Durable):
                self._durable(effect.job, effect.upto)
        super()._perform(effects)
        self._watch.sound(self.me, self.core.check)

    async def _stand_by(self, peer: PeerId, message: StandBy, buffers: Sequence[Buffer]) -> None:
        if self._device.willing:
            await super()._stand_by(peer, message, buffers)
        else:
            self._say(peer, CannotStandBy(message.job, "it does not want to"))

    def _durable(self, job: str, upto: int) -> None:
        log = self._recorder.logs.get(job)
        if log is not None:
            key = (job, log.writer.log)
            records = log.writer.recent_records(self._told.get(key, 0), upto)
            self._watch.durable(self.me, job, records or [])
            self._told[key] = upto


def thread_of(device: Device, clock: Clock, rng: random.Random) -> Callable[[], float]:
    """When the thread that has the disk of a device has done what it is handed now."""

    def thread_s() -> float:
        now, disk = clock.simulation.now, device.disk
        disk.busy_until = max(now, disk.busy_until) + rng.uniform(*DISK_S)
        return disk.busy_until - now

    return thread_s
