"""The numbers of the exchange of blobs. Core."""

from __future__ import annotations

import msgspec

from meshwit.peer.blobs.messages import CHUNK_BYTES


class BlobSettings(msgspec.Struct, frozen=True):
    """Times in seconds, windows in chunks."""

    chunk_bytes: int = CHUNK_BYTES
    """All peers of a mesh have the same; other values are for simulations."""
    window_first: int = 2
    """Asked of a new source at once."""
    window_max: int = 16
    """Asked of one source at once, 4 MiB: lower leaves a fast link idle, higher fills the queues of a slow one."""
    window_fetch: int = 64
    """In flight or being written, of one blob: 16 MiB of memory."""
    window_all: int = 128
    """The same over all fetches."""
    latency_low_s: float = 0.4
    """A source that gives a chunk sooner is asked for more at once."""
    latency_high_s: float = 1.2
    """A source that takes longer is asked for fewer."""
    silence_s: float = 2.0
    """A source that owes something and says nothing for so long, or four times its latency, is set aside."""
    pause_s: float = 2.0
    """How long a silent source is left alone the first time; doubled each time."""
    pause_max_s: float = 30.0
    """The longest pause."""
    ask_again_s: float = 5.0
    """Sources are asked again what they have, which also keeps us among those they tell of."""
    ask_soon_s: float = 1.0
    """A source that is named again, or asks us, is asked again if the last time was so long ago."""
    redirected_s: float = 0.2
    """A holder that sent us elsewhere is asked for other chunks after so long: news of who has what come in between."""
    unheard_s: float = 20.0
    """A fetch whose sources all say nothing for so long, or that they have nothing, has failed."""
    stuck_s: float = 120.0
    """A fetch that comes no further for so long has failed, whatever its sources say."""
    deferred_s: float = 4.0
    """A chunk that another fetcher is about to have is not asked of the first holder for so long."""
    starved_s: float = 1.0
    """Who may ask nobody else asks the first holder after so long, one chunk at a time, though others have it too."""
    news_s: float = 0.1
    """New chunks are told at most so often."""
    sources_max: int = 40
    """Of one fetch. Beyond some twenty, more do not help."""
    fetches_max: int = 32
    """At the same time."""
    slots: int = 8
    """Peers served at once: more share the uplink so thinly that each waits long for its first whole chunk."""
    slot_idle_s: float = 1.0
    """A slot whose peer wants nothing for so long is free."""
    slot_tenure_s: float = 3.0
    """After so long a slot goes to another peer, if one was turned away."""
    small_bytes: int = 64 * 1024
    """A blob so small is given to whoever asks, without slots: waiting would take longer than giving."""
    gives_max: int = 8
    """Chunks being read for others at once: 2 MiB of memory."""
    queue_peer_max: int = 32
    """Chunks that one peer may have waiting."""
    queue_all_max: int = 512
    """Chunks that all together may have waiting; numbers only, no bytes."""
    follower_s: float = 30.0
    """Who asked within so long is told of, and told news."""
    followers_max: int = 64
    """Of one blob."""
    blobs_max: int = 256
    """Blobs of which the manifest and who asked are remembered."""
    look_ups_max: int = 64
    """Blobs looked for in the store at once."""
