"""Protects the device key: made once, private from its first moment, never silently replaced; signatures."""

import os
import stat

import pytest
from small_mesh import chance, device

from meshwit.ids import peer_id
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.files import read_private, write_private
from meshwit.peer.trust.keys import KEY_FILE, DeviceKey, verify

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")


def test_the_key_is_made_once_and_found_again(tmp_path):
    made = DeviceKey.load_or_create(tmp_path / "peer", chance(1))
    assert DeviceKey.load_or_create(tmp_path / "peer", chance(2)).id == made.id
    assert DeviceKey.load(tmp_path / "peer").public_key == made.public_key
    assert made.id == peer_id(made.public_key)


def test_where_there_is_no_key_none_is_loaded(tmp_path):
    assert DeviceKey.load(tmp_path) is None


@posix_only
def test_the_key_file_is_private_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        DeviceKey.load_or_create(tmp_path / "peer")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "peer" / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "peer").stat().st_mode) == 0o700


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path, mode):
    DeviceKey.load_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(TrustError, match="other users") as caught:
        DeviceKey.load_or_create(tmp_path)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff" * 200])
def test_a_damaged_key_is_an_error_and_stays_as_it_is(tmp_path, content):
    write_private(tmp_path / KEY_FILE, content)
    with pytest.raises(TrustError, match="damaged"):
        DeviceKey.load_or_create(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == content


def test_a_half_written_key_is_an_error(tmp_path):
    whole = DeviceKey.load_or_create(tmp_path).private_pem()
    write_private(tmp_path / KEY_FILE, whole[:60])
    with pytest.raises(TrustError, match="damaged"):
        DeviceKey.load(tmp_path)


def test_two_that_make_the_key_at_once_get_the_same_one(tmp_path):
    """The slower one finds the name taken at its last step."""

    def slow(count):
        DeviceKey.load_or_create(tmp_path, chance("fast"))
        return chance("slow")(count)

    assert DeviceKey.load_or_create(tmp_path, slow).id == DeviceKey(chance("fast")(32)).id
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_no_temporary_file_stays(tmp_path):
    for number in range(3):
        write_private(tmp_path / "file", b"%d" % number)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert read_private(tmp_path / "file") == b"2"


def test_a_signature_is_of_one_key_and_one_message():
    ada, bob = device("ada"), device("bob")
    signature = ada.sign(b"message")
    assert verify(ada.public_key, b"message", signature)
    assert not verify(bob.public_key, b"message", signature)
    assert not verify(ada.public_key, b"massage", signature)


@pytest.mark.parametrize(
    ("key", "signature"), [(b"", b"s" * 64), (b"k" * 32, b""), (b"k" * 31, b"s" * 64), (b"\xff" * 32, b"\xff" * 64)]
)
def test_verifying_never_raises(key, signature):
    assert not verify(key, b"message", signature)
    assert not verify(key, b"m" * 5000, signature)


def test_the_secret_is_not_in_the_text_of_a_key():
    assert device("ada").private_pem().decode().splitlines()[1] not in repr(device("ada"))
