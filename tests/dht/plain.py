"""The package as it comes, on the simulated network: what the corrections are measured against."""

from __future__ import annotations

from collections.abc import Callable

from kademlia.network import Server
from kademlia.protocol import KademliaProtocol

from meshwit.dht.routing import Address
from meshwit.ids import PeerId, id_text
from simulations.virtual_loop import DatagramNetwork


class _Transport:
    """What `rpcudp` sends through."""

    def __init__(self, send: Callable[[Address, bytes], None]) -> None:
        self._send = send

    def sendto(self, payload: bytes, address: Address) -> None:
        self._send(address, payload)


class PlainPeer:
    """One server of the package; its refresh loop is not started."""

    def __init__(self, network: DatagramNetwork, number: int, node_id: bytes) -> None:
        self.address: Address = (f"10.1.{number >> 8}.{number & 255}", 7000)
        self.server = Server(node_id=node_id)
        self.protocol: KademliaProtocol = self.server._create_protocol()
        self.server.protocol = self.protocol
        send = network.attach(PeerId(id_text(node_id)), self.address, self._received)
        self.protocol.transport = _Transport(send)

    def _received(self, sender: PeerId, address: Address, payload: bytes) -> None:
        self.protocol.datagram_received(payload, address)
