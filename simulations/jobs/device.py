"""A simulated device: what of a peer outlives its process."""

from __future__ import annotations

from meshwit.ids import PeerId
from meshwit.peer.mesh.address_book import AddressBook
from simulations.hosts import Host
from simulations.jobs.disk import SimulatedDisk
from simulations.jobs.lab import VERSION, is_like


class Device:
    """See the module.

    Attributes:
        believed: the speed that it tells, which may be wrong.
        lab: it has the controller; `admits_lacking`, if not, it says so.
        version: of the controller; what tells `lab.is_like` apart from that of the jobs gives other results.
        willing: it stands by.
        repeats: messages come to it twice, and late.
        garbled: it has sent what no peer sends, and may be told of.
        offset: of its clock; `suspended_s`, as that has it.
        book: where it has reached others.
    """

    def __init__(self, id: PeerId, host: Host, slots: int, speed: float) -> None:
        self.id = id
        self.host = host
        self.slots = slots
        self.speed = speed
        self.believed = speed
        self.lab = self.admits_lacking = self.willing = True
        self.version = VERSION
        self.repeats = self.garbled = False
        self.offset = self.suspended_s = 0.0
        self.starts = 0
        self.disk = SimulatedDisk()
        self.book = AddressBook()

    @property
    def name(self) -> str:
        """As in the trace."""
        return self.host.name

    @property
    def able(self) -> bool:
        """Whether it can lead the jobs there are, and run their tasks."""
        return self.lab and is_like(self.version)
