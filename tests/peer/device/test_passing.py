"""Peers of one device: who proves to be one, what passes through memory, and what is left when one goes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from meshwit.ids import PeerId
from meshwit.peer.device import folders
from meshwit.peer.device.messages import Freed, Offer, Shown, decode, encode, proof
from meshwit.peer.device.passing import VARIABLE, Passing, PassingSettings
from meshwit.peer.exec.directories import memory_root
from meshwit.peer.exec.messages import SegmentRef
from meshwit.peer.exec.segments import SegmentError

ROOT = Path(__file__).parents[3]
MIB = 1 << 20
PATIENCE_S = 30.0
SMALL = PassingSettings(out_count_max=4, held_count_max=2)
CHILD = """
import asyncio, sys, time
from pathlib import Path
from meshwit.peer.device.folders import OwnFolder
from meshwit.peer.device.messages import Offer, encode, proof
from meshwit.peer.exec.segments import Segments
folder = OwnFolder()
out = Segments(folder.path, "out", 1 << 26, 8)
nonce = bytes(16)
offer = Offer(folder.path.name, nonce, proof(folder.secret, "own", nonce, sys.argv[1], sys.argv[2]), "/nowhere")
print(encode(offer).hex(), folder.path)
places, _ = out.place_all([memoryview(bytes([n]) * (1 << 20)) for n in range(2)], sys.argv[2])
print(*(each.name for each in places), flush=True)
time.sleep(600)
"""


class Pair:
    """Some peers of this device, linked by calls; what is said comes in the next turn of the loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peers: dict[PeerId, Passing] = {}
        self.accused: list[tuple[PeerId, str]] = []
        self.said: list[tuple[PeerId, PeerId, bytes]] = []

    def add(self, name: str, settings: PassingSettings = SMALL) -> PeerId:
        me = PeerId(name)

        def send(peer: PeerId, payload: bytes) -> bool:
            self.said.append((me, peer, payload))
            asyncio.get_running_loop().call_soon(self._arrive, me, peer, payload)
            return True

        self.peers[me] = Passing(
            me, self.folder / name, send, lambda who, why: self.accused.append((who, why)), settings
        )
        return me

    def _arrive(self, sender: PeerId, peer: PeerId, payload: bytes) -> None:
        if peer in self.peers:
            self.peers[peer].received(sender, payload)

    async def link(self, one: PeerId, other: PeerId) -> None:
        self.peers[one].linked(other)
        self.peers[other].linked(one)
        await until(lambda: self.peers[one].passes_to(other) and self.peers[other].passes_to(one))

    def folder_of(self, name: PeerId) -> Path:
        offers = (decode(payload) for sender, _, payload in self.said if sender == name)
        return memory_root() / next(each.folder for each in offers if isinstance(each, Offer))

    def segments(self, name: PeerId) -> list[str]:
        return sorted(path.name for path in self.folder_of(name).glob("*.seg"))


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.002)


def play(tmp_path: Path, story: Callable[[Pair], Awaitable[None]]) -> None:
    async def run() -> None:
        pair = Pair(tmp_path)
        try:
            await story(pair)
        finally:
            for each in pair.peers.values():
                each.close()

    asyncio.run(run())


def test_peers_of_one_device_prove_it_and_bytes_pass_as_they_are(tmp_path: Path):
    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), pair.add("b")
        await pair.link(a, b)
        assert pair.peers[a].store_of(b) == tmp_path / "b"
        for sender, reader in ((a, b), (b, a)):
            data = os.urandom(MIB + 5)
            ref = pair.peers[sender].place(reader, data)
            assert ref is not None
            assert bytes(pair.peers[reader].view(sender, ref)) == data
        assert not pair.accused
        assert pair.peers[a].place(b, b"short") is None, "it costs less on the link"

    play(tmp_path, story)


def test_the_folders_are_gone_when_peers_close_and_what_is_seen_stays(tmp_path: Path):
    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), pair.add("b")
        await pair.link(a, b)
        ref = pair.peers[a].place(b, b"\x07" * MIB)
        assert ref is not None
        view = pair.peers[b].view(a, ref)
        folder = pair.folder_of(a)
        assert folder.is_dir()
        pair.peers[a].close()
        pair.peers[a].unlinked(b)
        assert pair.peers[a].place(b, b"\x07" * MIB) is None
        assert not folder.exists() or sys.platform == "win32"
        assert bytes(view) == b"\x07" * MIB

    play(tmp_path, story)


