"""One connection of a simulated peer, as the product's `Link` and its handshakes see theirs, and a handshake on it.

Beneath is a stream of the simulated network in place of TLS over TCP; on it lie the product's own frames, read by its
`FrameParser` with its limits. `Wire` does what `peer.wire.connection` does, but for joining writes and for pausing
where a peer takes slowly: what simulated jobs say is small. `Setup` follows `peer.wire.setup`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, assert_never

from meshwit.peer.wire.addresses import Address
from meshwit.peer.wire.endings import LinkEnd, LinkError
from meshwit.peer.wire.frames import HEADER_BYTES, Channel, FrameParser, Payload, WireFrameError, frame_header
from meshwit.peer.wire.handshake import (
    ClientHandshake,
    Effect,
    HandshakeFailed,
    HandshakeState,
    Proved,
    SendPayload,
    ServerHandshake,
)
from meshwit.peer.wire.stats import Traffic
from simulations.hosts import End, Host
from simulations.jobs.clock import Clock
from simulations.network import Network

TLS_BYTES: Final = 22
JOB_BYTES: Final = 120
"""A message of a job is not encoded here: what stands for it counts as so many bytes."""


def address_of(host: Host) -> Address:
    """Where a host is reached: it has one address."""
    return host.name, host.index + 1


def host_at(network: Network, address: Address) -> Host:
    """Who is reached there."""
    return network.hosts[address[1] - 1]


class Owner(Protocol):
    """Who reads a connection: a `Setup`, then a `Link`."""

    def frame_received(self, connection: Any, channel: int, payload: bytes) -> None:
        """The next frame."""

    def connection_ended(self, connection: Any, end: LinkEnd) -> None:
        """Nothing more comes. Called once."""


class Wire:
    """See the module.

    Args:
        closed: called once, when nothing more comes or goes.

    Attributes:
        stream: the own end of it.
    """

    owner: Owner

    def __init__(self, stream: End, outgoing: bool, closed: Callable[[Wire], None]) -> None:
        self.stream = stream
        self.parser = FrameParser(Channel.HANDSHAKE)
        self.id = b""
        self.outgoing = outgoing
        self.remote = address_of(stream.other.host)
        self.traffic = Traffic()
        self.queued_bytes = 0
        self.end: LinkEnd | None = None
        self._closed = closed
        self._finishing = False
        self._holds = 0
        self._delivering = False

    # --- out ---------------------------------------------------------------------------------------------------------

    def send(self, channel: int, payload: Payload, rest: Payload = b"", *, always: bool = False) -> bool:
        """Sends a frame of `payload` and `rest`; False if the queue is full or the connection ends."""
        frame = frame_header(channel, len(payload) + len(rest)) + payload + rest
        if self._finishing or self.end is not None:
            return False
        size = HEADER_BYTES + JOB_BYTES if channel == Channel.JOB else len(frame)
        self.traffic.sent(size)
        return self.stream.send(frame, size + TLS_BYTES)

    def finish(self) -> None:
        """Closes once what waits is sent. Nothing is taken or sent from now on."""
        if not self._finishing:
            self._finishing = True
            self.stream.close()
            self._closed(self)

    def abort(self) -> None:
        """Closes at once."""
        self._lost(LinkEnd("closed", "closed here", local=True))
        self.finish()

    # --- in ----------------------------------------------------------------------------------------------------------

    def received(self, chunk: bytes) -> None:
        """What the stream brought."""
        if self.end is not None or self._finishing:
            return
        self.traffic.bytes_in += len(chunk)
        self.parser.feed(chunk)
        self._deliver()

    def broken(self) -> None:
        """The stream has ended."""
        self._lost(LinkEnd("closed", "the connection was closed"))
        self.finish()

    def hold(self) -> None:
        """Hands over nothing more until `release`; holds add up."""
        self._holds += 1

    def release(self) -> None:
        """Takes one hold back."""
        self._holds -= 1
        if self._holds == 0:
            self._deliver()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while not self._holds and self.end is None and not self._finishing:
                frame = self.parser.next_frame()
                if frame is None:
                    break
                self.traffic.messages_in += 1
                self.owner.frame_received(self, *frame)
        except WireFrameError as error:
            self._lost(LinkEnd("protocol", str(error), local=True))
            self.finish()
        finally:
            self._delivering = False

    def _lost(self, end: LinkEnd) -> None:
        if self.end is None:
            self.end = end
            self.owner.connection_ended(self, end)


class Setup:
    """A connection on its way to a link.

    Args:
        proved: called once when it succeeds; must give the connection an owner.
        failed: called once when it does not; the connection closes.
        may_prove: asked before a client proves itself; False gives up without a word.
    """

    def __init__(
        self,
        wire: Wire,
        handshake: ClientHandshake | ServerHandshake,
        clock: Clock,
        timeout_s: float,
        proved: Callable[[Proved], None],
        failed: Callable[[LinkError], None],
        may_prove: Callable[[], bool] = lambda: True,
    ) -> None:
        self.wire = wire
        self.handshake = handshake
        self.proof_sent = False
        self.over = False
        self._proved = proved
        self._failed = failed
        self._may_prove = may_prove
        wire.owner = self
        clock.later(timeout_s, self._late)

    def start(self) -> None:
        """The client begins."""
        if isinstance(self.handshake, ClientHandshake):
            self._perform(self.handshake.start())

    def frame_received(self, connection: Any, channel: int, payload: bytes) -> None:
        """The next message of the other side."""
        self._perform(self.handshake.receive(payload))

    def connection_ended(self, connection: Any, end: LinkEnd) -> None:
        """It broke off on the way."""
        if end.kind == "protocol":
            self._fail(LinkError("protocol", f"it breaks the rules: {end.reason}"))
        else:
            self._fail(LinkError("unreachable", "the connection broke off while it was set up"))

    def give_up(self, error: LinkError) -> None:
        """Closes without a word."""
        self._fail(error)
        self.wire.abort()

    def _perform(self, effects: list[Effect]) -> None:
        client = isinstance(self.handshake, ClientHandshake)
        for effect in effects:
            match effect:
                case SendPayload(payload):
                    if client and self.handshake.state is HandshakeState.AWAIT_READY:
                        if not self._may_prove():
                            return
                        self.proof_sent = True
                    self.wire.send(Channel.HANDSHAKE, payload)
                case Proved():
                    self.over = True
                    self.wire.id = self.handshake.connection_id
                    self._proved(effect)
                case HandshakeFailed(kind, message, hint):
                    self._fail(LinkError(kind, message, hint))
                    self.wire.finish()
                case _ as never:
                    assert_never(never)

    def _late(self) -> None:
        if not self.over:
            self.give_up(LinkError("timeout", "the handshake took too long"))

    def _fail(self, error: LinkError) -> None:
        if not self.over:
            self.over = True
            self._failed(error)
