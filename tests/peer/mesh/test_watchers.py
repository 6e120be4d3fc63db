"""Events reach everybody who watches from the moment that they ask, until the peer ends or they fall behind."""

from __future__ import annotations

import asyncio

from meshwit.peer.mesh.watchers import WAITING_MAX, Watchers


def watched(test) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await test(Watchers())

    asyncio.run(main())


def test_all_who_watch_are_told_in_order_from_the_moment_they_asked():
    async def test(watchers):
        watchers.tell("before", "nobody hears it")
        first, second = watchers.subscribe(), watchers.subscribe()
        for number in range(3):
            watchers.tell("joined", f"peer {number}", str(number))
        watchers.close()
        for each in (first, second):
            events = [event async for event in each]
            assert [(event.kind, event.peer) for event in events] == [("joined", "0"), ("joined", "1"), ("joined", "2")]
            assert all(event.time > 0 for event in events)

    watched(test)


def test_one_who_takes_nothing_is_cut_off_and_the_others_are_not():
    async def test(watchers):
        idle, busy = watchers.subscribe(), watchers.subscribe()
        for number in range(3 * WAITING_MAX):
            watchers.tell("load", str(number))
            assert (await anext(busy)).text == str(number)
        assert len([event async for event in idle]) == WAITING_MAX
        assert len(watchers._queues) == 1

    watched(test)


def test_one_who_stops_watching_is_forgotten():
    async def test(watchers):
        events = watchers.subscribe()
        watchers.tell("joined", "den")
        await anext(events)
        await events.aclose()
        assert not watchers._queues

    watched(test)


def test_one_who_is_cancelled_is_forgotten():
    async def test(watchers):
        async def watch():
            async for _ in watchers.subscribe():
                pass

        task = asyncio.create_task(watch())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        watchers.tell("joined", "den")
        assert sum(queue.qsize() for queue in watchers._queues) <= 1

    watched(test)


def test_after_the_end_there_is_nothing_to_watch():
    async def test(watchers):
        waiting = asyncio.create_task(anext(watchers.subscribe(), None))
        await asyncio.sleep(0)
        watchers.close()
        watchers.close()
        assert await waiting is None
        assert [event async for event in watchers.subscribe()] == []
        watchers.tell("joined", "nobody is there")
        assert not watchers._queues

    watched(test)
