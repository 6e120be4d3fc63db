"""`meshwit bench`: how fast this device is, measured now or as it is known."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from meshwit.bench.cache import cached_scores, default_folder, scores
from meshwit.bench.fingerprint import Hardware, hardware
from meshwit.bench.nvml import Gpu, known_gpus
from meshwit.bench.scores import CLASSES, DISTURBED, Scores
from meshwit.bench.sizes import rough_size
from meshwit.cli.bench_by_peer import rate_by, running_peer, scores_by
from meshwit.cli.compiling import installed_registry
from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.terminal import count_text, duration_text, harmless, is_terminal, painted
from meshwit.lang.findings import did_you_mean
from meshwit.peer.activity_bench import measure_alone
from meshwit.peer.control.api import RateView
from meshwit.peer.rates import Rate, RateBook, RateError, has_benchmark

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_ABOUT = {
    "single": "one core",
    "all": "all usable cores together",
    "memory": "copying, read and written",
    "disk": "the cache folder's, written through and read",
    "gpu": "peak of 32 bit floats, all GPUs",
}


@app.command()
def bench(
    activity: Annotated[
        str, typer.Option(metavar="NAME", help="Measure this activity by its own benchmark instead.")
    ] = "",
    refresh: Annotated[
        bool, typer.Option("--refresh/--cached", help="Measure now, or show what is known and measure only if nothing.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False,
) -> None:
    """Measure how fast this device is: cores, memory, disk, GPU. A score of 100 is the reference device's."""
    try:
        if activity:
            _bench_activity(activity, refresh=refresh, as_json=as_json)
        else:
            _bench_device(refresh=refresh, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.CANCELLED) from None


# --- the device ------------------------------------------------------------------------------------------------


