"""Progress on a terminal: a bar per step with rate and estimate, a lane per worker process, and above them a scroll
of what the script traces and what activities print.

Only the newest steps are shown, and as many lanes as the terminal has room for. Everything that a colour says stands
there in words too.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from meshwit import events
from meshwit.cli.progress_state import ProgressState, Step, lane_text, rate_text
from meshwit.cli.terminal import duration_text
from meshwit.lazy import lazy_module

if TYPE_CHECKING:
    from rich import console as rich_console
    from rich import live as rich_live
    from rich import progress_bar as rich_progress_bar
    from rich import table as rich_table
    from rich import text as rich_text
else:
    rich_console, rich_live = lazy_module("rich.console"), lazy_module("rich.live")
    rich_progress_bar, rich_table, rich_text = (
        lazy_module(f"rich.{name}") for name in ("progress_bar", "table", "text")
    )

STEPS_MAX = 5
LANES_MAX = 16


class LiveProgress:
    """Draws on stderr, ten times a second. Events may come from any thread."""

    def __init__(self) -> None:
        self.state = ProgressState()
        self.status = ""
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._ended = False
        self._live = rich_live.Live(
            console=rich_console.Console(file=sys.stderr, highlight=False, markup=False, emoji=False),
            get_renderable=self._drawn,
            refresh_per_second=10,
            redirect_stdout=False,
        )

    def __enter__(self) -> LiveProgress:
        self._live.start(refresh=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the steps on the screen, without the lanes."""
        self._ended = True
        self._live.stop()

    def __call__(self, event: events.JobEvent) -> None:
        """Take an event in; what is worth a line scrolls by above the bars."""
        with self._lock:
            said = self.state.fold(event)
        if said:
            self.say(said)

    def say(self, text: str) -> None:
        """A line of its own, above the bars."""
        self._live.console.print(rich_text.Text(text))

    def lost(self) -> bool:
        """A terminal that is gone sends a signal of its own."""
        return False

    def _drawn(self) -> rich_console.RenderableType:
        with self._lock:
            return rich_console.Group(*self._parts())

    def _parts(self) -> Iterator[rich_console.RenderableType]:
        if self.state.steps:
            yield self._steps()
        if not self._ended:
            yield from self._lanes()
            yield rich_text.Text(self._summary(), style="dim", no_wrap=True, overflow="ellipsis")

    def _steps(self) -> rich_table.Table:
        grid = rich_table.Table.grid(padding=(0, 2))
        shown = list(self.state.steps.values())[-STEPS_MAX:]
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
        grid.add_column(ratio=1, min_width=10, max_width=40)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True)
        for step in shown:
            bar = rich_progress_bar.ProgressBar(total=max(step.total, 1), completed=step.done, width=None)
            grid.add_row(step.activity, bar, f"{step.done}/{step.total}", self._how_it_goes(step))
        return grid

    @staticmethod
    def _how_it_goes(step: Step) -> str:
        parts = [f"{step.failed} failed"] if step.failed else []
        if step.ended_at is not None:
            parts.append(f"done in {duration_text(step.took_s)}")
        else:
            parts += [rate_text(step.rate)] if step.rate else []
            parts += [step.estimate] if step.estimate else []
        return ", ".join(parts)

    def _lanes(self) -> Iterator[rich_console.RenderableType]:
        if not self.state.lanes:
            return
        room = min(LANES_MAX, max(1, shutil.get_terminal_size().lines - STEPS_MAX - 4))
        grid = rich_table.Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        for lane in self.state.lanes[:room]:
            style = "" if lane.state == "running" else "dim"
            grid.add_row(f"worker {lane.worker}", lane_text(lane), f"{lane.tasks_done} done", style=style)
        yield grid
        if len(self.state.lanes) > room:
            rest = self.state.lanes[room:]
            busy = sum(lane.state == "running" for lane in rest)
            yield rich_text.Text(f"and {len(rest)} more workers, {busy} of them running", style="dim")

    def _summary(self) -> str:
        parts = [self.state.job or "starting", duration_text(time.monotonic() - self._began)]
        if self.state.paused:
            parts.append("paused")
        if self.status:
            parts.append(self.status)
        elif self.state.now_doing:
            parts.append(self.state.now_doing)
        return " · ".join(parts)
