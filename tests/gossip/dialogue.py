"""Dialogues as text: what is said to one core, anna, and what she must or must not do about it.

    members ben cleo      they are members, alive, and known as such
    wait 0.5              time passes, timers fall due
    late 3600             time passes and nobody calls `tick` until the end of it
    ben: ping             ben says so by datagram; `ben by link: ...` over his link
    link ben closed       or up, refused, goodbye, unreachable
    publish load 20       twenty bytes under a topic
    -> to ben: ack        anna must have done this since the last line that is none of these
    !> MemberDied         anna must have done nothing that begins so

A claim reads `claim cleo suspect +0 by ben`, its incarnation counted from the start of the epoch.
"""

from __future__ import annotations

from pathlib import Path

from meshwit.gossip import Effect, Evidence, GossipConfig, MemberDied, Misbehaved, RecordChanged, Send, State
from meshwit.gossip.members import NEVER
from meshwit.gossip.messages import (
    Ack,
    Claim,
    Digest,
    Message,
    Nack,
    News,
    Note,
    Ping,
    PingReq,
    Want,
    decode,
    encode,
    from_wire,
    id_of,
    to_wire,
)
from meshwit.ids import PeerId, id_bytes
from meshwit.records import signed_record

from .small_mesh import EPOCH_MS, FakeSigner, core

PEOPLE = ("anna", "ben", "cleo", "dora", "emil")


