"""Protects the files: one profile per running peer, nothing half-written, no new identity unawares."""

import os
import stat
import subprocess
import sys

import msgspec
import pytest
from small_mesh import NOW, chance, founded

from meshwit.ids import peer_id
from meshwit.peer.home import JOBS_FILE, default_folder
from meshwit.peer.trust.certificates import CertificateKind, issue
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.locks import FileLock
from meshwit.peer.trust.membership import admits, expel, found_mesh
from meshwit.peer.trust.store import Home

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "meshwit")


def member(profile, name="ada"):
    """Makes the profile the founder of a mesh."""
    membership = found_mesh(profile.key, "home", NOW, chance(name), device_name=name)
    profile.save_membership(membership)
    return membership


def test_the_first_profile_that_nobody_holds_is_taken(home):
    first, second = home.profile(), home.profile()
    assert (first.name, second.name) == ("1", "2") and first.key.id != second.key.id
    first.release()
    with home.profile() as again:
        assert again.name == "1" and again.key.id == first.key.id
    second.release()


def test_a_profile_by_name_is_held_by_one(home):
    with home.profile("lab"):
        with pytest.raises(TrustError, match="in use") as caught:
            home.profile("lab")
        assert caught.value.hint == "stop it first: meshwit down"
    home.profile("lab").release()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "-x", "a" * 41, ".hidden"])
def test_attack_a_profile_name_that_leads_out_of_the_folder(home, name):
    with pytest.raises(TrustError, match="no name for a profile"):
        home.profile(name)
    assert not home.folder.exists()


def test_another_process_cannot_take_a_held_profile_and_its_death_frees_it(home):
    with home.profile("lab") as held:
        code = (
            "import sys; from pathlib import Path; from meshwit.peer.trust.locks import FileLock;"
            "print(FileLock.take(Path(sys.argv[1])) is not None)"
        )
        lock = str(held.folder / "lock")

        def other():
            return subprocess.run(
                [sys.executable, "-c", code, lock], capture_output=True, text=True, check=True, timeout=60
            )

        assert other().stdout.strip() == "False"
    assert other().stdout.strip() == "True"
    taken = FileLock.take(held.folder / "lock")
    assert taken is not None
    taken.release()
    taken.release()
    assert not taken.held


def test_a_membership_is_found_again_whole(home):
    with home.profile() as profile:
        assert profile.load_membership() is None
        membership = member(profile)
        assert profile.load_membership() == membership


@posix_only
def test_all_files_are_private(home):
    with home.profile() as profile:
        member(profile)
        for path in (profile.key_file, profile.folder / "membership.msgpack"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (profile.folder / "membership.msgpack").chmod(0o644)
        with pytest.raises(TrustError, match="other users"):
            profile.load_membership()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: b"",
        lambda raw: raw[:30],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: b"x" + raw,
    ],
)
def test_a_torn_membership_is_an_error_that_says_what_to_do(home, damage):
    with home.profile() as profile:
        member(profile)
        path = profile.folder / "membership.msgpack"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(TrustError, match="is damaged") as caught:
            profile.load_membership()
        assert "meshwit up" in caught.value.hint


def test_a_member_whose_key_is_gone_does_not_become_a_new_device(home):
    with home.profile() as profile:
        member(profile)
        profile.key_file.unlink()
    with pytest.raises(TrustError, match="is missing"):
        home.profile()
    assert not profile.key_file.exists()
    taken = FileLock.take(profile.folder / "lock")
    assert taken is not None, "the profile was given back"
    taken.release()


def test_a_damaged_key_stops_the_peer_rather_than_to_take_the_next_profile(home):
    with home.profile() as profile:
        profile.key_file.write_bytes(b"torn")
    with pytest.raises(TrustError, match="damaged"):
        home.profile()


def test_attack_the_membership_of_another_key(home):
    with home.profile() as one, home.profile() as two:
        member(one)
        two.save_membership(one.load_membership())
        with pytest.raises(TrustError, match="belongs to another key"):
            two.load_membership()


