"""What this device knows of its own speed, and when it measures: scores, and rates of activities. Shell.

One thing is measured at a time, on the whole device: all peers of a user wait for the same lock, and whoever comes
after another finds what that one has measured. What the owner asks for is measured at once. What is needed by a job
waits until the device may work and a core is free, scores are refreshed when it has been idle for a while; both look
only when `looked` comes, so that an idle peer has no timer for them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from meshwit.bench.cache import cached_scores, default_folder, refresh_due, scores
from meshwit.bench.fingerprint import hardware
from meshwit.bench.load import DeviceLoad, When, is_idle, may_work
from meshwit.bench.scores import Scores, encode_scores
from meshwit.peer.mesh import needs, profile
from meshwit.peer.mesh.needs import Needs, ToldNeeds
from meshwit.peer.rate_apart import LIMIT_S, measure_apart
from meshwit.peer.rates import Rate, RateBook, RateError, encode_rates, has_benchmark, rate_text
from meshwit.peer.trust.errors import TrustError
from meshwit.peer.trust.locks import FileLock
from meshwit.plugins.discovery import installed

_log = logging.getLogger(__name__)

LOCK_FILE: Final = "measuring.lock"
LOCK_EVERY_S: Final = 0.25
LOCK_PATIENCE_S: Final = LIMIT_S + 30.0
"""Whoever holds the lock that long is stuck; then two measure at once."""
REFRESH_LOOK_EVERY_S: Final = 300.0
"""Whether scores are due. What makes them due takes hours, so that more often would only cost."""
IDLE_LOOKS: Final = 10
"""Looks at the load in a row, some seconds apart, that found the device idle: then its owner will hardly notice."""
FREE_CORES: Final = 0.75
"""A rate is of one core, and low where that has to be shared."""
BUSY_PATIENCE_S: Final = 15.0
"""How long a needed rate waits for that core: the job that needs it may take them all, and a low rate, which is
corrected while tasks run, tells more than none."""


class Tell(Protocol):
    """Tells all peers, this one included."""

    def __call__(self, topic: str, payload: bytes, expires_at: int = 0) -> None: ...


class Measuring:
    """See the module. `run` it; the rest may be called before.

    Args:
        tell: publishes a record.
        when: the owner lets the device work.
        capabilities: of the device, at any time.
        folder: of the caches; None for the user's own.
    """

    def __init__(
        self, tell: Tell, when: When, capabilities: Callable[[], Mapping[str, object]], folder: Path | None = None
    ) -> None:
        self._tell = tell
        self._when = when
        self._capabilities = capabilities
        self._folder = folder or default_folder()
        self._registry = installed()
        self._book: RateBook | None = None
        self._fingerprint = ""
        self._scores: Scores | None = None
        self._asked: dict[str, None] = {}
        self._needs = Needs()
        self._told = ToldNeeds()
        self._load: DeviceLoad | None = None
        self._idle_looks = 0
        self._waiting_since: float | None = None
        self._refresh_look_at = 0.0
        self._refresh_look_due = False
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    @property
    def own_score(self) -> float:
        """Of this device; 0 while it is not known."""
        return self._scores.score if self._scores is not None else 0.0

    async def run(self) -> None:
        """Tells what is known, measures the device if it never was, then whatever comes up. Does not end."""
        self._refresh_look_at = self._loop.time() + REFRESH_LOOK_EVERY_S
        book = await self._opened()
        if book.rates:
            self._tell_rates(book)
        await self._safely(self.scores(refresh=False))
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._refresh_look_due:
                self._refresh_look_due = False
                await self._safely(self._refresh_scores())
            while (activity := self._due(book)) is not None:
                await self._safely(self._measure_needed(book, activity))

    @staticmethod
    async def _safely(work: Awaitable[object]) -> None:
        """What fails once, such as a full disk, need not fail the next time."""
        try:
            await work
        except Exception:
            _log.exception("measuring failed")

    # --- what comes in -----------------------------------------------------------------------------------------

    def looked(self, load: DeviceLoad) -> None:
        """The device was looked at; every few seconds."""
        self._load = load
        self._idle_looks = self._idle_looks + 1 if is_idle(load) else 0
        now = self._loop.time()
        if now >= self._refresh_look_at and self._idle_looks >= IDLE_LOOKS:
            self._refresh_look_at = now + REFRESH_LOOK_EVERY_S
            self._refresh_look_due = True
        if self._refresh_look_due or self._asked or self._needs.first() is not None:
            self._woken.set()

    def need(self, activities: Iterable[str]) -> None:
        """A job of the owner uses these: to be measured, here and on all other peers."""
        offered = self._registry.offer.activities
        known = [offered[name].name for name in activities if has_benchmark(self._registry, name)]
        to_tell = self._told.add(known, self._loop.time())
        if to_tell:
            self._tell(needs.TOPIC, needs.encode_need(to_tell), int(time.time() + needs.KEPT_S))
        self._ask(known)

    def heard(self, payload: bytes) -> None:
        """Another peer says that a job will need something."""
        self._ask(needs.decode_need(payload))

    def _ask(self, activities: Iterable[str]) -> None:
        for activity in activities:
            if activity in self._registry.offer.activities and len(self._asked) < needs.ACTIVITIES_MAX:
                self._asked[activity] = None
                self._woken.set()

    # --- scores ------------------------------------------------------------------------------------------------

    async def scores(self, *, refresh: bool) -> Scores:
        """The scores of this device, from the cache or measured now; all peers are told."""
        async with self._device():
            return await self._measure_scores(refresh)

    async def _measure_scores(self, refresh: bool) -> Scores:
        found = await asyncio.to_thread(scores, self._folder, refresh)
        if self._scores is None or (found.measured_at, found.score) != (self._scores.measured_at, self._scores.score):
            self._scores = found
            self._tell(profile.SCORE, encode_scores(found))
        return found

    async def _refresh_scores(self) -> None:
        """Measures again if that is due; also tells what another process has measured meanwhile."""
        if self._load is None or may_work(self._when, self._load):
            return
        async with self._device():
            fingerprint = (await asyncio.to_thread(hardware)).fingerprint
            known = await asyncio.to_thread(cached_scores, self._folder, fingerprint)
            due = refresh_due(known, fingerprint, self._idle_looks > 0, time.time())
            if due:
                _log.info("measuring this device again: its scores are old")
            await self._measure_scores(due)

    # --- rates -------------------------------------------------------------------------------------------------

    async def rate(self, activity: str, *, refresh: bool) -> Rate:
        """The rate of this device at an activity, as it is known or measured now; all peers are told.

        Raises:
            RateError: there is none; says why.
        """
        found = self._registry.offer.activities.get(activity)
        if found is None:
            raise RateError(f"there is no activity `{activity}`")
        book = await self._opened()
        async with self._device():
            await asyncio.to_thread(book.read_again)
            known = None if refresh else book.rates.get(found.name)
            return known or await self._measure_rate(book, found.name)

    async def _measure_rate(self, book: RateBook, activity: str) -> Rate:
        rate = await measure_apart(activity)
        await asyncio.to_thread(book.add, rate)
        self._tell_rates(book)
        return rate

    def _due(self, book: RateBook) -> str | None:
        """What to measure now for somebody who needs it, of all that was asked."""
        now = self._loop.time()
        asked, self._asked = list(self._asked), {}
        self._needs.ask(book.needed(asked, self._capabilities()), now)
        first = self._needs.first()
        if first is None or self._load is None or may_work(self._when, self._load):
            self._waiting_since = None
            return None
        if self._waiting_since is None:
            self._waiting_since = now
        free = self._load.busy_cores <= max(0.0, self._load.cores - FREE_CORES)
        return first if free or now - self._waiting_since >= BUSY_PATIENCE_S else None

    async def _measure_needed(self, book: RateBook, activity: str) -> None:
        async with self._device():
            try:
                await asyncio.to_thread(book.read_again)
                if book.needed([activity], self._capabilities()):
                    rate = await self._measure_rate(book, activity)
                    _log.info("measured %s: %s", activity, rate_text(rate.per_s, rate.unit))
                else:
                    self._tell_rates(book)
            except RateError as reason:
                _log.info("%s", reason)
            finally:
                self._needs.tried(activity, self._loop.time())

    def _tell_rates(self, book: RateBook) -> None:
        self._tell(profile.RATES, encode_rates(book.rates.values()))

    async def _opened(self) -> RateBook:
        async with self._turn:
            if self._book is None:
                self._book = await asyncio.to_thread(self._open)
            return self._book

    def _open(self) -> RateBook:
        return RateBook(self._folder, hardware().fingerprint, self._registry)

    # --- one at a time -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _device(self) -> AsyncIterator[None]:
        """The device to oneself, as far as peers of this user go."""
        async with self._turn:
            lock = await self._locked()
            try:
                yield
            finally:
                if lock is not None:
                    lock.release()

    async def _locked(self) -> FileLock | None:
        """The lock; None where there can be none, or its holder is stuck."""
        until = self._loop.time() + LOCK_PATIENCE_S
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            while (lock := FileLock.take(self._folder / LOCK_FILE)) is None and self._loop.time() < until:
                await asyncio.sleep(LOCK_EVERY_S)
        except (OSError, TrustError):
            return None
        return lock
