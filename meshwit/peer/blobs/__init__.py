"""Blobs: bytes of any size, kept once per device under their content hash, and fetched from whoever has them."""

from meshwit.peer.blobs.store import BlobStore

__all__ = ["BlobStore"]
