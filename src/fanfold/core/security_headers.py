"""What every answer tells browsers and caches, in one place."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.outgoing import Outgoing

_A_YEAR_S = 31_536_000
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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass everything through but the head of an answer."""
        return self._app(scope, receive, Outgoing(send, self._complete))

    def _complete(self, head: Message) -> None:
        present = dict(head["headers"])
        if self._names.isdisjoint(present):  # nearly always
            head["headers"] += self._headers
        else:
            head["headers"] += [header for header in self._headers if header[0] not in present]