def test_leaving_forgets_the_mesh_and_a_new_key_makes_a_new_device(home):
    with home.profile() as profile:
        member(profile)
        jobs = [profile.folder / f"{JOBS_FILE}{end}" for end in ("", "-wal", "-shm", ".damaged-1")]
        for path in jobs:
            path.write_bytes(b"what members of this mesh had computed")
        profile.forget_membership()
        assert profile.load_membership() is None
        assert not any(path.exists() for path in jobs), "the next mesh has no business with it"
    with home.profile() as again:
        assert again.key.id == profile.key.id
        again.forget_key()
    with home.profile() as fresh:
        assert fresh.key.id != profile.key.id


def test_leaving_while_no_peer_runs_makes_a_new_device_only_of_one_that_was_expelled(home):
    with home.profile() as ada, home.profile() as bob, home.profile() as cid:
        mesh = member(ada)
        certificate = issue(ada.key, mesh.mesh, bob.key.public_key, "bob", NOW)
        chain = (*mesh.chain, certificate)
        after, _ = expel(mesh, ada.key, bob.key.id, {bob.key.id: chain}, NOW, bytes(40))
        bob.save_membership(msgspec.structs.replace(after, chain=chain))
        member(cid, "cid")
        before = [each.key.id for each in (ada, bob, cid)]
        ada.release()
        bob.release()
        assert [each.mesh_name for each in home.leave()] == ["home", "home"]
        assert cid.load_membership() is not None, "a running peer keeps its own"
    profiles = [home.profile() for _ in range(3)]
    assert [each.load_membership() is None for each in profiles] == [True, True, False]
    assert [each.key.id == key for each, key in zip(profiles, before, strict=True)] == [True, False, True]
    for each in profiles:
        each.release()


def test_a_device_in_no_mesh_may_become_another(home):
    """One that was expelled after it had left is refused for its key, and has nothing that it could leave."""
    with home.profile() as ada, home.profile() as bob:
        member(ada)
        before = [each.key.id for each in (ada, bob)]
        bob.release()
        home.renew()
        ada.release()
        home.renew()
        with home.profile() as first, home.profile() as second:
            assert first.key.id == before[0], "a member keeps its key"
            assert second.key.id != before[1]


def test_a_profile_that_was_given_back_is_not_written(home):
    profile = home.profile()
    membership = member(profile)
    profile.release()
    with pytest.raises(TrustError, match="not held"):
        profile.save_membership(membership)


# --- a second peer of the same user ------------------------------------------------------------------------------


def test_a_second_peer_joins_by_itself(home):
    with home.profile() as first, home.profile() as second:
        membership = member(first)
        adopted = home.adopt(second, NOW)
        assert adopted == second.load_membership()
        assert adopted.name == "ada-2" and adopted.chain[-1].kind is CertificateKind.SAME_DEVICE
        assert admits(membership, adopted.chain, second.key.public_key, NOW) == ""
        with home.profile() as third:
            assert home.adopt(third, NOW, taken={"ada-3"}).name == "ada-4"
            assert len(third.load_membership().chain) == 2, "by the founder, not by the second"


def test_where_nobody_is_a_member_nobody_is_adopted(home):
    with home.profile() as first, home.profile():
        assert home.adopt(first, NOW) is None
        member(first)
        assert home.adopt(first, NOW) is None, "not by itself"


def test_attack_an_expelled_profile_adopts_nobody_and_falls_with_its_second_peer(home):
    with home.profile() as first, home.profile() as second, home.profile() as third:
        founder = founded("founder")
        membership = member(first)
        adopted = home.adopt(second, NOW)
        expelled, _ = expel(
            msgspec.structs.replace(membership, chain=adopted.chain),
            second.key,
            first.key.id,
            {},
            NOW,
            bytes(40),
        )
        assert peer_id(first.key.public_key) in expelled.expelled
        first.save_membership(msgspec.structs.replace(expelled, chain=membership.chain))
        second.forget_membership()
        assert home.adopt(third, NOW) is None
        assert founder.mesh != membership.mesh


# --- where -------------------------------------------------------------------------------------------------------


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("MESHWIT_HOME", str(tmp_path / "elsewhere"))
    assert Home().folder == default_folder() == tmp_path / "elsewhere"
    monkeypatch.setenv("MESHWIT_HOME", " ")
    assert "meshwit" in default_folder().name
    assert Home(tmp_path).folder == tmp_path


@posix_only
def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrustError) as caught:
        Home(tmp_path / "file").profile()
    assert "MESHWIT_HOME" in caught.value.hint
