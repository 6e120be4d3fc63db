"""The numbers of the scheduler, each with what goes wrong when it is too low or too high."""

from __future__ import annotations

import msgspec


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a Grid step's scheduler.

    Attributes:
        batch_s: seconds of work in a batch of small tasks. Too low: messages cost more than tasks; too high: what was
            given cannot be corrected.
        batch_min_s: a batch shrinks to this towards the end. Too low: messages; too high: an uneven end.
        batch_items_max: items of a batch. Too low: messages; too high: frames beyond their limit.
        growth: while tasks are not known well, a batch holds at most so many times the tasks measured. Too low: a slow
            beginning with tiny tasks; too high: an early surprise is large.
        message_s: the leader's CPU per message. Too low: a large mesh chokes its leader; too high: large batches.
        load_max: share of one core that messages may cost the leader. As `message_s`.
        delay_s: from a report to the next task's begin, both ways over the network. Too low: take-backs that gain
            nothing; too high: none where they would gain.
        waste_max: work of runs that lost, over the work of the step. Too low: stragglers stay; too high: energy.
        beats: peers give a sign of life several times in `silence_min_s`, whatever they run, so that silence alone
            tells that one is frozen. False: reports alone tell, and their tasks' length and `first_report_s` count too.
        silence_min_s: a peer is believed frozen after no shorter silence. Too low: a hiccup costs it its tasks; too
            high: a frozen peer holds them.
        silence_factor: and after so many times what its task should take, generously. As `silence_min_s`.
        first_report_s: before its first report a peer may load programs and data for so long.
        window: reports that make a rate; older ones fade. Too low: noisy rates; too high: slow to follow drift.
        balanced_batches: batches that Balanced makes of a step at the start. Too low: coarse; too high: messages.
    """

    batch_s: float = 0.05
    batch_min_s: float = 0.005
    batch_items_max: int = 4096
    growth: int = 32
    message_s: float = 0.0001
    load_max: float = 0.25
    delay_s: float = 0.003
    waste_max: float = 0.05
    beats: bool = False
    silence_min_s: float = 0.5
    silence_factor: float = 4.0
    first_report_s: float = 10.0
    window: int = 256
    balanced_batches: int = 4096
