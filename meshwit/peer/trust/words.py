"""Two words that people compare, and the codes that they type: `41-otter-violin`.

There are 2048 words of 4 to 7 letters; any two differ in two letters or more and none sounds like another. Two words
say 22 bits: enough where every guess has to be made against a living device that counts them, for nothing else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from functools import lru_cache
from importlib import resources
from typing import Final

from meshwit.peer.trust.keys import Entropy

WORD_COUNT: Final = 2048
NUMBER_MIN: Final = 10
NUMBER_MAX: Final = 99
_TEXT_LENGTH_MAX: Final = 64
_SPLIT: Final = re.compile(r"[\s_\-.,–—]+")


def two_words(digest: bytes) -> str:
    """The first 22 bits of a digest as people say them: `otter violin`."""
    bits = int.from_bytes(digest[:3], "big") >> 2
    words = all_words()
    return f"{words[bits >> 11]} {words[bits & (WORD_COUNT - 1)]}"


def make_code(entropy: Entropy) -> str:
    """A fresh code. Its number only says which code is meant; the words are what has to be guessed."""
    span = NUMBER_MAX - NUMBER_MIN + 1
    number = NUMBER_MIN + int.from_bytes(entropy(4), "big") % span
    return f"{number}-{two_words(entropy(3)).replace(' ', '-')}"


def read_code(text: str) -> str:
    """The code that somebody typed, as `make_code` writes it.

    Raises:
        ValueError: it is none; says in plain words what is wrong, with the word that was probably meant.
    """
    pieces = [each for each in _SPLIT.split(text.strip().lower()[:_TEXT_LENGTH_MAX]) if each]
    joined = re.fullmatch(r"(\d+)([a-z]+)", pieces[0]) if pieces else None
    if joined:
        pieces = [joined[1], joined[2], *pieces[1:]]
    if len(pieces) != 3 or not pieces[0].isascii() or not pieces[0].isdecimal():
        raise ValueError("a code is a number and two words, like 41-otter-violin")
    number = int(pieces[0])
    if not NUMBER_MIN <= number <= NUMBER_MAX:
        raise ValueError(f"a code begins with a number from {NUMBER_MIN} to {NUMBER_MAX}, not {number}")
    for word in pieces[1:]:
        _require_word(word)
    return f"{number}-{pieces[1]}-{pieces[2]}"


def with_number(code: str, taken: Collection[int]) -> str:
    """The code, with the next number that is not taken if its own is; not all may be."""
    number, words = code.split("-", 1)
    count = NUMBER_MAX - NUMBER_MIN + 1
    following = (NUMBER_MIN + (int(number) - NUMBER_MIN + step) % count for step in range(count))
    return f"{next(each for each in following if each not in taken)}-{words}"


def code_number(code: str) -> int:
    """The number in front of a code that was read."""
    return int(code.split("-", 1)[0])


@lru_cache(maxsize=1)
def all_words() -> tuple[str, ...]:
    """The words in order; their order is part of the protocol."""
    text = resources.files(__package__).joinpath("words.txt").read_text(encoding="ascii")
    return tuple(text.split())


def _require_word(word: str) -> None:
    words = all_words()
    if word in words:
        return
    shown = "".join(each for each in word if each.isprintable())
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.7)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{shown!r} is none of the words of a code{meant}")
