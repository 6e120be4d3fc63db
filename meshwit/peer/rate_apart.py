"""Measuring an activity in a process of its own, which is ended when its time is up. Adapter."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, Final

import msgspec

import meshwit
from meshwit.peer.exec import process_trees
from meshwit.peer.rates import Rate, RateError

LIMIT_S: Final = 120.0
"""For everything. Most take two seconds; a benchmark that takes longer than this is none."""
_ANSWER_BYTES_MAX: Final = 64 * 1024
_answer_decoder: Final[msgspec.json.Decoder[Rate | str]] = msgspec.json.Decoder(Rate | str)


async def measure_apart(activity: str, limit_s: float = LIMIT_S) -> Rate:
    """The rate of one worker process at an activity that is installed, by its benchmark.

    Raises:
        RateError: there is no such rate; says why.
    """
    try:
        process = await _started(activity)
    except OSError as reason:
        raise RateError(f"`{activity}` cannot be measured: no process can be started: {reason}") from reason
    try:
        async with asyncio.timeout(limit_s):
            return await _answer(process, activity)
    except TimeoutError:
        raise RateError(f"the benchmark of `{activity}` took longer than {limit_s:g} s") from None
    finally:
        await _end(process)


async def _started(activity: str) -> Process:
    options: dict[str, Any] = {}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    root = str(Path(next(iter(meshwit.__path__))).parent)
    path = os.pathsep.join([root, *(os.path.abspath(each) for each in sys.path if each)])
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meshwit.peer.rate_process", activity,
        stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=_ANSWER_BYTES_MAX,
        cwd=root,  # `-m` imports from there first, and nothing that lies where a person works is meant
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )  # fmt: skip


async def _answer(process: Process, activity: str) -> Rate:
    assert process.stdout is not None
    try:
        answer = _answer_decoder.decode(await process.stdout.readline())
    except (ValueError, msgspec.DecodeError):  # ValueError: the line is too long
        raise RateError(f"the process that measured `{activity}` ended without a result") from None
    if isinstance(answer, str):
        raise RateError(answer)
    return answer


async def _end(process: Process) -> None:
    """Ends it and all that it started; what it has answered is all that was wanted of it."""
    assert process.stdin is not None
    if process.returncode is None:
        family = process_trees.descendants(process.pid)
        process_trees.kill(process.pid, family)
    process.stdin.close()
    await process.wait()