def test_nothing_is_offered_where_the_variable_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "off")

    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), pair.add("b")
        pair.peers[a].linked(b)
        assert not pair.said
        assert pair.peers[a].place(b, bytes(MIB)) is None

    play(tmp_path, story)


def test_what_is_placed_is_limited_and_segments_are_used_again_when_they_are_freed(tmp_path: Path):
    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), pair.add("b")
        await pair.link(a, b)
        sender, reader = pair.peers[a], pair.peers[b]
        refs = [sender.place(b, bytes([n]) * MIB) for n in range(6)]
        assert [ref is not None for ref in refs] == [True] * 4 + [False] * 2
        views = [reader.view(a, ref) for ref in refs if ref is not None]
        assert [view[0] for view in views] == [0, 1, 2, 3]
        # Two are looked at where they lie, the others were copied and are free again, though nobody let go of them.
        await until(lambda: sender.place(b, bytes([9]) * MIB) is not None)
        await until(lambda: sender.place(b, bytes([9]) * MIB) is not None)
        assert sender.place(b, bytes(MIB)) is None
        assert [bytes(view) for view in views] == [bytes([n]) * MIB for n in range(4)]
        views.clear()
        await until(lambda: sender.place(b, bytes(MIB)) is not None)
        assert len(pair.segments(a)) == 4

    play(tmp_path, story)


def test_what_the_other_may_still_look_at_when_the_link_ends_is_not_written_again(tmp_path: Path):
    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), pair.add("b")
        await pair.link(a, b)
        ref = pair.peers[a].place(b, b"\x01" * MIB)
        lost = pair.peers[a].place(b, b"\x02" * MIB)
        assert ref is not None and lost is not None
        view = pair.peers[b].view(a, ref)
        pair.peers[a].unlinked(b)
        pair.peers[b].unlinked(a)
        assert pair.segments(a) == [] or sys.platform == "win32"
        await pair.link(a, b)
        again = [pair.peers[a].place(b, b"\x03" * MIB) for _ in range(4)]
        assert ref.name not in {each.name for each in again if each is not None}
        assert bytes(view) == b"\x01" * MIB
        with pytest.raises(SegmentError):
            pair.peers[b].view(a, lost)

    play(tmp_path, story)


def test_a_peer_killed_in_the_middle_leaves_nothing(tmp_path: Path):
    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), PeerId("b")
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, b, a], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
        )
        try:
            assert child.stdout is not None
            offer, path = child.stdout.readline().split()
            names = child.stdout.readline().split()
            folder, peer = Path(path), pair.peers[a]
            peer.linked(b)
            peer.received(b, bytes.fromhex(offer))
            await until(lambda: peer.store_of(b) is not None)
            mine = decode(pair.said[0][2])
            assert isinstance(mine, Offer)
            secret = folders.find(mine.folder)
            assert secret is not None
            peer.received(b, encode(Shown(proof(secret[1], "read", mine.nonce, b, a))))
            assert peer.place(b, bytes(MIB)) is not None
            view = peer.view(b, SegmentRef(names[0], 0, MIB))
            child.kill()
            child.wait()
            peer.unlinked(b)
            await until(lambda: not folder.exists())
            assert bytes(view) == bytes(MIB)
            assert pair.segments(a) == []
            assert peer.place(b, bytes(MIB)) is None
            with pytest.raises(SegmentError):
                peer.view(b, SegmentRef(names[1], 0, MIB))
        finally:
            child.kill()
            child.communicate()

    play(tmp_path, story)


# --- proofs that are none --------------------------------------------------------------------------------------------