class _Live:
    """What is being measured, on stderr: one line that changes on a terminal, a line per probe elsewhere."""

    def __init__(self) -> None:
        self.redraws = is_terminal(sys.stderr)
        self.measured = False

    def __call__(self, name: str, value: float | None) -> None:
        self.measured = True
        if value is None and self.redraws:
            self._draw(f"measuring {name}: {_ABOUT[name]} …")
        elif value is not None and not self.redraws:
            print(f"measured {name}", file=sys.stderr, flush=True)

    def by_peer(self) -> None:
        """The running peer measures, and does not tell what it is at."""
        if self.redraws:
            self.measured = True
            self._draw("the running peer measures …")

    def end(self) -> None:
        """Leave nothing of it."""
        if self.redraws and self.measured:
            self._draw("")

    @staticmethod
    def _draw(text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _bench_device(*, refresh: bool, as_json: bool) -> None:
    device, live = hardware(), _Live()
    try:
        found = _scores(device.fingerprint, refresh, live)
    finally:
        live.end()
    gpus = known_gpus().found
    if as_json:
        print(json.dumps(_device_json(found, device, gpus, measured=live.measured)))
        return
    print("\n".join(_device_lines(found, device, gpus)))
    if not live.measured:
        ago = duration_text(max(0.0, time.time() - found.measured_at))
        print(f"measured {ago} ago; `meshwit bench` without --cached measures again", file=sys.stderr)


def _scores(fingerprint: str, refresh: bool, live: _Live) -> Scores:
    """From the cache, or measured by the running peer, or here."""
    folder = default_folder()
    if refresh or cached_scores(folder, fingerprint) is None:
        peer = running_peer()
        if peer is not None:
            live.by_peer()
            found = scores_by(peer, folder, fingerprint)
            if found is not None:
                for name in CLASSES:
                    live(name, found.of(name))
                return found
    return scores(folder, refresh, live, fingerprint=fingerprint)


def _device_lines(found: Scores, device: Hardware, gpus: tuple[Gpu, ...]) -> Iterator[str]:
    cores = count_text(found.cores, "core")
    yield f"{harmless(device.cpu)}, {cores}, {rough_size(device.memory)} memory"
    for gpu in gpus:
        yield harmless(_gpu_text(gpu))
    yield ""
    rows = [(name, *_value_texts(found, name), _ABOUT[name]) for name in CLASSES]
    widths = [max(len(row[column]) for row in (*rows, ("class", "measured", "score", ""))) for column in range(3)]
    head = f"{'class':<{widths[0]}}  {'measured':>{widths[1]}}  {'score':>{widths[2]}}"
    yield painted(head, "bold", sys.stdout)
    for name, value, score, about in rows:
        yield f"{name:<{widths[0]}}  {value:>{widths[1]}}  {score:>{widths[2]}}  {painted(about, 'dim', sys.stdout)}"
    yield ""
    score = painted(f"score {found.score:.0f}", "bold", sys.stdout)
    yield f"{score}: CPU work per second; a device of twice the score takes half the time"
    if found.others > DISTURBED:
        yield f"too low: others kept {found.others:.0%} of this device busy; it is measured again when it is idle"


def _value_texts(found: Scores, name: str) -> tuple[str, str]:
    value, unit = found.value(name)
    if not value:
        return "-", "-"
    return f"{value:,.{0 if value >= 100 else 1}f} {unit}", f"{found.of(name):.0f}"


def _gpu_text(gpu: Gpu) -> str:
    parts = [gpu.name]
    parts += [rough_size(gpu.memory)] if gpu.memory else []
    parts += [f"{gpu.tflops:.1f} TFLOPS"] if gpu.tflops else []
    parts += [f"{gpu.memory_gb_s:,.0f} GB/s"] if gpu.memory_gb_s else []
    return ", ".join(parts)


def _device_json(found: Scores, device: Hardware, gpus: tuple[Gpu, ...], *, measured: bool) -> dict[str, Any]:
    classes = {}
    for name in CLASSES:
        value, unit = found.value(name)
        classes[name] = {"value": round(value, 3), "unit": unit, "score": round(found.of(name), 2)}
    return {
        "score": round(found.score, 2),
        "classes": classes,
        "cpu": device.cpu,
        "cores": found.cores,
        "memory": device.memory,
        "gpus": [
            {"name": gpu.name, "memory": gpu.memory, "tflops": round(gpu.tflops, 3), "gb_s": round(gpu.memory_gb_s, 1)}
            for gpu in gpus
        ],
        "fingerprint": found.fingerprint,
        "measured_at": found.measured_at,
        "took_s": round(found.took_s, 3),
        "others": round(found.others, 3),
        "cached": not measured,
    }


# --- an activity -----------------------------------------------------------------------------------------------


def _bench_activity(name: str, *, refresh: bool, as_json: bool) -> None:
    registry = installed_registry()
    offered = registry.offer.activities
    if name not in offered:
        raise CommandError(f"there is no activity `{name}`", did_you_mean(name, offered))
    found = offered[name]
    if not has_benchmark(registry, name):
        others = sorted({one.name for one in offered.values() if has_benchmark(registry, one.name)})
        raise CommandError(f"`{found.name}` has no benchmark", f"these have one: {', '.join(others)}" if others else "")
    book = RateBook(default_folder(), hardware().fingerprint, registry)
    rate: Rate | RateView | None = None if refresh else book.rates.get(found.name)
    if rate is None:
        rate = _measured_by_peer(found.name) or _measured(book, found.name)
    if as_json:
        print(json.dumps({"activity": rate.activity, "rate": rate.per_s, "unit": rate.unit, "version": rate.version,
                          "measured_at": rate.measured_at}))  # fmt: skip
    else:
        text = f"{rate.per_s:,.{0 if rate.per_s >= 100 else 3}f} {rate.unit}"
        print(f"{rate.activity}  {painted(text, 'bold', sys.stdout)}  by one worker process")


def _measured_by_peer(name: str) -> RateView | None:
    peer = running_peer()
    if peer is None:
        return None
    with _line(f"the running peer measures {name} …"):
        return rate_by(peer, name)


def _measured(book: RateBook, name: str) -> Rate:
    try:
        with _line(f"measuring {name} …"):
            rate = asyncio.run(measure_alone(installed_registry(), name, book.version_of(name)))
    except RateError as reason:
        raise CommandError(harmless(str(reason)), code=ExitCode.FAILED) from reason
    book.add(rate)
    return rate


@contextlib.contextmanager
def _line(text: str) -> Iterator[None]:
    """Stands on a terminal meanwhile."""
    live = is_terminal(sys.stderr)
    if live:
        print(text, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
