"""Files: reading, writing, finding and hashing, never outside the folders that are allowed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest
from calling import Desk

from meshwit.plugins import files
from meshwit.plugins.context import Context
from meshwit.plugins.files import Files, media_type_of

links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path, Files())
    for name in ("b.txt", "a.txt", ".hidden", "photos/cat.JPG", "photos/2024/dog.jpg", "photos/2024/x/owl.jpg"):
        path = made.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "secret.txt").write_text("secret")
    return made


# --- finding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[b-z].txt", ["b.txt"]),
        ("./a.txt", ["a.txt"]),
        ("*", ["a.txt", "b.txt"]),
        (".*", [".hidden"]),
        ("photos/*", ["photos/cat.JPG"]),
        ("**/*.jpg", ["photos/2024/dog.jpg", "photos/2024/x/owl.jpg"]),
        ("photos/**", ["photos/2024/dog.jpg", "photos/2024/x/owl.jpg", "photos/cat.JPG"]),
        ("**/**/2024/**/**/*.jpg", ["photos/2024/dog.jpg", "photos/2024/x/owl.jpg"]),
        ("**/*.txt", ["a.txt", "b.txt"]),
        ("*/*/*", ["photos/2024/dog.jpg"]),
        ("nothing/*", []),
    ],
)
def test_patterns_find_files_in_order(desk: Desk, pattern: str, found: list[str]) -> None:
    assert desk("Files.Glob", pattern) == found


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*", "photos/../../*", "./"])
def test_patterns_stay_below_the_first_folder(desk: Desk, pattern: str) -> None:
    with pytest.raises(ValueError, match="must be relative"):
        desk("Files.Glob", pattern)


def test_too_many_files_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FOUND_MAX", 1)
    with pytest.raises(ValueError, match="matches more than 1 files"):
        desk("Files.Glob", "*")
    monkeypatch.setattr(files, "LOOKED_AT_MAX", 3)
    with pytest.raises(ValueError, match="looks at more than 3 names"):
        desk("Files.Glob", "**/nothing")


@links
def test_links_are_followed_but_never_out(desk: Desk, tmp_path: Path) -> None:
    (desk.root / "out").symlink_to(tmp_path)
    (desk.root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (desk.root / "in").symlink_to(desk.root / "photos")
    (desk.root / "loop").symlink_to(desk.root / "loop")
    (desk.root / "photos" / "up").symlink_to(desk.root)
    assert desk("Files.Glob", "*.txt") == ["a.txt", "b.txt"]
    assert desk("Files.Glob", "out/*") == []
    assert desk("Files.Glob", "in/*") == ["in/cat.JPG"]
    assert len(desk("Files.Glob", "**/*.jpg")) == 2
    for path in ("out/secret.txt", "out.txt"):
        for name in ("Files.Read", "Files.ReadText", "Files.Hash", "Files.Size", "Files.Exists"):
            with pytest.raises(PermissionError, match="outside the folders"):
                desk(name, path)
        with pytest.raises(PermissionError, match="outside the folders"):
            desk("Files.WriteText", path, "overwritten")
    assert (tmp_path / "secret.txt").read_text() == "secret"
    with pytest.raises((ValueError, OSError)):
        desk("Files.Read", "loop")


# --- reading -----------------------------------------------------------------------------------------------------


def test_reading(desk: Desk) -> None:
    blob = desk("Files.Read", "photos/cat.JPG")
    assert blob.read() == b"photos/cat.JPG"
    assert blob.media_type == "image/jpeg"
    assert desk("Files.Read", str(desk.root / "a.txt")).media_type == "text/plain"
    assert desk("Files.ReadText", "a.txt") == "a.txt"
    assert desk("Files.Size", "photos/cat.JPG") == 14
    assert desk("Files.Exists", "photos") is True
    assert desk("Files.Exists", "photos/none") is False


def test_texts_in_other_encodings(desk: Desk) -> None:
    (desk.root / "latin.txt").write_bytes("État".encode("latin-1"))
    (desk.root / "mark.txt").write_bytes("\ufeffÉtat".encode())
    assert desk("Files.ReadText", "latin.txt", "latin-1") == "État"
    assert desk("Files.ReadText", "mark.txt") == "État"
    with pytest.raises(ValueError, match=r"latin\.txt is no text in utf-8: .* position 0"):
        desk("Files.ReadText", "latin.txt")


def test_what_cannot_be_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r'there is no file "c\.txt"'):
        desk("Files.Read", "c.txt")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        desk("Files.Read", "photos")
    for path, reason in (("", "empty"), ("a\0b", "NUL")):
        with pytest.raises(ValueError, match=reason):
            desk("Files.Read", path)
    monkeypatch.setattr(files, "TEXT_BYTES_MAX", 4)
    with pytest.raises(ValueError, match=r"a\.txt has 5 B, more than a String holds: use Files\.Read"):
        desk("Files.ReadText", "a.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names there")
def test_a_pipe_is_not_waited_for(desk: Desk) -> None:
    os.mkfifo(desk.root / "pipe")
    with pytest.raises(ValueError, match="is a device, not a file"):
        desk("Files.Read", "pipe")


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "photos/../../secret.txt", "/"])
def test_other_folders_are_refused(desk: Desk, path: str) -> None:
    for name in ("Files.Read", "Files.ReadText", "Files.Exists", "Files.Hash"):
        with pytest.raises(PermissionError, match="outside the folders that this device allows"):
            desk(name, path)


def test_a_device_that_allows_no_folder_says_how_to(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="--root FOLDER"):
        Files().Glob(Context(desk.blobs, [], tmp_path), "*")


def test_hashes(desk: Desk) -> None:
    assert desk("Files.Hash", "a.txt") == hashlib.sha256(b"a.txt").hexdigest()
    assert desk("Files.Hash", "a.txt", "md5") == hashlib.md5(b"a.txt").hexdigest()
    for algorithm in files.HASHES:
        assert len(desk("Files.Hash", "a.txt", algorithm)) >= 32
    with pytest.raises(ValueError, match='no hash "crc32" here: there are sha256'):
        desk("Files.Hash", "a.txt", "crc32")


# --- writing -----------------------------------------------------------------------------------------------------


def test_writing_makes_folders_and_gives_a_path_that_reads(desk: Desk) -> None:
    path = desk("Files.WriteText", "new/folder/words.txt", "État\n")
    assert path == "new/folder/words.txt"
    assert (desk.root / path).read_bytes() == "État\n".encode()
    blob = desk.blobs.put(b"\x00\x01" * 100_000, "image/png")
    assert desk("Files.Write", str(desk.root / "out.png"), blob) == "out.png"
    assert desk("Files.Read", "out.png") == blob
    assert desk("Files.WriteText", "latin.txt", "é", encoding="latin-1") == "latin.txt"
    assert (desk.root / "latin.txt").read_bytes() == b"\xe9"


def test_a_second_folder_is_named_in_full(desk: Desk, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    context = Context(desk.blobs, [desk.root, second], tmp_path / "scratch")
    path = Files().WriteText(context, str(second / "x.txt"), "x")
    assert path == (second / "x.txt").as_posix()
    assert Files().ReadText(context, path) == "x"


def test_a_file_is_replaced_as_a_whole_or_not_at_all(desk: Desk) -> None:
    target = desk.root / "a.txt"
    target.chmod(0o640)
    desk("Files.WriteText", "a.txt", "new")
    assert target.read_text() == "new"
    if sys.platform != "win32":
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
    gone = desk.blobs.put(b"gone")
    gone.path.unlink()
    with pytest.raises(FileNotFoundError, match="not on this device"):
        desk("Files.Write", "a.txt", gone)
    with pytest.raises(ValueError, match="cannot be written in ascii"):
        desk("Files.WriteText", "a.txt", "é", encoding="ascii")
    assert target.read_text() == "new"


def test_a_write_that_fails_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(desk.root.rglob("*"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        desk("Files.WriteText", "b.txt", "new")
    assert (desk.root / "b.txt").read_text() == "b.txt"
    assert sorted(desk.root.rglob("*")) == before


def test_what_cannot_be_written(desk: Desk) -> None:
    for path in ("photos", "new/", "."):
        with pytest.raises(ValueError, match="is a folder"):
            desk("Files.WriteText", path, "x")
    with pytest.raises(PermissionError, match="outside"):
        desk("Files.WriteText", "../new.txt", "x")
    with pytest.raises(OSError, match=r"a\.txt"):
        desk("Files.WriteText", "a.txt/below", "x")
    with pytest.raises(ValueError, match="is no text encoding"):
        desk("Files.WriteText", "x.txt", "x", "klingon")


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"), [("photos/cat.jpg", "cat.jpg"), ("a", "a"), ("a/b/", "b"), (r"c:\x\y.txt", "y.txt"), ("", "")]
)
def test_names(desk: Desk, path: str, name: str) -> None:
    assert desk("Files.Name", path) == name


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.png", "image/png"),
        ("a.JPEG", "image/jpeg"),
        ("a.mp4", "video/mp4"),
        ("a.blend", "application/x-blender"),
        ("a.npy", "application/x-numpy"),
        ("a.md", "text/markdown"),
        ("a.tar.gz", "application/gzip"),
        ("a.unknown", "application/octet-stream"),
        ("README", "application/octet-stream"),
    ],
)
def test_media_types(name: str, media_type: str) -> None:
    assert media_type_of(name) == media_type


def test_paths_mean_the_leaders_device(desk: Desk) -> None:
    for name, activity in desk.offer.activities.items():
        if name.startswith("Files.") and name != "Files.Name":
            assert activity.local
            assert "context" not in [one.name for one in activity.forms[0].parameters]
            assert activity.volatile or activity.effect


@links
def test_names_that_lead_nowhere_or_are_no_text_are_passed_over(desk: Desk) -> None:
    (desk.root / "loop").symlink_to(desk.root / "loop")
    with contextlib.suppress(OSError):  # some file systems take only Unicode
        (desk.root / "c\udcff.txt").touch()

    assert desk("Files.Glob", "**/*.txt") == ["a.txt", "b.txt"]
    assert desk("Files.Glob", "*/*.JPG") == ["photos/cat.JPG"]


def test_a_path_through_a_file_is_refused(desk: Desk) -> None:
    with pytest.raises(OSError, match=r'"a.txt/b/c.txt" leads through what is no folder'):
        desk("Files.WriteText", "a.txt/b/c.txt", "x")
