"""Whatever peers do, a job ends with every item having exactly its value; the leader's books agree all the while."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from leading import LedJob, grid

from meshwit import events
from meshwit.ids import PeerId

COUNT = 24
NAMES = ("den", "attic", "barn")
STRATEGIES = ("Adaptive", "Queued", "Balanced")


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(STRATEGIES), st.booleans(), st.sampled_from((0, 2)))
def test_whatever_peers_do_every_item_gets_its_value(data, strategy, estimated, peers_max):
    """They come, go, freeze, grant, fail, give back, answer in parts and late; home is faithful in the end."""
    call = "Lab.Weigh(x + 1)" if estimated else "Lab.Double(x)"
    more = {"MaxClients": peers_max} if peers_max else {}
    job = LedJob(
        grid(COUNT, call, strategy=strategy, Retries=200, OnError='"Skip"', **more), workers={"here": 9, "den": 1}
    )
    stale: list[tuple[str, int]] = []
    losses = 0
    for _ in range(data.draw(st.integers(0, 40))):
        if job.over:
            break
        job.at(job.now + data.draw(st.sampled_from((0.0, 0.001, 0.3, 1.1))))
        job.hears(job.leader.heard(PeerId("here"), job.now))
        name = data.draw(st.sampled_from(("here", *NAMES)))
        held = job.holds(name)
        match data.draw(st.integers(0, 9)):
            case 0 if name != "here":
                job.joins(name, data.draw(st.integers(0, 3)))
            case 1 if name != "here" and losses < 2:
                stale += [(name, number) for number in held]
                losses += 1
                job.leaves(name)
            case 2:
                job.hears(job.leader.granted(1, PeerId(name), data.draw(st.integers(0, 3)), job.now))
            case 3 if name in {each.peer for each in job.given}:
                job.begins(job.takes(name)[0])
            case 4 | 5 if held:
                part = data.draw(st.lists(st.sampled_from(held), min_size=1, unique=True))
                stale += [(name, number) for number in part[:1]]
                job.ends(*part, at=name, failing=dict.fromkeys(data.draw(st.sampled_from(((), part[:1]))), "no"))
            case 6:
                job.answers({name: held[:1]})
            case 7 if stale:
                late, number = data.draw(st.sampled_from(stale))
                job.ends(number, at=late)
            case 8:
                (job.resumes if job.leader.paused else job.pauses)()
            case _:
                if data.draw(st.booleans()):
                    job.hears(job.leader.heard(PeerId(name), job.now))
    job.resumes()
    for name in NAMES:
        if not job.over:
            job.leaves(name)
    for _ in range(20):
        if not job.over:
            job.hears(job.leader.granted(1, PeerId("here"), 2, job.now))
            job.works("here")
            job.beats("here", until=job.now + 0.3)
    wanted = [-number - 1 if estimated else 2 * number for number in range(COUNT)]
    for failed in job.told_of(events.ItemFailed):
        if not failed.retried:  # so many were lost over it that it was believed to be why
            assert "peers were lost" in failed.failure.message
            wanted[failed.failure.item] = None
    assert (job.state, job.variables) == ("completed", {"ys": wanted})
    last = job.told_of(events.Progressed)[-1]
    assert (last.done, last.failed) == (COUNT, wanted.count(None))
    assert sum(last.peers.values()) == COUNT - last.failed
