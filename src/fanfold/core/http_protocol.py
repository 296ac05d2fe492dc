"""HTTP of uvicorn, for answers of many headers."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

# What most answers have, and that neither ends the connection nor says how the body is framed.
_PLAIN = frozenset(
    {
        b"cache-control",
        b"content-length",
        b"content-security-policy",
        b"content-type",
        b"cross-origin-resource-policy",
        b"date",
        b"location",
        b"ratelimit",
        b"ratelimit-policy",
        b"referrer-policy",
        b"server-timing",
        b"strict-transport-security",
        b"vary",
        b"x-content-type-options",
        b"x-frame-options",
        b"x-process-time",
        b"x-request-id",
    }
)
_PERMITTED = bytes({*range(0x20, 0x100), 0x09} - {0x7F})  # in a value (RFC 9110, section 5.5)


class HttpProtocol(HttpToolsProtocol):
    """Writes plain answers at once, head and body together: one call of the system instead of two.

    Of each header uvicorn asks two patterns; an answer of ours has a dozen, and is looked at as a whole.
    """

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, _Outlet(cycle, app))


class _Outlet:
    """An application with one cycle: keeps the start of a plain answer until its body is there."""

    __slots__ = ("_app", "_cycle", "_length", "_start")

    def __init__(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._cycle, self._app = cycle, app
        self._start: Any = None

    def __call__(self, scope: Any, receive: Any, _send: Any) -> Any:
        return self._app(scope, receive, self._send)

    async def _send(self, message: Any) -> None:
        start = self._start
        if start is None:
            if message["type"] != "http.response.start" or not self._keeps(message):
                await self._cycle.send(message)
            return
        self._start = None
        if not self._has_sent(start, message):
            await self._cycle.send(start)
            await self._cycle.send(message)

    def _keeps(self, start: Any) -> bool:
        """Keep the start of an answer, if it is plain."""
        fields = dict(start.get("headers", ()))
        self._length = fields.get(b"content-length")
        cycle = self._cycle
        if self._length is None or cycle.response_started or cycle.scope["method"] == "HEAD":
            return False
        if _PLAIN.issuperset(fields):
            self._start = start
        return self._start is not None

    def _has_sent(self, start: Any, end: Any) -> bool:
        """Send the whole answer, if uvicorn has nothing to say to it: then false, and nothing is sent."""
        cycle, body = self._cycle, end.get("body", b"")
        if end.get("more_body") or cycle.disconnected or not cycle.keep_alive or cycle.flow.write_paused:
            return False
        if self._length != b"%d" % len(body):
            return False
        lines = [*map(b": ".join, cycle.default_headers), *map(b": ".join, start["headers"]), b"\r\n"]
        head = STATUS_LINE[start["status"]] + b"\r\n".join(lines)
        if head.translate(None, _PERMITTED) != b"\r\n" * (len(lines) + 1):
            return False  # a value would end its line
        cycle.transport.writelines((head, body))
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True
