"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_sessionstart() -> None:
    """Processes that tests start end by signals, whatever shell started the tests."""
    # What is ignored stays so over exec: after `nohup`, or in the background of a script, no child would hear of it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)  # children get the default, these tests go on
