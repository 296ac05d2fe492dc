"""How WebSockets end: close codes that a page can read, reasons that say what to do, and nothing sent after the end."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import (
    ConcurrencyExceeded,
    FanfoldError,
    InsufficientScope,
    NotAuthenticated,
    RateLimited,
    TenantSuspended,
)

# RFC 6455, section 7.4.1, and the IANA registry of close codes; those from 4000 on are ours.
UNSUPPORTED_DATA, INVALID_DATA, MESSAGE_TOO_BIG, TRY_AGAIN_LATER = 1003, 1007, 1009, 1013
NOT_AUTHENTICATED, FORBIDDEN, LIMITS = 4401, 4403, 4429
_TOLD = frozenset({TRY_AGAIN_LATER, NOT_AUTHENTICATED, FORBIDDEN, LIMITS})
_CODES: dict[type[FanfoldError], int] = {
    NotAuthenticated: NOT_AUTHENTICATED,
    InsufficientScope: FORBIDDEN,
    TenantSuspended: FORBIDDEN,
    RateLimited: LIMITS,
    ConcurrencyExceeded: LIMITS,
}
_MAX_REASON_BYTES = 123  # RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code


def closing(code: int, reason: str) -> Message:
    """Return the message that closes a socket; a reason of more than 123 bytes is cut."""
    kept = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": kept}


def code_of(error: FanfoldError) -> int:
    """Return the close code of a refusal: 4401, 4403, 4429, and 1013 for what passes."""
    return _CODES.get(type(error), TRY_AGAIN_LATER)


def subprotocol_of(scope: Scope) -> str | None:
    """Return the sub-protocol to answer with: `fanfold` where it was offered, else the one that holds the credential.

    A browser ends the connection where none of those that it offered is chosen (RFC 6455, section 4.1).
    """
    offered: list[str] = scope.get("subprotocols", [])
    if "fanfold" in offered:
        return "fanfold"
    return next((each for each in offered if each.startswith("bearer.")), None)


class SocketMiddleware:
    """Pure ASGI. Chooses the sub-protocol, makes refusals readable, and drops what is sent after the close.

    Of a handshake that is answered by HTTP a browser's page learns nothing. One that is closed with 4401, 4403, 4429
    or 1013 is therefore accepted first; any other close of it stays an HTTP 403.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one WebSocket; anything else passes."""
        if scope["type"] == "websocket":
            send = _Outlet(scope, send)
        return self._app(scope, receive, send)


class _Outlet:
    """What a socket sends, as it passes by."""

    __slots__ = ("_is_closed", "_is_open", "_scope", "_send")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._is_open = self._is_closed = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            await self._accept(message)
            return
        if message["type"] == "websocket.close":
            if not self._is_open and message.get("code") in _TOLD:
                await self._accept({"type": "websocket.accept"})
            await self._pass_on(message)
            self._is_closed = True
            return
        await self._pass_on(message)

    async def _accept(self, message: Message) -> None:
        self._is_open = True
        await self._pass_on({**message, "subprotocol": subprotocol_of(self._scope)})

    async def _pass_on(self, message: Message) -> None:
        try:
            if not self._is_closed:
                await self._send(message)
        except OSError:  # the client has gone, as whoever receives is told too
            self._is_closed = True
