"""What the tests of trust are made of: devices with names, a mesh of some, two machines that talk."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from meshwit.peer.trust.certificates import CertificateKind, Chain, issue
from meshwit.peer.trust.codes import CodeBook
from meshwit.peer.trust.joining import Admitter, Effect, Handout, Joiner, SendMessage
from meshwit.peer.trust.keys import DeviceKey
from meshwit.peer.trust.membership import Membership, found_mesh

NOW = 1_800_000_000.0


def chance(seed: object):
    """Entropy that is the same in every run."""
    return random.Random(str(seed)).randbytes


def device(name: str) -> DeviceKey:
    """The key of the device with that name, always the same."""
    return DeviceKey(hashlib.sha256(name.encode()).digest())


def founded(by: str = "ada", mesh: str = "home") -> Membership:
    return found_mesh(device(by), mesh, NOW, chance(f"{by} founds {mesh}"), device_name=by)


def admitted(
    chain: Chain,
    by: str,
    name: str,
    *,
    kind: CertificateKind = CertificateKind.MEMBER,
    at: float = NOW,
    until: float = 0,
) -> Chain:
    """The chain of the device that `by` let in, with the chain of `by` given."""
    return (*chain, issue(device(by), chain[0].mesh, device(name).public_key, name, at, until, kind))


def grown(membership: Membership, *pairs: tuple[str, str]) -> dict[str, Chain]:
    """The chains of all, by name: `grown(mesh, ("ada", "bob"), ("bob", "cid"))` has bob let in by ada."""
    chains = {membership.name: membership.chain}
    for number, (by, name) in enumerate(pairs, 1):
        chains[name] = admitted(chains[by], by, name, at=NOW + number)
    return chains


def by_id(chains: dict[str, Chain], *without: str):
    return {chain[-1].id: chain for name, chain in chains.items() if name not in without}


class Meeting:
    """A joiner and a member at the two ends of a connection; what each side has to do beyond sending is kept."""

    def __init__(
        self,
        membership: Membership,
        *,
        joiner: str = "bob",
        member: str = "ada",
        codes: CodeBook | None = None,
        taken: Iterable[str] = (),
        **options,
    ) -> None:
        self.now = NOW
        self.membership = membership
        self.codes = codes or CodeBook()
        handout = lambda: Handout(self.membership, (("192.168.1.2", 4100),), frozenset(taken))  # noqa: E731
        self.joiner = Joiner(device(joiner), device(member).public_key, joiner, chance(f"{joiner} joins"), **options)
        self.admitter = Admitter(
            device(member), device(joiner).public_key, handout, self.codes, chance(f"{member} admits"), NOW
        )
        self.at_joiner: list[Effect] = []
        self.at_member: list[Effect] = []
        self.crossed: list[tuple[str, bytes]] = []

    def begin(self) -> Meeting:
        self.from_joiner(self.joiner.start(self.now))
        return self

    def approve(self) -> Meeting:
        self.from_member(self.admitter.approve(self.now))
        return self

    def from_joiner(self, effects: list[Effect]) -> None:
        """Performs what the joiner wants: what it sends arrives, and what the member answers too."""
        self.joiner.check()
        for effect in effects:
            if isinstance(effect, SendMessage):
                self.crossed.append(("joiner", effect.raw))
                self.from_member(self.admitter.receive(effect.raw, self.now))
            else:
                self.at_joiner.append(effect)

    def from_member(self, effects: list[Effect]) -> None:
        self.admitter.check()
        for effect in effects:
            if isinstance(effect, SendMessage):
                self.crossed.append(("member", effect.raw))
                self.from_joiner(self.joiner.receive(effect.raw, self.now))
            else:
                self.at_member.append(effect)

    def last(self, side: str) -> Effect:
        return (self.at_joiner if side == "joiner" else self.at_member)[-1]

    def sent(self, side: str) -> list[bytes]:
        """The messages of one side, in order."""
        return [raw for each, raw in self.crossed if each == side]


def only_send(effects: list[Effect]) -> bytes:
    """The bytes of the one message among the effects."""
    (raw,) = [each.raw for each in effects if isinstance(each, SendMessage)]
    return raw
