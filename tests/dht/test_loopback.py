"""Three directories over real sockets on loopback, with real Ed25519 signatures; only the seal is left out."""

from __future__ import annotations

import asyncio
import random
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshwit.dht.directory import Directory
from meshwit.ids import PeerId, peer_id


class Key:
    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public_key = self._private.public_key().public_bytes_raw()
        self.id = peer_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Peer(asyncio.DatagramProtocol):
    """The sender's id stands in front of each datagram, where the seal would prove it."""

    def __init__(self, number: int) -> None:
        self.key = Key()
        self.directory = Directory(
            self.key.id, self.key, verify, lambda peer: True, self.send, time.time, random.Random(number)
        )
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def send(self, address, payload: bytes) -> None:
        self.transport.sendto(self.key.id.encode() + payload, address)

    def datagram_received(self, data: bytes, addr) -> None:
        self.directory.received(PeerId(data[:32].decode()), addr[:2], data[32:])


def test_three_peers_over_real_sockets():
    async def main() -> None:
        loop = asyncio.get_running_loop()
        peers = [Peer(number) for number in range(3)]
        async with asyncio.timeout(20):
            for each in peers:
                await loop.create_datagram_endpoint(lambda peer=each: peer, local_addr=("127.0.0.1", 0))
            first = [(peers[0].key.id, peers[0].transport.get_extra_info("sockname"))]
            for each in peers[1:]:
                await each.directory.join(first)
            assert len(peers[2].directory.neighbours(5)) == 2
            assert await peers[1].directory.publish("capability", "gpu.cuda", b"8 GiB") >= 2
            found = await peers[2].directory.find_capable("gpu.cuda")
            assert [(each.owner, each.payload) for each in found] == [(peers[1].key.id, b"8 GiB")]
            for each in peers:
                await each.directory.close()
                each.transport.close()
            await asyncio.sleep(0)

    asyncio.run(main())
