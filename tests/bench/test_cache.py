"""The cache of scores: by hardware, safe against broken files, refreshed when nobody is disturbed."""

from __future__ import annotations

import msgspec
import pytest

from meshwit.bench.cache import (
    FILE,
    FINGERPRINTS_MAX,
    HISTORY_MAX,
    REFRESH_AFTER_S,
    REFRESH_DISTURBED_AFTER_S,
    cached_scores,
    refresh_due,
    scores,
    write_whole,
)
from meshwit.bench.scores import Measured, scores_of


class Device:
    """A device whose probes find what is set, and count how often they are asked."""

    def __init__(self, folder):
        self.folder = folder
        self.measured = Measured(500.0, 2000.0, 20.0, 1000.0, 0.0, 4, 1e9, 2.0)
        self.probed = 0

    def probe(self, folder, on_probe):
        assert folder == self.folder
        self.probed += 1
        return msgspec.structs.replace(self.measured, measured_at=1e9 + self.probed)

    def becomes(self, **changes):
        self.measured = msgspec.structs.replace(self.measured, **changes)

    def scores(self, refresh=False, fingerprint="here"):
        return scores(self.folder, refresh, fingerprint=fingerprint, probe=self.probe)


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path / "bench")


def test_measured_once_and_then_known(device):
    first = device.scores()
    assert (first.score, first.fingerprint, device.probed) == (100, "here", 1)
    assert device.scores() == first == cached_scores(device.folder, "here")
    assert device.probed == 1


def test_other_hardware_is_measured_on_its_own(device):
    device.scores()
    assert cached_scores(device.folder, "there") is None
    device.becomes(all_per_s=4000.0)
    assert device.scores(fingerprint="there").score == 200
    assert device.scores().score == 100
    assert device.probed == 2


def test_a_refresh_under_load_does_not_make_the_device_slow(device):
    device.scores()
    device.becomes(all_per_s=700.0)
    again = device.scores(refresh=True)
    assert (again.score, again.measured_at) == (100, 1e9 + 2)


def test_a_device_that_became_slower_is_believed_in_the_end(device):
    device.scores()
    device.becomes(all_per_s=700.0)
    found = [device.scores(refresh=True).score for _ in range(HISTORY_MAX)]
    assert found == [pytest.approx(100)] * (HISTORY_MAX - 1) + [pytest.approx(35)]


def test_a_faster_result_counts_at_once(device):
    device.scores()
    device.becomes(all_per_s=4000.0)
    assert device.scores(refresh=True).score == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"here": []}',
        b'{"here": [{}]}',
        b'{"here": [{"single_per_s": 1e99}]}',
        b"[" * 100_000,
        b'{"here": [{"single_per_s": -5.0, "all_per_s": 1.0, "memory_gb_s": 1.0, "disk_mb_s": 1.0, "gpu_tflops": 0.0,'
        b'"cores": 4, "measured_at": 1e9, "took_s": 1.0}]}',
    ],
    ids=range(10),
)
def test_a_broken_file_is_measured_anew(device, content):
    device.folder.mkdir()
    (device.folder / FILE).write_bytes(content)
    assert cached_scores(device.folder, "here") is None
    assert device.scores().score == 100
    assert device.probed == 1
    assert device.scores().score == 100
    assert device.probed == 1


def test_a_torn_file_is_measured_anew(device):
    device.scores()
    whole = (device.folder / FILE).read_bytes()
    (device.folder / FILE).write_bytes(whole[: len(whole) // 2])
    assert device.scores().score == 100
    assert device.probed == 2


def test_a_folder_that_cannot_be_written_costs_only_the_memory(device):
    device.folder.write_text("a file where the folder should be")
    assert device.scores().score == 100
    assert device.scores().score == 100
    assert device.probed == 2


def test_the_file_does_not_grow_without_end(device):
    for number in range(3 * FINGERPRINTS_MAX):
        device.scores(fingerprint=f"f{number}")
    for _ in range(3 * HISTORY_MAX):
        device.scores(refresh=True)
    kept = msgspec.json.decode((device.folder / FILE).read_bytes())
    assert len(kept) == FINGERPRINTS_MAX
    assert len(kept["here"]) == HISTORY_MAX
    assert list(device.folder.iterdir()) == [device.folder / FILE]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    assert not write_whole(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


KNOWN = scores_of(Measured(500.0, 2000.0, 20.0, 1000.0, 0.0, 4, 1e9, 2.0), "here")
DISTURBED = msgspec.structs.replace(KNOWN, others=0.4)


@pytest.mark.parametrize(
    ("known", "fingerprint", "idle", "after_s", "due"),
    [
        (KNOWN, "here", True, 60.0, False),
        (KNOWN, "here", True, REFRESH_AFTER_S - 1, False),
        (KNOWN, "here", True, REFRESH_AFTER_S + 1, True),
        (KNOWN, "here", False, REFRESH_AFTER_S + 1, False),
        (KNOWN, "there", True, 60.0, True),
        (KNOWN, "there", False, 60.0, False),
        (None, "here", True, 0.0, True),
        (None, "here", False, 0.0, False),
        (KNOWN, "here", True, -60.0, True),
        (DISTURBED, "here", True, 60.0, False),
        (DISTURBED, "here", True, REFRESH_DISTURBED_AFTER_S + 1, True),
    ],
)
def test_when_to_measure_again(known, fingerprint, idle, after_s, due):
    assert refresh_due(known, fingerprint, idle, 1e9 + after_s) is due
