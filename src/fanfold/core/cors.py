"""Which web pages may call the API from a browser (the Fetch standard, section 3.2)."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

SENT = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
)
SHOWN = (
    "Idempotent-Replayed",
    "Location",
    "Quota-Warning",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Process-Time",
    "X-Request-ID",
)
_METHODS = ("GET", "POST", "PATCH", "DELETE")


class CorsMiddleware(CORSMiddleware):
    """Pure ASGI. Pages of other `origins` learn nothing: their preflight is answered as if there was no CORS.

    A preflight of ours is answered here, before any credential is asked for, always with all that is allowed: browsers
    then tell their developers which header or method was not.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str], credentials: bool) -> None:
        super().__init__(
            app,
            allow_origins=frozenset(origins),
            allow_methods=_METHODS,
            allow_headers=SENT,
            allow_credentials=credentials,
            expose_headers=SHOWN,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; WebSockets pass through, for they are authenticated by no cookie."""
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or self.is_allowed_origin(origin):
            await super().__call__(scope, receive, send)
        else:
            await self.simple_response(scope, receive, send, request_headers=Headers())

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight of an allowed origin."""
        headers = dict(self.preflight_headers)
        if self.preflight_explicit_allow_origin:
            headers["Access-Control-Allow-Origin"] = request_headers["origin"]
        return Response(status_code=204, headers=headers)