def _seen(name: str, *before: str) -> bool:
    code = f"from meshwit.peer.device import folders; print(folders.find({name!r}) is not None)"
    told = subprocess.run([*before, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.strip() == "True"


def test_another_process_of_the_device_finds_a_folder_and_one_with_places_of_its_own_does_not():
    own = folders.OwnFolder()
    try:
        assert _seen(own.path.name)
        apart = ["unshare", "--mount", "--net", "sh", "-c"]
        mounts = f"mount -t tmpfs none {own.path.parent}"
        if Path(sys.executable).is_relative_to(own.path.parent) or ROOT.is_relative_to(own.path.parent):
            pytest.skip("what runs here lies where the folder does")
        if sys.platform != "linux" or shutil.which("unshare") is None:
            pytest.skip("namespaces are Linux's")
        if subprocess.run([*apart, mounts], capture_output=True, check=False).returncode:
            pytest.skip("namespaces are not permitted here")
        assert not _seen(own.path.name, *apart, f'{mounts} && exec "$@"', "sh")
    finally:
        own.close()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "meshwit-exec-1-2-nothing", "/etc", "meshwit-exec-1-2-a/../b"])
def test_attack_names_that_lead_elsewhere_find_nothing(name: str):
    assert folders.find(name) is None


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_attack_a_folder_that_others_may_enter_is_none():
    own = folders.OwnFolder()
    try:
        assert folders.find(own.path.name) == (own.path, own.secret)
        own.path.chmod(0o755)
        assert folders.find(own.path.name) is None
        own.path.chmod(0o700)
        (own.path / "secret").unlink()
        (own.path / "secret").symlink_to("/etc/hostname")
        assert folders.find(own.path.name) is None
    finally:
        own.close()


def test_attack_a_folder_of_another_peer_offered_as_ones_own_is_not_read(tmp_path: Path):
    """Who learned the name alone, or passes on an offer made to it, does not have others read there."""

    async def story(pair: Pair) -> None:
        victim, reader, thief = pair.add("victim"), pair.add("reader"), PeerId("thief")
        pair.peers[victim].linked(thief)
        offer = decode(pair.said[-1][2])
        assert isinstance(offer, Offer)
        for owned in (offer.owned, bytes(32)):
            pair.peers[reader].linked(thief)
            pair.accused.clear()
            pair.peers[reader].received(thief, encode(msgspec.structs.replace(offer, owned=owned)))
            await until(lambda: pair.accused)
            assert pair.accused == [(thief, "offered a folder that is not its own")]
            assert pair.peers[reader].store_of(thief) is None
            with pytest.raises(SegmentError):
                pair.peers[reader].view(thief, SegmentRef("out-1.seg", 0, 1))

    play(tmp_path, story)


def test_attack_a_wrong_proof_and_one_passed_on_by_another_show_nothing(tmp_path: Path):
    """Somebody elsewhere has the answer computed by a peer that is here: it holds for that peer alone."""

    async def story(pair: Pair) -> None:
        a, b, thief = pair.add("a"), pair.add("b"), PeerId("thief")
        pair.peers[a].linked(thief)
        offer = decode(pair.said[-1][2])
        found = folders.find(offer.folder) if isinstance(offer, Offer) else None
        assert isinstance(offer, Offer) and found is not None
        by_b = proof(found[1], "read", offer.nonce, b, thief)
        for wrong in (bytes(32), offer.owned, by_b, proof(found[1], "read", bytes(16), thief, a)):
            pair.accused.clear()
            pair.peers[a].received(thief, encode(Shown(wrong)))
            assert pair.accused == [(thief, "showed what does not lie in this peer's folder")]
            assert not pair.peers[a].passes_to(thief)
            assert pair.peers[a].place(thief, bytes(MIB)) is None
        pair.peers[a].received(thief, encode(Shown(proof(found[1], "read", offer.nonce, thief, a))))
        assert pair.peers[a].passes_to(thief)

    play(tmp_path, story)


def test_attack_names_freed_twice_or_never_placed_change_nothing(tmp_path: Path):
    async def story(pair: Pair) -> None:
        a, b = pair.add("a"), pair.add("b")
        await pair.link(a, b)
        ref = pair.peers[a].place(b, bytes([1]) * MIB)
        assert ref is not None
        pair.peers[a].received(b, encode(Freed([ref.name] * 5 + ["out-77.seg", "../x"])))
        placed = [pair.peers[a].place(b, bytes([n]) * MIB) for n in range(4)]
        assert len({each.name for each in placed if each is not None}) == 4
        pair.peers[a].received(b, b"\xc1")
        assert pair.accused == [(b, "sent what is no message about this device")]

    play(tmp_path, story)
