"""Bytes between peers: TLS connections, frames, the handshake, sealed datagrams."""
