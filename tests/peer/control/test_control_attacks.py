"""Whoever is not the owner gets nothing from the control API, and cannot keep the owner out: real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshwit.peer.control import runtime_file
from meshwit.peer.control.api import MeshEvent
from meshwit.peer.control.server import ControlLimits, ControlServer
from tests.fake_peer import FakePeer

Attack = Callable[[ControlServer, FakePeer, str], Coroutine[Any, Any, None]]
QUICK = ControlLimits(request_timeout_s=0.2, body_timeout_s=0.2, send_timeout_s=0.3, close_timeout_s=0.2, queue_max=16)


def attacked(folder: Path, attack: Attack, limits: ControlLimits | None = None) -> FakePeer:
    """Start a server, attack it, see that it still serves its owner, close it: nothing may stay behind."""

    async def main() -> FakePeer:
        async with asyncio.timeout(30):
            peer = FakePeer()
            server = ControlServer(peer, folder, limits)
            await server.start()
            try:
                runtime = runtime_file.read(folder)
                assert runtime is not None
                await attack(server, peer, runtime.token)
                status, _ = await ask(server.port, get("/v1/mesh", server.port, runtime.token))
                assert status == 200
            finally:
                await server.close()
            assert len(asyncio.all_tasks()) == 1
            return peer

    return asyncio.run(main())


def get(path: str, port: int, token: str, **headers: str) -> str:
    """A request as the owner's command line makes it, with some headers changed, and without those that are empty."""
    return request("GET", path, port, token, "", **headers)


def post(path: str, port: int, token: str, body: str = "{}", **headers: str) -> str:
    return request("POST", path, port, token, body, **{"Content_Type": "application/json", **headers})


def request(method: str, path: str, port: int, token: str, body: str, **headers: str) -> str:
    given = {"Host": f"127.0.0.1:{port}", "Authorization": f"Bearer {token}", "Connection": "close"}
    if body:
        given["Content-Length"] = str(len(body))
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", body])


