"""What a peer remembers from one start to the next; damaged files cost that memory and nothing else."""

from __future__ import annotations

import os
import stat

import pytest

from meshwit.peer.mesh.kept import DEVICE_FILE, FILE, Remembered, device_id, load_kept, ports_beside, save_kept


def test_what_was_saved_is_remembered_and_private(tmp_path):
    save_kept(tmp_path, Remembered("den", 7723))
    assert load_kept(tmp_path) == Remembered("den", 7723)
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"port": "high"}', b'{"name": 7}', b'{"a":' * 5000,
     b'{"name": "x"' + b" " * 99999],
)  # fmt: skip
def test_a_damaged_file_is_as_good_as_none(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert load_kept(tmp_path) == Remembered()
    assert load_kept(tmp_path / "missing") == Remembered()


@pytest.mark.parametrize("port", [-1, 0, 65536, 2**40])
def test_a_port_that_cannot_be_is_none(tmp_path, port):
    (tmp_path / FILE).write_bytes(b'{"name": "a\\u001b b", "port": %d}' % port)
    assert load_kept(tmp_path) == Remembered("a-b", 0)


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path):
    save_kept(tmp_path / "missing", Remembered("den"))
    assert device_id(tmp_path / "missing") == ""


def test_peers_of_one_home_are_of_one_device_and_others_of_another(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert device_id(one) == device_id(one) != device_id(other)
    assert device_id(one).isalnum()


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 20, b"!" * 20, b"a" * 2000])
def test_a_damaged_device_id_is_made_anew(tmp_path, content):
    path = tmp_path / DEVICE_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    made = device_id(tmp_path)
    assert made and made == device_id(tmp_path) and made.encode() != content


def test_other_peers_of_the_home_are_where_those_that_run_listen(tmp_path):
    for name, port, runs in (("1", 7723, True), ("2", 7724, True), ("3", 7725, False), ("4", 0, True)):
        folder = tmp_path / "peers" / name
        folder.mkdir(parents=True)
        save_kept(folder, Remembered("", port))
        if runs:
            (folder / "control.json").write_bytes(b"{}")
    assert ports_beside(tmp_path / "peers" / "2") == [7723]
    assert ports_beside(tmp_path / "elsewhere" / "peers" / "1") == []
