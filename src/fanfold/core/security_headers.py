"""What every answer tells browsers and caches, in one place."""

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_A_YEAR_S = 31_536_000
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
# Answers are data: no browser may sniff, frame, embed or run them, nor tell others where it came from. Nobody may keep
# them: `X-API-Key` does not stop a shared cache as `Authorization` does (RFC 9111, section 3.5).
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class SecurityHeadersMiddleware:
    """Pure ASGI, outermost. Adds each header that an answer lacks: pages have a policy of their own, files may be kept.

    `https`: whether clients reach the server by TLS, as its public address says; then they shall keep to it.
    """

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        transport = ((b"strict-transport-security", b"max-age=%d" % _A_YEAR_S),) if https else ()
        self._headers = HEADERS + transport
        self._names = frozenset(dict(self._headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through but the start of an answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] in _STARTS:
                message = {**message, "headers": self._completed(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, guarded)

    def _completed(self, headers: Collection[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        present = dict(headers)
        if self._names.isdisjoint(present):  # nearly always
            return [*headers, *self._headers]
        return [*headers, *(header for header in self._headers if header[0] not in present)]