async def ask(port: int, text: str) -> tuple[int, dict[str, Any]]:
    """The status and JSON answer to a request sent as it stands; 0 if the connection ends without."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text.encode())
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"access-control" not in head.lower()
    assert b"server:" not in head.lower()
    status = int(head.split(b" ")[1]) if head else 0
    return status, json.loads(body) if body.startswith(b"{") else {"text": body}


def refused(tmp_path: Path, status: int, make: Callable[[int, str], str]) -> None:
    """The request is refused with that status, says so as JSON, and the peer was asked for nothing."""

    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        answered, body = await ask(server.port, make(server.port, token))
        assert answered == status, body
        assert body["error"]["message"]

    assert attacked(tmp_path, attack).asked == []


@pytest.mark.parametrize("path", ["/v1/mesh", "/v1/peers", "/v1/events", "/v1/doctor", "/", "/v1/nothing"])
def test_without_the_token_nothing_is_told(tmp_path, path):
    refused(tmp_path, 401, lambda port, token: get(path, port, token, Authorization=""))


@pytest.mark.parametrize("command", ["invite", "approve", "expel", "forget", "leave", "down", "bench"])
def test_without_the_token_nothing_is_done(tmp_path, command):
    refused(tmp_path, 401, lambda port, token: post(f"/v1/{command}", port, token, '{"name":"den"}', Authorization=""))


@pytest.mark.parametrize(
    "wrong",
    [
        "Bearer ",
        "Bearer x",
        "Basic {token}",
        "bearer {token}",
        "Bearer {token}x",
        "Bearer {start}",
        "{token}",
        "Bearer {token}\r\nAuthorization: Bearer {token}",
        "Bearer \xff",
    ],
)
def test_a_wrong_token_is_none(tmp_path, wrong):
    refused(
        tmp_path,
        401,
        lambda port, token: get("/v1/mesh", port, token, Authorization=wrong.format(token=token, start=token[:-1])),
    )


@pytest.mark.parametrize(
    "host",
    ["evil.example:{port}", "evil.example", "127.0.0.1", "localhost", "127.0.0.1:1", "localhost.evil.example:{port}"],
)
def test_dns_rebinding_is_refused_by_the_host(tmp_path, host):
    refused(tmp_path, 403, lambda port, token: get("/v1/mesh", port, token, Host=host.format(port=port)))


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST:{port}"])
def test_the_names_of_loopback_are_ours(tmp_path, host):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        status, _ = await ask(server.port, get("/v1/mesh", server.port, token, Host=host.format(port=server.port)))
        assert status == 200

    attacked(tmp_path, attack)


def test_two_hosts_are_none(tmp_path):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        text = get("/v1/mesh", server.port, token, Host=f"127.0.0.1:{server.port}\r\nHost: evil.example")
        status, _ = await ask(server.port, text)
        assert status in (400, 403)

    attacked(tmp_path, attack)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}"])
def test_other_sites_are_refused(tmp_path, origin):
    refused(tmp_path, 403, lambda port, token: post("/v1/down", port, token, Origin=origin.format(port=port)))


def test_other_sites_are_refused_where_the_browser_says_only_that(tmp_path):
    refused(tmp_path, 403, lambda port, token: post("/v1/down", port, token, Sec_Fetch_Site="cross-site"))


def test_a_preflight_of_another_site_allows_nothing(tmp_path):
    refused(
        tmp_path,
        403,
        lambda port, token: request(
            "OPTIONS", "/v1/down", port, "", "", Origin="http://evil.example", Access_Control_Request_Method="POST"
        ),
    )


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
def test_what_a_form_can_send_is_refused(tmp_path, kind):
    refused(tmp_path, 415, lambda port, token: post("/v1/down", port, token, Content_Type=kind))


def test_a_body_that_says_it_is_large_is_refused_unread(tmp_path):
    refused(tmp_path, 413, lambda port, token: post("/v1/down", port, token, Content_Length="65537"))
    refused(tmp_path, 413, lambda port, token: post("/v1/down", port, token, Content_Length="9" * 18))


def test_a_body_that_turns_out_large_is_refused(tmp_path):
    chunk = "10000\r\n" + "x" * 65536 + "\r\n"

    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        start = request("POST", "/v1/down", server.port, token, "", Content_Type="application/json")
        start = start.replace("Connection: close", "Transfer-Encoding: chunked")
        status, _ = await ask(server.port, f"{start}{chunk}{chunk}")
        assert status in (0, 413)  # what is still unread resets the connection, perhaps before the answer is read

    assert attacked(tmp_path, attack).asked == []


@pytest.mark.parametrize("body", ["[]", '"x"', "{", '{"name": 3}', "\xff", "[" * 60000, "{}x"])
def test_a_body_that_is_not_what_the_route_takes(tmp_path, body):
    refused(tmp_path, 400, lambda port, token: post("/v1/expel", port, token, body))


def test_unknown_routes_and_methods(tmp_path):
    refused(tmp_path, 404, lambda port, token: get("/v1/secret", port, token))
    refused(tmp_path, 404, lambda port, token: get("/v1/../../etc/passwd", port, token))
    refused(tmp_path, 404, lambda port, token: get("/v1/mesh/", port, token))
    refused(tmp_path, 405, lambda port, token: get("/v1/down", port, token))
    refused(tmp_path, 405, lambda port, token: request("DELETE", "/v1/peers", port, token, ""))


@pytest.mark.parametrize("text", ["\x00\x01\x02\x03\r\n\r\n", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_what_is_no_http(tmp_path, text):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        status, _ = await ask(server.port, text)
        assert status in (400, 403)

    attacked(tmp_path, attack)


def test_a_header_without_end(tmp_path):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        status, _ = await ask(server.port, "GET /v1/mesh HTTP/1.1\r\n" + "X: y\r\n" * 100_000)
        assert status in (0, 400)

    attacked(tmp_path, attack)


@pytest.mark.parametrize("start", ["", "GET /v1/mesh HTT", "GET /v1/mesh HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_request_that_never_ends_is_cut_off(tmp_path, start):
    """Slow-loris: a byte now and then does not lengthen the time."""

    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(start.encode())

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"x" if start else b"")

        dripping = asyncio.create_task(drip())
        try:
            assert await ended(reader.read()) == b""
        finally:
            dripping.cancel()
            writer.transport.abort()

    attacked(tmp_path, attack, QUICK)


def test_the_second_request_of_a_connection_is_cut_off_too(tmp_path):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get("/v1/mesh", server.port, token, Connection="keep-alive").encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET /v1/me")
        await ended(reader.read())
        writer.transport.abort()

    attacked(tmp_path, attack, QUICK)


def test_a_body_that_never_ends_is_cut_off(tmp_path):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        status, _ = await ask(server.port, post("/v1/down", server.port, token, "{", Content_Length="100"))
        assert status == 408

    assert attacked(tmp_path, attack, QUICK).asked == []


async def ended(reading: Awaitable[bytes]) -> bytes:
    """What is read until the other side ends the connection, nicely or not."""
    try:
        return await reading
    except ConnectionError:
        return b""


def test_connections_are_limited_and_the_first_ones_stay(tmp_path):
    limits = ControlLimits(connections_max=4)

    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        streams = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(get("/v1/events", server.port, token).encode())
            await reader.readuntil(b": beat\n\n")
            streams.append((reader, writer))
        for _ in range(50):
            status, _ = await ask(server.port, get("/v1/mesh", server.port, token))
            assert status == 0
        peer.happen(MeshEvent(kind="joined", text="still here"))
        for reader, writer in streams:
            assert b"still here" in await reader.readuntil(b"still here")
            writer.transport.abort()
        while peer.subscribers:
            await asyncio.sleep(0.01)

    attacked(tmp_path, attack, limits)


def test_a_slow_reader_is_cut_off_and_costs_no_memory(tmp_path):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", server.port))
        await asyncio.get_running_loop().sock_sendall(slow, get("/v1/events", server.port, token).encode())
        with slow:
            while not peer.subscribers:
                await asyncio.sleep(0.01)
            while peer.subscribers:  # it reads nothing at all, until it is cut off
                peer.happen(MeshEvent(kind="joined", text="x" * 50_000))
                await asyncio.sleep(0)

    attacked(tmp_path, attack, QUICK)


def test_a_client_that_resets_its_connection_leaves_nothing(tmp_path):
    async def attack(server: ControlServer, peer: FakePeer, token: str) -> None:
        for path in ("/v1/events", "/v1/mesh"):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
                )
                client.sendall(get(path, server.port, token).encode())
        while peer.subscribers:
            await asyncio.sleep(0.01)

    attacked(tmp_path, attack)
