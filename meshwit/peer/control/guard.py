"""Who may talk to the control API: the first thing that sees a request, and the last for most of them.

Loopback alone protects nothing: every page in a browser of this device, and every account on it, can reach it. So a
request must name us as its host (a page that rebinds its own name to 127.0.0.1 names itself), come from no other
origin, carry the token that only the owner's account can read, and send its body as JSON, which a form cannot. No
response ever allows another origin to read it. A WebSocket, which no browser keeps from other sites, begins as such a
request and passes or fails as one.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class RequestRefused(Exception):  # noqa: N818  it is an answer
    """The request is answered with an error, and the connection closed if its body was not read."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


class Guard:
    """Lets through to `app` what may pass, with its body read.

    Args:
        app: what answers.
        port: ours.
        token: that every request must carry.
        body_bytes_max: larger bodies are refused unread.
        body_timeout_s: how long a body may take to arrive.
    """

    def __init__(self, app: AsgiApp, port: int, token: str, body_bytes_max: int, body_timeout_s: float) -> None:
        self.app = app
        self.body_bytes_max = body_bytes_max
        self.body_timeout_s = body_timeout_s
        self._hosts = {f"{host}:{port}".encode() for host in HOSTS}
        self._origins = {b"http://" + host for host in self._hosts}
        self._bearer = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or the opening of a WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return
        try:
            self._admit(scope["headers"])
            if scope["type"] == "http" and scope["method"] == "POST":
                body = await self._body(scope["headers"], receive)
                receive = _replay(body, receive)
        except RequestRefused as refused:
            await answer_error(send, refused, close=True, websocket=scope["type"] == "websocket")
            return
        await self.app(scope, receive, send)

    def _admit(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raises Refused for a request that is not the owner's."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            raise RequestRefused(403, "the Host header does not name this peer")
        if any(name == b"origin" and value.lower() not in self._origins for name, value in headers):
            raise RequestRefused(403, "requests of other sites are refused")
        if any(name == b"sec-fetch-site" and value not in (b"same-origin", b"none") for name, value in headers):
            raise RequestRefused(403, "requests of other sites are refused")
        tokens = [value for name, value in headers if name == b"authorization"]
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0], self._bearer):
            raise RequestRefused(
                401, "the token is missing or wrong", "it stands in control.json of the peer's profile"
            )

    async def _body(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """The whole body. Raises Refused."""
        kinds = [value for name, value in headers if name == b"content-type"]
        if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"application/json":
            raise RequestRefused(415, "the body must be application/json")
        told = next((value for name, value in headers if name == b"content-length"), b"0")
        too_large = RequestRefused(413, f"the body is larger than {self.body_bytes_max} bytes")
        if len(told) > 10 or int(told) > self.body_bytes_max:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestRefused(400, "the body ended early")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self.body_bytes_max:
                        raise too_large
        except TimeoutError:
            raise RequestRefused(408, "the body took too long") from None
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read as one message, then whatever comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def error_body(message: str, hint: str) -> bytes:
    """An error as all answers tell it."""
    return msgspec.json.encode({"error": {"message": message, "hint": hint}})


async def answer_error(send: Send, refused: RequestRefused, *, close: bool = False, websocket: bool = False) -> None:
    """Send an error as JSON; to who asked for a WebSocket too, which is not opened then."""
    body = error_body(refused.message, refused.hint)
    headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    prefix = "websocket." if websocket else ""
    await send({"type": f"{prefix}http.response.start", "status": refused.status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": body})
