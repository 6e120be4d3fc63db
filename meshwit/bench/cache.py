"""Scores that need no measuring: a JSON file with the last measurements of each hardware fingerprint.

A file that cannot be read, whatever the reason, is as good as none: everything is measured anew. One that cannot be
written costs only that the next start measures again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from meshwit.bench.fingerprint import hardware
from meshwit.bench.probes import OnProbe, measure
from meshwit.bench.scores import DISTURBED, Measured, Scores, best_of, is_plausible, scores_of

FILE: Final = "scores.json"
HISTORY_MAX: Final = 3
"""Measurements kept of one fingerprint. More, and a device that became slower is believed fast for weeks; fewer, and
one measurement under load makes it slow until the next."""
FINGERPRINTS_MAX: Final = 8
"""A device has several: containers with quotas of their own, systems beside each other, versions of Python."""
REFRESH_AFTER_S: Final = 7 * 24 * 3600.0
REFRESH_DISTURBED_AFTER_S: Final = 3600.0
"""For scores that were measured beside others' work: soon, but a device that never rests is not measured all day."""
_FILE_BYTES_MAX: Final = 1 << 20

History = dict[str, list[Measured]]


def default_folder() -> Path:
    """Where this user's measurements are, for all peers on the device."""
    return Path(platformdirs.user_cache_dir("meshwit", appauthor=False)) / "bench"


def scores(
    folder: Path,
    refresh: bool = False,
    on_probe: OnProbe | None = None,
    *,
    fingerprint: str = "",
    probe: Callable[[Path, OnProbe | None], Measured] = measure,
) -> Scores:
    """The scores of this device: from the cache, or measured now and kept. Blocks while it measures.

    Args:
        folder: of the cache; its disk is the one that is measured.
        refresh: measure in any case. The higher of what the last three measurements say counts, see `best_of`.
        on_probe: told what is being measured.
        fingerprint: of the hardware, where it is known already.
        probe: measures.
    """
    fingerprint = fingerprint or hardware().fingerprint
    history = _read(folder / FILE)
    known = history.get(fingerprint, [])
    if refresh or not known:
        known = [*known, probe(folder, on_probe)][-HISTORY_MAX:]
        _write(folder / FILE, {**history, fingerprint: known})
    return scores_of(best_of(known), fingerprint)


def cached_scores(folder: Path, fingerprint: str) -> Scores | None:
    """What is known of that hardware; None where it was never measured. Reads one small file."""
    known = _read(folder / FILE).get(fingerprint)
    return scores_of(best_of(known), fingerprint) if known else None


def refresh_due(known: Scores | None, fingerprint: str, idle: bool, now: float) -> bool:
    """Whether to measure again in the background: the scores are old, or of other hardware, and nobody is disturbed.

    Args:
        known: what is believed at present.
        fingerprint: of the hardware as it is now.
        idle: whether the device has nothing to do, see `load.is_idle`; measured under load, results are low.
        now: seconds since 1970. Scores from the future, which a clock set back makes, are old too.
    """
    if not idle:
        return False
    if known is None or known.fingerprint != fingerprint:
        return True
    keeps_s = REFRESH_DISTURBED_AFTER_S if known.others > DISTURBED else REFRESH_AFTER_S
    return not 0 <= now - known.measured_at < keeps_s


def _read(file: Path) -> History:
    try:
        with file.open("rb") as opened:
            said = msgspec.json.decode(opened.read(_FILE_BYTES_MAX), type=History)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    kept = {key: [one for one in known if is_plausible(one)][-HISTORY_MAX:] for key, known in said.items()}
    return {key: known for key, known in kept.items() if known}


def _write(file: Path, history: History) -> None:
    newest = sorted(history, key=lambda key: history[key][-1].measured_at)[-FINGERPRINTS_MAX:]
    write_whole(file, msgspec.json.format(msgspec.json.encode({key: history[key] for key in newest})))


def write_whole(file: Path, content: bytes) -> bool:
    """Replace a file so that readers see the old or the new content; whether it could be. Not flushed to the disk."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError:
        return False
    try:
        with open(descriptor, "wb") as opened:
            opened.write(content)
        os.replace(name, file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        return False
    return True
