"""The control API over HTTP: on loopback, in the peer's own event loop, for the owner of the token alone.

Starlette routes, uvicorn speaks HTTP; neither its signal handlers nor its logs nor its main loop are used. What may
pass is decided in `guard.py`, what a request may cost here: connections, and the time to send a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import h11
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.exceptions import InvalidState

from meshwit.peer.control import runtime_file
from meshwit.peer.control.api import InviteKind, JobsApi, PeerApi, PeerError
from meshwit.peer.control.guard import Guard, RequestRefused, Scope, answer_error, error_body
from meshwit.peer.control.job_messages import MESSAGE_BYTES_MAX
from meshwit.peer.control.job_socket import JobSocket
from meshwit.peer.control.job_steering import cancel_job, pause_job, resume_job
from meshwit.peer.control.stream import EventStream

_log = logging.getLogger(__name__)
A = TypeVar("A", bound=msgspec.Struct)

HEADER_BYTES_MAX: Final = 16 * 1024
HOURS_MAX: Final = 24 * 365
VERSION_HINT: Final = "see what this version of meshwit knows: its docs"


class ControlLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What clients may cost.

    Attributes:
        connections_max: further ones are closed at once. Too low, and a dashboard with some streams locks the command
            line out.
        request_timeout_s: from a connection, or the end of an answer, until a whole request header; too low, and a
            device that is busy refuses its owner.
        body_timeout_s: for the body after that.
        body_bytes_max: of a body.
        queue_max: events that wait for one slow reader.
        beat_s: an idle stream sends a comment that often.
        send_timeout_s: a reader that takes nothing for so long is cut off.
        close_timeout_s: how long running requests may go on when the server closes.
        message_timeout_s: from the opening of a job's WebSocket until its first message is there.
        message_bytes_max: of a message on it.
        waiting_bytes_max: events of a job that wait for one slow reader; beyond, it is cut off.
        ping_s: how often the client of a job is asked for a sign of life.
        pong_timeout_s: how long that may take; too low, and a laptop that is busy loses sight of its job.
    """

    connections_max: int = 32
    request_timeout_s: float = 5.0
    body_timeout_s: float = 5.0
    body_bytes_max: int = 64 * 1024
    queue_max: int = 256
    beat_s: float = 15.0
    send_timeout_s: float = 15.0
    close_timeout_s: float = 2.0
    message_timeout_s: float = 60.0
    message_bytes_max: int = MESSAGE_BYTES_MAX
    waiting_bytes_max: int = 64 * 1024 * 1024
    ping_s: float = 20.0
    pong_timeout_s: float = 60.0


class _Name(msgspec.Struct):
    name: str


class _Invite(msgspec.Struct):
    kind: InviteKind = "code"
    hours: float = 24.0


class _Rate(msgspec.Struct):
    activity: str
    refresh: bool = True


class _Need(msgspec.Struct):
    activities: list[str]


class _Find(msgspec.Struct):
    like: str


class _Explain(msgspec.Struct):
    job: str
    item: int | None = None


class _Resume(msgspec.Struct):
    again: bool | None = None


class _Nothing(msgspec.Struct):
    pass


class ControlServer:
    """Serves one peer, and tells in its profile folder where.

    Args:
        api: what is served.
        folder: the profile folder, which gets `control.json`.
        limits: what clients may cost.
        jobs: leads jobs; None where that is not offered.
    """

    def __init__(
        self, api: PeerApi, folder: Path, limits: ControlLimits | None = None, jobs: JobsApi | None = None
    ) -> None:
        self.api = api
        self.jobs = jobs
        self.folder = folder
        self.limits = limits or ControlLimits()
        self.port = 0
        self._server: _Server | None = None
        self._content: runtime_file.RuntimeFile | None = None
        self._stream = EventStream(
            api, self.limits.queue_max, self.limits.beat_s, self.limits.send_timeout_s, self._cut_connection
        )

    async def start(self) -> int:
        """Listen on 127.0.0.1, write `control.json`, and give the port."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
            content = runtime_file.RuntimeFile(self.port, runtime_file.new_token(), os.getpid())
            guard = Guard(
                self._application(),
                self.port,
                content.token,
                self.limits.body_bytes_max,
                self.limits.body_timeout_s,
            )
            self._server = _Server(_Config(guard, self.limits))
            await self._server.open(listener)
        except BaseException:
            listener.close()
            raise
        self._content = content
        runtime_file.write(self.folder, content)
        return self.port

    async def close(self) -> None:
        """Remove `control.json`, let running requests end, close every connection."""
        if self._content is not None:
            runtime_file.remove(self.folder, self._content)
            self._content = None
        server, self._server = self._server, None
        if server is not None:
            self._stream.end_all()
            await server.close()

    def _cut_connection(self, scope: Scope) -> None:
        if self._server is not None:
            self._server.cut(scope["client"])

    def _application(self) -> Starlette:
        api = self.api
        routes: list[BaseRoute] = [
            _get("mesh", lambda: api.mesh()),
            _get("peers", lambda: api.peers()),
            _get("doctor", lambda: api.doctor()),
            _post("invite", _Invite, lambda asked: api.invite(asked.kind, min(max(asked.hours, 0.0), HOURS_MAX))),
            _post("approve", _Name, lambda asked: api.approve(asked.name)),
            _post("expel", _Name, lambda asked: api.expel(asked.name)),
            _post("forget", _Name, lambda asked: api.forget(asked.name)),
            _post("leave", _Nothing, lambda asked: api.leave()),
            _post("down", _Nothing, lambda asked: api.down()),
            _post("bench", _Nothing, lambda asked: api.bench()),
            _post("rate", _Rate, lambda asked: api.rate(asked.activity, asked.refresh)),
            _post("need", _Need, lambda asked: api.need(asked.activities)),
            Route("/v1/events", _StreamEndpoint(self._stream), methods=["GET"]),
        ]
        jobs = self.jobs
        if jobs is not None:
            routes += [
                _get("jobs", lambda: jobs.jobs()),
                _post("find", _Find, lambda asked: jobs.jobs(asked.like)),
                _post("explain", _Explain, lambda asked: jobs.explain(asked.job, asked.item)),
                _steer("pause", _Nothing, lambda job, asked: pause_job(jobs, job)),
                _steer("resume", _Resume, lambda job, asked: resume_job(jobs, job, asked.again)),
                _steer("cancel", _Nothing, lambda job, asked: cancel_job(jobs, job)),
                WebSocketRoute("/v1/jobs/run", JobSocket(jobs, self.limits, self._cut_connection)),
            ]
        application = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
        application.router.redirect_slashes = False
        application.router.default = _NoRoute(application.router.default)
        return application


# --- requests ----------------------------------------------------------------------------------------------------


class _StreamEndpoint:
    """A route takes an object as the ASGI application that it is, a function it would wrap."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await self.stream(scope, receive, send)


