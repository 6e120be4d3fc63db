"""Peers that know who leads which job, on links that carry at once or not at all; disks that count records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from meshwit.ids import PeerId
from meshwit.outcome import JobState
from meshwit.peer.succession import effects as do
from meshwit.peer.succession.known import Role
from meshwit.peer.succession.messages import CannotStandBy
from meshwit.peer.succession.records import LogId, Term
from meshwit.peer.succession.succession import Succession

STEP_S = 0.05


class Node:
    """One peer: its core, its disk, and what its core asked for."""

    def __init__(self, name: PeerId) -> None:
        self.name = name
        self.core = Succession(name)
        self.alive = True
        self.frozen = False
        self.disk: dict[str, dict[LogId, int]] = {}
        self.disk_full = False
        self.refuses = ""
        self.durable: dict[str, int] = {}
        self.taken: list[tuple[str, Term]] = []
        self.to_end: list[str] = []
        self.stepped_down: list[tuple[str, Term]] = []
        self.learned: list[str] = []
        self.finished: list[str] = []
        self.inbox: deque[Callable[[], list[do.Effect]]] = deque()


class World:
    """See the module. Every two peers are linked until `cut`."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.nodes = {PeerId(name): Node(PeerId(name)) for name in names}
        self.cuts: set[frozenset[PeerId]] = set()
        self.ends: dict[tuple[str, LogId], tuple[int, JobState | None]] = {}
        """Of logs whose last record is an end: how long they are then, and what it was."""
        for node in self.nodes.values():
            for other in self.nodes:
                if other != node.name:
                    self.perform(node, node.core.linked(other, 0.0))
            self.perform(node, node.core.rank(self.nodes, 0.0))

    def __getitem__(self, name: str) -> Node:
        return self.nodes[PeerId(name)]

    # --- what a test does --------------------------------------------------------------------------------------------

    def lead(self, name: str, job: str = "job", standbys: int = 2) -> None:
        """A peer begins a job."""
        node = self[name]
        node.disk[job] = {(1, node.name): 1}
        self.perform(node, node.core.lead(job, standbys, self.now))
        self.perform(node, node.core.stored(job, (1, node.name), 1, None, self.now))
        self.settle()

    def write(self, name: str, count: int, job: str = "job", *, over: JobState | None = None) -> None:
        """A leader's log grows to so many records."""
        node = self[name]
        log = node.core.jobs[job].term.log
        if over is not None:
            self.ends[job, log] = (count, over)
        self.perform(node, node.core.written(job, count, self.now))
        if node.disk_full:
            self.perform(node, node.core.unwritable(job))
        else:
            node.disk[job][log] = count
            self.perform(node, node.core.stored(job, log, count, over, self.now))
        if over is not None:
            self.perform(node, node.core.ended(job, over, self.now))
        self.settle()

    def kill(self, *names: str) -> None:
        """Processes end; their links close."""
        for name in names:
            self[name].alive = False
            self[name].inbox.clear()
        for name in names:
            for node in self.nodes.values():
                if node.alive and frozenset((node.name, name)) not in self.cuts:
                    self.perform(node, node.core.unlinked(PeerId(name), self.now))
                    self.rank(node)
        self.settle()

    def restart(self, name: str) -> None:
        """A process begins anew with what its disk has."""
        old = self[name]
        node = self.nodes[old.name] = Node(old.name)
        node.disk = old.disk
        for job, versions in node.disk.items():
            if not versions:  # it had just been appointed
                continue
            epoch, leader = head = max(versions)
            count, over = self.ends.get((job, head), (0, None))
            term = Term(epoch, 0, leader)
            node.core.restore(job, versions, term, over if versions[head] >= count else None, self.now)
        for other in self.nodes.values():
            if other.alive and self.connected(node, other):
                for one, two in ((node, other), (other, node)):
                    self.perform(one, one.core.linked(two.name, self.now))
                self.rank(other)
        self.rank(node)
        self.settle()

    def cut(self, *pairs: tuple[str, str]) -> None:
        """Links end."""
        for one, other in pairs:
            self.cuts.add(frozenset((PeerId(one), PeerId(other))))
            for here, there in ((one, other), (other, one)):
                self.perform(self[here], self[here].core.unlinked(PeerId(there), self.now))
                self.rank(self[here])
        self.settle()

    def heal(self) -> None:
        """All links are there again."""
        cuts, self.cuts = self.cuts, set()
        for pair in sorted(map(sorted, cuts)):
            for here, there in (pair, reversed(pair)):
                node = self.nodes[here]
                if node.alive and self.nodes[there].alive:
                    self.perform(node, node.core.linked(there, self.now))
                    self.rank(node)
        self.settle()

    def rank(self, node: Node) -> None:
        """All that are linked may stand by."""
        linked = [other.name for other in self.nodes.values() if other.alive and self.connected(node, other)]
        self.perform(node, node.core.rank(linked, self.now))

    def run(self, seconds: float) -> None:
        """Time passes."""
        until = self.now + seconds
        while self.now < until:
            self.now += STEP_S
            for node in list(self.nodes.values()):
                if node.alive and not node.frozen:
                    self.perform(node, node.core.tick(self.now))
                    node.core.check()
            self.settle()

    def leaders(self, job: str = "job") -> list[PeerId]:
        """The living peers that lead a job."""
        return [
            node.name
            for node in self.nodes.values()
            if node.alive and job in node.core.jobs and node.core.jobs[job].role is Role.LEADING
        ]

    # --- carrying ----------------------------------------------------------------------------------------------------

    def connected(self, one: Node, other: Node) -> bool:
        """Whether a message gets through."""
        return one is not other and frozenset((one.name, other.name)) not in self.cuts

    def settle(self) -> None:
        """Deliver all that is under way."""
        busy = True
        while busy:
            busy = False
            for node in list(self.nodes.values()):
                if node.alive and not node.frozen and node.inbox:
                    self.perform(node, node.inbox.popleft()())
                    node.core.check()
                    busy = True

    def perform(self, node: Node, effects: list[do.Effect]) -> None:
        """What the shell does."""
        for effect in effects:
            match effect:
                case do.Send(peer=peer, message=message):
                    self._to(node, peer, lambda to, m=message: to.core.receive(node.name, m, self.now))
                case do.SendSpec(peer=peer, job=job, term=term):
                    self._to(node, peer, lambda to, j=job, t=term: self._appointed(to, node.name, j, t))
                case do.SendRecords(peer=peer):
                    self._to(node, peer, lambda to, e=effect: self._appended(to, node.name, e))
                case do.TakeOver(job=job, term=term, cancelled=cancelled):
                    node.taken.append((job, term))
                    node.to_end += [job] * cancelled
                    node.disk[job][term.log] = 1
                    node.inbox.append(lambda j=job, t=term: node.core.stored(j, t.log, 1, None, self.now))
                case do.StepDown(job=job, term=term):
                    node.stepped_down.append((job, term))
                case do.Durable(job=job, upto=upto):
                    node.durable[job] = upto
                case do.Finished(job=job):
                    node.finished.append(job)
                case do.Learned(job=job):
                    node.learned.append(job)

    def _to(self, node: Node, peer: PeerId, deliver: Callable[[Node], list[do.Effect]]) -> None:
        target = self.nodes[peer]
        if target.alive and self.connected(node, target):
            target.inbox.append(lambda: deliver(target))

    def _appointed(self, node: Node, leader: PeerId, job: str, term: Term) -> list[do.Effect]:
        if node.refuses:
            return [do.Send(leader, CannotStandBy(job, node.refuses))]
        welcome, effects = node.core.may_stand_by(leader, job, term, self.now)
        if welcome:
            effects += node.core.standing_by(job, term, node.disk.setdefault(job, {}), self.now)
        return effects

    def _appended(self, node: Node, sender: PeerId, sent: do.SendRecords) -> list[do.Effect]:
        welcome, effects = node.core.may_append(
            sender, sent.job, sent.log, sent.first, sent.stop - sent.first, self.now
        )
        if not welcome:
            return effects
        if node.disk_full:
            return [*effects, *node.core.not_stored(sent.job, "the disk is full")]
        log = node.disk[sent.job]
        assert sent.first <= log.get(sent.log, 0), "a gap in a log"
        log[sent.log] = max(log.get(sent.log, 0), sent.stop)
        length, over = self.ends.get((sent.job, sent.log), (0, None))
        state = over if sent.first < length <= sent.stop else None
        return [*effects, *node.core.stored(sent.job, sent.log, log[sent.log], state, self.now)]
