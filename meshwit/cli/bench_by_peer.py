"""Measuring by the peer of this device, where one runs: so all other peers hear the result.

Whatever keeps the peer from answering is no reason not to measure: then the caller does it itself.
"""

from __future__ import annotations

from pathlib import Path

from meshwit.bench.cache import cached_scores
from meshwit.bench.scores import Scores
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.terminal import harmless
from meshwit.peer.control.api import PeerError, RateView
from meshwit.peer.control.client import ControlClient, NoAnswerError, OtherVersionError, find_all


def running_peer(home: Path | None = None) -> ControlClient | None:
    """The first peer of this device that answers: all of a user share what they measure."""
    running, _ = find_all(home)
    return running[0].client if running else None


def scores_by(peer: ControlClient, folder: Path, fingerprint: str) -> Scores | None:
    """The scores of this device as the peer measures them now; None where it cannot, or keeps them elsewhere.

    Args:
        peer: runs on this device.
        folder: of our cache, which is the peer's too unless it was started in another environment.
        fingerprint: of the hardware.

    Raises:
        CommandError: the peer says why not.
    """
    before = cached_scores(folder, fingerprint)
    try:
        peer.bench()
    except (NoAnswerError, OtherVersionError):
        return None
    except PeerError as error:
        raise CommandError(harmless(error.message), error.hint, ExitCode.FAILED) from None
    after = cached_scores(folder, fingerprint)
    if after is None or (before is not None and after.measured_at <= before.measured_at):
        return None
    return after


def rate_by(peer: ControlClient, activity: str) -> RateView | None:
    """The rate of this device at an activity as the peer measures it now; None where it cannot be asked.

    Raises:
        CommandError: the peer says why there is none.
    """
    try:
        return peer.rate(activity)
    except (NoAnswerError, OtherVersionError):
        return None
    except PeerError as error:
        raise CommandError(harmless(error.message), error.hint, ExitCode.FAILED) from None