class _NoRoute:
    """What no route takes: a WebSocket is refused with the same words as a request, which `otherwise` answers."""

    def __init__(self, otherwise: ASGIApp) -> None:
        self.otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            refused = RequestRefused(404, f"there is no {scope['path'][:200]}", VERSION_HINT)
            await answer_error(send, refused, close=True, websocket=True)
        else:
            await self.otherwise(scope, receive, send)


def _get(name: str, call: Callable[[], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        return await _answered(call)

    return Route(f"/v1/{name}", endpoint, methods=["GET"])


def _post(name: str, form: type[A], call: Callable[[A], Any]) -> Route:
    return _taking(name, form, lambda _request, asked: call(asked))


def _steer(deed: str, form: type[A], call: Callable[[str, A], Any]) -> Route:
    """What is done with one job, by its id."""
    return _taking(f"jobs/{{job}}/{deed}", form, lambda request, asked: call(request.path_params["job"], asked))


def _taking(name: str, form: type[A], call: Callable[[Request, A], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            asked = msgspec.json.decode(await request.body() or b"{}", type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _error(400, f"the body is not what /v1/{name} takes: {error}")
        return await _answered(lambda: call(request, asked))

    return Route(f"/v1/{name}", endpoint, methods=["POST"])


async def _answered(call: Callable[[], Any]) -> Response:
    """What the peer answers, as JSON; its errors too."""
    try:
        answer = call()
        if isinstance(answer, Awaitable):
            answer = await answer
        return _json(200, msgspec.json.encode(answer))
    except PeerError as error:
        return _error(409, error.message, error.hint)
    except Exception as bug:
        _log.exception("the control API failed")
        return _error(500, f"bug in meshwit: {type(bug).__name__}: {bug}")


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return _error(405, f"{request.method} is not what {request.url.path} takes")
    return _error(status, f"there is no {request.url.path[:200]}", VERSION_HINT)


def _json(status: int, body: bytes) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(body, status, headers, "application/json")


def _error(status: int, message: str, hint: str = "") -> Response:
    return _json(status, error_body(message, hint))


# --- uvicorn -----------------------------------------------------------------------------------------------------


class _Config(uvicorn.Config):
    """Without logs, signals, and without trust in a proxy."""

    def __init__(self, app: Guard, limits: ControlLimits) -> None:
        super().__init__(
            app,
            interface="asgi3",
            http=_Connection,
            ws="websockets-sansio",
            ws_max_size=limits.message_bytes_max,
            ws_ping_interval=limits.ping_s,
            ws_ping_timeout=limits.pong_timeout_s,
            ws_per_message_deflate=False,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_keep_alive=max(1, round(limits.request_timeout_s)),
            timeout_graceful_shutdown=max(1, round(limits.close_timeout_s)),
            backlog=limits.connections_max,
        )
        self.limits = limits


class _Connection(H11Protocol):
    """One connection: the limits that uvicorn has not, on how many there are and how long a header may take."""

    config: _Config
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.config.limits.connections_max:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._watch()
        super().data_received(data)
        if self._is_busy():
            self._unwatch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if not self.transport.is_closing():  # uvicorn would say goodbye a second time, which h11 takes amiss
            super().shutdown()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._unwatch()  # another protocol has the connection from here on
        super().handle_websocket_upgrade(event)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """From now on a header is awaited, unless one already is or its request is being answered."""
        if self._overdue is None and not self._is_busy():
            self._overdue = self.loop.call_later(self.config.limits.request_timeout_s, self._stalled)

    def _unwatch(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _stalled(self) -> None:
        self._overdue = None
        if not self._is_busy():
            self.transport.abort()


class _Server(uvicorn.Server):
    """Listens, without uvicorn's main loop: that wakes ten times a second for a date header and signals."""

    config: _Config

    async def open(self, listener: socket.socket) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listener])

    async def close(self) -> None:
        """Let requests end for a moment, then cancel and cut."""
        with contextlib.suppress(InvalidState):  # uvicorn closes a WebSocket that is closing; all are cut below anyway
            await self.shutdown(sockets=[])
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self.server_state.connections:  # `abort` tells its connection in the next turn of the loop
            await asyncio.sleep(0)

    def cut(self, client: tuple[str, int]) -> None:
        """Close the connection from there at once."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()
