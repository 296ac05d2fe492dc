"""What every answer tells browsers and caches, in one place."""

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through but the start of an answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] in _STARTS:
                present = {name for name, _ in message.get("headers", ())}
                missing = [header for header in self._headers if header[0] not in present]
                message = {**message, "headers": [*message.get("headers", ()), *missing]}
            await send(message)

        await self._app(scope, receive, guarded)
