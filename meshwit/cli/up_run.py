"""Runs a peer in this process until it is told to stop: signals, and what is shown meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any, Final

from meshwit.cli.exit_codes import CommandError, ExitCode
from meshwit.cli.up_screens import Screen
from meshwit.peer.control.api import PeerError
from meshwit.peer.control.options import JoinPrompt, MakePeer, RunnablePeer, UpError, UpOptions
from meshwit.peer.heap import keep_what_is_loaded, use_one_arena

REDRAW_AFTER_S: Final = 2.0
"""Loads change all the time: an idle peer must not spend itself on drawing them."""
REDRAW_PAUSE_S: Final = 0.2
SUBSCRIBE_AGAIN_AFTER_S: Final = 0.5

SIGNALS: Final = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP") if hasattr(signal, name)
]


def run_peer(
    make: MakePeer, options: UpOptions, prompt: JoinPrompt, screen: Screen, ready: Callable[[], None] = lambda: None
) -> None:
    """Run a peer until Ctrl-C, `meshwit down` or the like.

    Args:
        make: makes the peer.
        options: how it starts.
        prompt: who is asked while it is no member.
        screen: shows it once it is.
        ready: called when it answers its control API.

    Raises:
        CommandError: it could not start, or not go on.
    """
    use_one_arena()
    try:
        asyncio.run(_run(make, options, prompt, screen, ready))
    except (UpError, PeerError) as error:
        raise CommandError(error.message, error.hint, ExitCode.FAILED) from None
    except KeyboardInterrupt:
        raise CommandError("stopped at once, without a goodbye", code=ExitCode.CANCELLED) from None


async def _run(
    make: MakePeer, options: UpOptions, prompt: JoinPrompt, screen: Screen, ready: Callable[[], None]
) -> None:
    peer = make(options, prompt)
    showing: list[asyncio.Task[None]] = []

    def up(running: RunnablePeer) -> None:
        ready()
        keep_what_is_loaded()
        screen.begin(running.mesh(), running.peers())
        showing.append(asyncio.create_task(_show(running, screen)))

    run = asyncio.ensure_future(peer.run(up))

    def stop() -> None:
        for task in showing:
            task.cancel()  # from now on all others seem to leave
        screen.say("stopping (Ctrl-C again stops at once)")
        run.cancel()

    with _stopped_by_signals(stop) as stopped:
        try:
            await run
        except asyncio.CancelledError:
            if not stopped():
                raise
        finally:
            for task in showing:
                task.cancel()
            await asyncio.gather(*showing, return_exceptions=True)
            screen.end()


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """The first signal has the peer stop, which says goodbye; the next one ends the process."""
    loop = asyncio.get_running_loop()
    count = 0

    def counted(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(stop)

    heard = [one for one in SIGNALS if signal.getsignal(one) != signal.SIG_IGN]  # nohup wants to be left alone
    before: dict[signal.Signals, Any] = {one: signal.signal(one, counted) for one in heard}
    try:
        yield lambda: count > 0
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


async def _show(peer: RunnablePeer, screen: Screen) -> None:
    """Keep the screen up to date; ends by cancellation."""
    changed = asyncio.Event()
    following = asyncio.create_task(_follow(peer, screen, changed))
    try:
        while screen.redraws:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REDRAW_AFTER_S):
                    await changed.wait()
            changed.clear()
            with contextlib.suppress(PeerError):  # it is stopping
                screen.show(peer.mesh(), peer.peers())
            await asyncio.sleep(REDRAW_PAUSE_S)
        await following
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _follow(peer: RunnablePeer, screen: Screen, changed: asyncio.Event) -> None:
    while True:
        async for event in _events(peer):
            screen.event(event)
            changed.set()
        await asyncio.sleep(SUBSCRIBE_AGAIN_AFTER_S)  # it ended because it overflowed, or because the peer stops


async def _events(peer: RunnablePeer) -> AsyncIterator[Any]:
    with contextlib.suppress(PeerError):
        async for event in peer.subscribe():
            yield event
