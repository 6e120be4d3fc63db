"""TLS 1.3 between peers, with certificates that nobody signed but the device itself.

TLS encrypts and proves that the server holds the key of its certificate, which is its Ed25519 device key. Who that is,
and whether it belongs here, TLS does not ask: the handshake that follows does, bound to this certificate. No session
tickets: each connection is proved anew.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshwit peer")])
_FROM: Final = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_UNTIL: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def self_signed(private_pem: bytes) -> bytes:
    """The certificate (PEM) of an Ed25519 private key (PEM), the same each time. Raises ValueError for another key."""
    key = serialization.load_pem_private_key(private_pem, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"the key is {type(key).__name__}, not Ed25519")
    public = key.public_key()
    serial = int.from_bytes(hashlib.sha256(public.public_bytes_raw()).digest()[:16], "big") | 1
    built = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(key, None)
    )
    return built.public_bytes(serialization.Encoding.PEM)


def server_context(certfile: Path | str, keyfile: Path | str) -> ssl.SSLContext:
    """For the side that listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _only_tls_13(context)
    context.num_tickets = 0
    context.load_cert_chain(certfile, keyfile)
    return context


def client_context() -> ssl.SSLContext:
    """For the side that dials: it shows no certificate and takes any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _only_tls_13(context)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate_der(certfile: Path | str) -> bytes:
    """The certificate of a PEM file as TLS shows it."""
    return ssl.PEM_cert_to_DER_cert(Path(certfile).read_text(encoding="ascii"))


def server_certificate(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> bytes:
    """The server's certificate (DER), as the client sees it. Raises ValueError if it showed none."""
    der = ssl_object.getpeercert(binary_form=True)
    if not der:
        raise ValueError("the server showed no certificate")
    return der


def certificate_key(der: bytes) -> bytes:
    """The Ed25519 public key (32 bytes) in a certificate. Raises ValueError if there is none."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except Exception as error:  # whatever the parser has against bytes of a stranger
        raise ValueError(f"the certificate cannot be read: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the certificate is of another kind of key than Ed25519")
    return key.public_bytes_raw()


def server_key(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> bytes:
    """The server's Ed25519 public key, as the client sees it. Raises ValueError."""
    return certificate_key(server_certificate(ssl_object))


def _only_tls_13(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION
