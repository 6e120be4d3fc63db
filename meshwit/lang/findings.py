"""Where the checker's findings are collected, and how unknown names are answered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from meshwit.lang.diagnostics import Diagnostic, Severity
from meshwit.lang.tree import Span

TEXT_CHARS_MAX = 600
NAME_CHARS_MAX = 80
"""Longer names are not compared with known ones: nobody mistypes them, and comparing is quadratic."""


class Findings:
    """Diagnostics in the order they are found."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    def error(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Note what keeps the script from running."""
        self.found.append(Diagnostic(code, clipped(message), span, clipped(label), clipped(help)))

    def warn(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Note what is probably not meant."""
        self.found.append(Diagnostic(code, clipped(message), span, clipped(label), clipped(help), Severity.WARNING))


def clipped(text: str) -> str:
    """A message without the middle of whatever endless name or literal it quotes."""
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[: TEXT_CHARS_MAX - 100]}…{text[-99:]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?` with the nearest known name, or an empty text."""
    if len(name) > NAME_CHARS_MAX:
        return ""
    candidates = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), candidates, n=1, cutoff=0.6)
    if not near:
        tails = {candidate.rpartition(".")[2].casefold(): candidate for candidate in candidates.values()}
        near = difflib.get_close_matches(name.rpartition(".")[2].casefold(), tails, n=1, cutoff=0.75)
        candidates = tails
    return f"did you mean `{candidates[near[0]]}`?" if near else ""