class Dialogue:
    """Anna, and what was said to her."""

    def __init__(self) -> None:
        # Alone with her thoughts: no anti-entropy disturbs a dialogue.
        self.anna = core("anna", config=GossipConfig(sync_join_s=1e6, sync_period_s=1e6))
        self.now = 0.0
        self.ids = {name: core(name).me for name in PEOPLE}
        self.names = {peer: name for name, peer in self.ids.items()}
        self.done: list[str] = []
        self.effects: list[Effect] = []
        self.pings: dict[str, int] = {}
        self.hear(self.anna.start(0.0, b"member anna"))

    def hear(self, effects: list[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            self.done += self.describe(effect)

    # --- saying ----------------------------------------------------------------------------------------------------

    def play(self, line: str) -> None:
        words = line.split()
        match words:
            case ["members", *names]:
                for name in names:
                    record = signed_record(FakeSigner(name), "member", EPOCH_MS, f"member {name}".encode())
                    claim = self.claim([name, "alive", "+0"])
                    self.say(name, News([claim], [to_wire(record)]), True)
                self.settle(3.0)
            case ["wait", seconds]:
                self.run(float(seconds))
            case ["late", seconds]:
                self.now += float(seconds)
                self.hear(self.anna.tick(self.now))
            case ["link", name, "up"]:
                self.hear(self.anna.link_up(self.ids[name], self.now))
            case ["link", name, evidence]:
                self.hear(self.anna.link_down(self.ids[name], self.now, Evidence[evidence.upper()]))
            case ["publish", topic, size]:
                self.hear(self.anna.publish(topic, b"x" * int(size), self.now))
            case ["leave"]:
                self.hear(self.anna.leave(self.now))
            case [name, "by", "link:", *said]:
                self.say(name, self.message(name, said), True)
            case [name, *said] if name.endswith(":"):
                self.say(name[:-1], self.message(name[:-1], said), False)
            case _:
                raise AssertionError(f"what is {line!r}?")

    def say(self, name: str, message: Message, reliable: bool) -> None:
        self.hear(self.anna.receive(encode(message), self.ids[name], self.now, reliable))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.anna.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.hear(self.anna.tick(self.now))
            self.anna.check()
        self.now = until

    def settle(self, seconds: float) -> None:
        """Let news die down; all answer, but that is long ago when the dialogue begins."""
        until = self.now + seconds
        while (due := self.anna.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.hear(self.anna.tick(self.now))
            for name, seq in list(self.pings.items()):
                self.say(name, Ack(seq), False)
            self.pings.clear()
        for member in self.anna.alive():
            member.answered_at = NEVER
        self.done.clear()

    def message(self, name: str, said: list[str]) -> Message:
        match said:
            case ["ping"]:
                return Ping(77, b"", b"")
            case ["ping", "with", "claim", *claim]:
                return Ping(77, b"", b"", [self.claim(claim)])
            case ["ack"]:
                return Ack(self.pings[name])
            case ["ack", "for", target]:
                return Ack(self.pings[target])
            case ["nack", "for", target]:
                return Nack(self.pings[target])
            case ["ping", target, "for", "me"]:
                return PingReq(78, id_bytes(self.ids[target]), 200)
            case ["claim", *claim]:
                return News([self.claim(claim)])
            case ["old", "claim", *claim]:
                return News([self.claim(claim)], compare=True)
            case ["record", "of", owner, topic, version]:
                record = signed_record(FakeSigner(owner), topic, EPOCH_MS + int(version), f"{owner} says".encode())
                return News(records=[to_wire(record)])
            case ["forged", "record", "of", owner, topic]:
                wire = to_wire(signed_record(FakeSigner(owner), topic, EPOCH_MS + 9, b"true"))
                forged = type(wire)(wire.key, wire.topic, wire.version, b"false", wire.expires_at, wire.signature)
                return News(records=[forged])
            case ["note", "of", owner, topic, version]:
                return News(notes=[Note(id_bytes(self.ids[owner]), topic, EPOCH_MS + int(version))])
            case ["want", owner, topic]:
                return Want([(id_bytes(self.ids[owner]), topic)])
            case _:
                raise AssertionError(f"what is {said}?")

    def claim(self, words: list[str]) -> Claim:
        subject, state, incarnation, *by = words
        accuser = id_bytes(self.ids[by[1]]) if by else b""
        raw = id_bytes(self.ids[subject])
        return Claim(raw, State[state.upper()], EPOCH_MS + int(incarnation), accuser)

    # --- reading ---------------------------------------------------------------------------------------------------

    def name(self, peer: PeerId) -> str:
        return self.names.get(peer, peer)

    def describe(self, effect: Effect) -> list[str]:
        match effect:
            case Send(peer, raw, reliable):
                message = decode(raw)
                to = f"to {self.name(peer)}{' by link' if reliable else ''}:"
                if isinstance(message, Ping):
                    self.pings[self.name(peer)] = message.seq
                return [f"{to} {part}" for part in self.parts(message)]
            case MemberDied(peer, why):
                return [f"MemberDied {self.name(peer)} {why.name.lower()}"]
            case Misbehaved(peer):
                return [f"Misbehaved {self.name(peer)}"]
            case RecordChanged(record):
                return [f"RecordChanged {self.name(record.owner)} {record.topic}"]
            case _:
                return [f"{type(effect).__name__} {self.name(effect.peer)}"]

    def parts(self, message: Message) -> list[str]:
        match message:
            case Ping():
                head = ["ping"]
            case Ack():
                head = ["ack"]
            case PingReq():
                head = [f"ping {self.name(id_of(message.target))} for me"]
            case Nack():
                return ["nack"]
            case Want():
                return [f"want {self.name(id_of(owner))} {topic}".rstrip() for owner, topic in message.items]
            case Digest():
                return ["digest"]
            case News():
                head = []
        for claim in message.claims:
            by = f" by {self.name(id_of(claim.by))}" if claim.by else ""
            offset = claim.incarnation - EPOCH_MS
            subject = self.name(id_of(claim.subject))
            head.append(f"claim {subject} {State(claim.state).name.lower()} +{offset}{by}")
        for record in map(from_wire, message.records):
            head.append(f"record of {self.name(record.owner)} {record.topic}")
        for note in message.notes:
            head.append(f"note of {self.name(id_of(note.owner))} {note.topic}")
        return head


def perform(path: Path) -> None:
    """Play a dialogue; fails at the line that anna does not live up to."""
    dialogue = Dialogue()
    checking = False
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith(("-> ", "!> ")):
            checking = True
            done = "\n  ".join(dialogue.done)
            if line.startswith("-> "):
                assert line[3:] in dialogue.done, f"{path.name}:{number}: {line}\nbut anna did\n  {done}"
            else:
                wrong = [each for each in dialogue.done if each.startswith(line[3:])]
                assert not wrong, f"{path.name}:{number}: {line}\nbut anna did\n  {done}"
            continue
        if checking:
            dialogue.done.clear()
            checking = False
        dialogue.play(line)
