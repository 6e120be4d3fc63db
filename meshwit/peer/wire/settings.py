"""The limits of the wire, each in one place."""

from __future__ import annotations

from typing import Final

import msgspec


class LinkSettings(msgspec.Struct, frozen=True):
    """Limits and times of `Links`. The defaults suit a LAN and hold on slow links.

    Attributes:
        handshake_s: seconds until an unproven connection is dropped. Too low: slow devices cannot connect; too high:
            connections that say nothing (slow-loris) hold their places longer.
        connect_s: seconds for a dial in all, TCP and handshake and every address.
        attempt_delay_s: seconds before the next address is tried beside one that has not answered.
        refused_grace_s: seconds that other addresses still get once the one where the peer was last linked refuses.
        unproven_max: unproven connections that came in, in all. Too low: a crowd that connects at once must retry;
            too high: a flood costs memory (some 100 KB each).
        unproven_per_host_max: the same of one address.
        accepts_per_host_s: connections per second taken from one address in the long run; four times as many at once.
        join_streams_max: connections of devices that want to join, in all.
        join_s: seconds that such a device may take, people who compare words included.
        output_bytes_max: what waits for a peer that takes slowly; `send` says False above it.
        stalled_s: seconds after which a link that takes nothing although something waits is given up.
        input_bytes_per_s: what one link may bring; above it reading pauses.
        input_messages_per_s: the same for messages.
        redial_first_s: the pause before the second dial of a kept peer; the first comes at once. It doubles each time.
        redial_longest_s: the longest pause between dials.
        close_s: seconds in which a link that is closed may still send what waits.
    """

    handshake_s: float = 5.0
    connect_s: float = 8.0
    attempt_delay_s: float = 0.1
    refused_grace_s: float = 0.25
    unproven_max: int = 64
    unproven_per_host_max: int = 8
    accepts_per_host_s: float = 50.0
    join_streams_max: int = 16
    join_s: float = 900.0
    output_bytes_max: int = 8 * 1024 * 1024
    stalled_s: float = 30.0
    input_bytes_per_s: float = 2e9
    input_messages_per_s: float = 200_000.0
    redial_first_s: float = 0.2
    redial_longest_s: float = 30.0
    close_s: float = 2.0


DEFAULTS: Final = LinkSettings()
