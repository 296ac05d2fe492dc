"""Nearly the outermost layer: gives each request its ids, times it, logs it, and catches what nobody else caught."""

import re
import time
from collections.abc import Awaitable, MutableMapping
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import InternalError
from fanfold.core.identifiers import uuid7_text
from fanfold.core.outgoing import Outgoing
from fanfold.core.problems import problem
from fanfold.core.telemetry.context import request_state
from fanfold.core.telemetry.logging import SERVER_ERROR, get_logger, log_request
from fanfold.core.telemetry.metrics import KNOWN_METHODS, Metrics

_CLIENT_GONE = 499  # nginx's number for it: no answer was sent
_SWITCHING = 101
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_UNMATCHED = "(unmatched)"

_log = get_logger("fanfold.telemetry")


class TelemetryMiddleware:
    """Pure ASGI; only what adds headers to every answer stands before it: what it raises itself is uvicorn's to answer.

    Sets `request_id`, `server_id` (UUIDv7) and `started` in the scope's state.

    The route of the log line and the metrics is `state["route"]` if somebody set it (a refusal before routing), else
    what the router matched. `state["timings"]`, seconds by name, goes into `Server-Timing`.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._observe = metrics.observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket; anything else passes through."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive)
        out: Send = Outgoing(send, exchange.add)
        if scope["type"] == "websocket":
            out = partial(exchange.send_on_socket, out)
        token = request_state.set(exchange.state)
        try:
            await self._app(scope, exchange.receive, out)
            if exchange.status is None:
                await exchange.end(out)
        except Exception as error:  # noqa: BLE001 - the last resort: no traceback may reach the client
            await exchange.fail(error, out)
        finally:
            self._record(exchange)
            request_state.reset(token)

    def _record(self, exchange: "_Exchange") -> None:
        scope, status = exchange.scope, exchange.status or _CLIENT_GONE
        seconds = time.perf_counter() - exchange.started
        route = exchange.state.get("route") or route_template(scope)
        is_http = scope["type"] == "http"
        method = KNOWN_METHODS[scope["method"]] if is_http else "WEBSOCKET"
        if is_http:
            self._observe(method, route, status, seconds)
        log_request(
            exchange.state,
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
            code=exchange.close_code,
        )


class _Exchange:
    """One request and its answer, as they pass by.

    It holds no way out that holds it: a cycle, with the whole request in it, would wait for a walk of the collector.
    """

    __slots__ = ("_gone", "_receive", "close_code", "scope", "started", "state", "status")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self.started = time.perf_counter()
        self.status: int | None = None
        self.close_code: int | None = None
        self._gone = False
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        self.state = state
        state["server_id"] = server_id = uuid7_text()
        state["request_id"] = _clients_id(scope) or server_id
        state["started"] = self.started

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] in {"http.disconnect", "websocket.disconnect"}:
            self._gone = True
            self.close_code = self.close_code or message.get("code")
        return message

    def send_on_socket(self, out: Send, message: Message) -> Awaitable[None]:
        if message["type"] == "websocket.close":
            self.status = self.status or 403  # what a server answers to a handshake that is closed
            self.close_code = self.close_code or message.get("code", 1000)
        elif message["type"] == "websocket.accept":
            message = {**message, "headers": [*message.get("headers", ())]}
            self.add(message)
        return out(message)

    def add(self, head: Message) -> None:
        self.status = head.get("status", _SWITCHING)
        elapsed = time.perf_counter() - self.started
        timing = b"app;dur=%.2f" % (elapsed * 1000)
        if "timings" in self.state:
            for name, seconds in self.state["timings"].items():
                timing += b", %b;dur=%.2f" % (name.encode(), seconds * 1000)
        head["headers"] += (
            (b"x-request-id", self.state["request_id"].encode()),
            (b"x-process-time", b"%.4f" % elapsed),
            (b"server-timing", timing),
        )

    async def end(self, out: Send) -> None:
        """See to it that a client that still waits gets an answer: there was none."""
        if not self._gone:
            await self._refuse(out)

    async def fail(self, error: Exception, out: Send) -> None:
        """Log what went wrong, and answer if nothing was sent yet; an answer that has begun stays cut off."""
        if self._gone and isinstance(error, ClientDisconnect):
            return
        _log.error("A request failed.", route=route_template(self.scope), exc_info=error)
        if self.status is None:
            await self._refuse(out)
        elif self.scope["type"] == "websocket" and not self._gone:
            await out({"type": "websocket.close", "code": 1011})

    async def _refuse(self, out: Send) -> None:
        if self.scope["type"] == "websocket":
            self.status = SERVER_ERROR
            await out({"type": "websocket.close", "code": 1011})
            return
        error = InternalError("Something went wrong on our side. Tell us the request id if it stays.")
        await problem(error, self.scope)(self.scope, self._receive, out)


def _clients_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode() if _REQUEST_ID.fullmatch(value) else None
    return None


def route_template(scope: Scope) -> str:
    """Return the template of the matched route, such as `/v1/upstreams/{upstream_id}`; never what the client sent."""
    told = scope["state"].get("route")
    if isinstance(told, str):
        return told
    # FastAPI keeps the whole template of a route in an included router here; the route itself lacks the prefix.
    context = scope.get("fastapi", {}).get("effective_route_context")
    for matched in (context, getattr(context, "starlette_route", None), scope.get("route")):
        if path := getattr(matched, "path", None):
            return str(path)
    root, mounted = scope.get("app_root_path"), scope.get("root_path", "")
    if isinstance(root, str) and len(mounted) > len(root) and not scope.get("path_params"):
        return f"{mounted[len(root) :]}/*"
    return _UNMATCHED
