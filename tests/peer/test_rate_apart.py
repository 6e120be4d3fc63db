"""Measuring an activity in a process of its own: its result, its failures, its end."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from meshwit.peer.rate_apart import measure_apart
from meshwit.peer.rates import RateError, controller_versions
from meshwit.plugins.discovery import installed

MEASURABLE = "GustavsonMultiply"


def processes():
    """All below this one; other tests may have some."""
    return set(psutil.Process().children(recursive=True))


def measured(activity, limit_s=60.0):
    """The rate, with nothing left behind."""

    async def main():
        async with asyncio.timeout(90):
            return await measure_apart(activity, limit_s)

    before = processes()
    try:
        return asyncio.run(main())
    finally:
        assert processes() <= before


def test_an_installed_activity_has_a_rate():
    rate = measured(MEASURABLE)

    assert rate.activity == MEASURABLE
    assert rate.per_s > 0
    assert rate.unit == "work/s"
    assert rate.version in controller_versions(installed()).values()


def test_an_activity_that_is_not_installed_has_none():
    with pytest.raises(RateError, match="there is no activity `Nix`"):
        measured("Nix")


def test_an_activity_without_a_benchmark_has_none():
    with pytest.raises(RateError, match="has no benchmark"):
        measured("NewGuid")


def test_a_benchmark_that_takes_too_long_is_ended():
    """With its process and the worker process below that."""
    with pytest.raises(RateError, match=r"took longer than 0\.05 s"):
        measured(MEASURABLE, 0.05)
