"""The codes that a member shows and that let somebody in: one use, ten minutes, three wrong tries.

Nobody can test a guess without this book hearing of it, for the joiner has to prove first that it knows the code. So
three wrong tries, whoever made them and over however many connections, close all codes for a minute: in the life of a
code some thirty guesses at 4,194,304 possibilities. Pure; `now` is seconds, of any clock that goes forward.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from meshwit.peer.trust.keys import Entropy
from meshwit.peer.trust.words import code_number, make_code, with_number

CODE_LIFETIME_S: Final = 600.0
CODES_MAX: Final = 8
WRONG_MAX: Final = 3
CLOSED_S: Final = 60.0
BEGUN_MAX: Final = 20
"""Exchanges begun per minute: each costs some hundredths of a second of a core, before anything is proven."""
BEGUN_WINDOW_S: Final = 60.0


class CodeBook:
    """The open codes of one peer."""

    def __init__(self) -> None:
        self._codes: dict[int, tuple[str, float]] = {}
        self._wrong = 0
        self._closed_until = float("-inf")
        self._begun: deque[float] = deque(maxlen=BEGUN_MAX)

    def new(self, now: float, entropy: Entropy) -> str:
        """A new code. Raises ValueError if eight are open already."""
        self._expire(now)
        if len(self._codes) >= CODES_MAX:
            raise ValueError(f"{CODES_MAX} codes are open already: use one, or wait until they expire")
        code = with_number(make_code(entropy), self._codes)
        self._codes[code_number(code)] = (code, now + CODE_LIFETIME_S)
        return code

    def begin(self, now: float, number: int) -> str | None:
        """The code that a joiner means; None if none begins with that number. Ask `closed_s` before."""
        self._expire(now)
        self._begun.append(now)
        found = self._codes.get(number)
        return found[0] if found else None

    def closed_s(self, now: float) -> float:
        """For how many more seconds no code may be tried; 0 if it may."""
        return max(0.0, self._closed_until - now)

    def busy_s(self, now: float) -> float:
        """For how many more seconds no exchange may begin, because too many have; 0 if it may."""
        if len(self._begun) < BEGUN_MAX:
            return 0.0
        return max(0.0, self._begun[0] + BEGUN_WINDOW_S - now)

    def valid(self, code: str, now: float) -> bool:
        """Whether the code is still to be used."""
        self._expire(now)
        return any(each == code for each, _ in self._codes.values())

    def wrong(self, now: float) -> None:
        """A proof failed. The third closes all codes for a minute."""
        self._wrong += 1
        if self._wrong >= WRONG_MAX:
            self._wrong = 0
            self._closed_until = now + CLOSED_S

    def used(self, code: str) -> None:
        """Somebody came in with it: it is good for nothing now, and the wrong tries are forgiven."""
        self._codes = {number: each for number, each in self._codes.items() if each[0] != code}
        self._wrong = 0

    def open_codes(self, now: float) -> dict[str, float]:
        """The codes, each with the seconds that it has left."""
        self._expire(now)
        return {code: until - now for code, until in self._codes.values()}

    def _expire(self, now: float) -> None:
        self._codes = {number: each for number, each in self._codes.items() if now < each[1]}
