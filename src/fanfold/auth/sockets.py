"""Who opens this WebSocket? Asked before the application hears of it, in the handshake or by the first frame."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from fanfold.auth.buckets import stranger_bucket
from fanfold.auth.credentials import authenticate, refusal
from fanfold.auth.origins import Origins
from fanfold.auth.routes import GuardedRoute
from fanfold.auth.socket_credentials import FIRST_FRAME_S, TOO_LATE, frame_credential, handshake_credential
from fanfold.auth.strangers import Strangers
from fanfold.core.config import IPNetwork
from fanfold.core.errors import FanfoldError, NotAuthenticated, RateLimited
from fanfold.core.sockets import closing, code_of
from fanfold.ratelimit.errors import StoreUnavailable

_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1; before the handshake's end it is an HTTP 403
_TOO_MANY = (
    "Too many sockets of this address without a credential. Wait a minute, or send it in the handshake."
)


class _Left(Exception):
    """The client hung up before it said who it is."""


class SocketAuthenticationMiddleware:
    """Puts the `Principal` and the `Watched` of a WebSocket into the scope's state, or closes it: 4401, 4403, 4429.

    The application's state holds `route_table`, `authenticators`, `rate_limit_store`, `socket_watch` and `strangers`.
    Who names no credential in the handshake has five seconds to send it as the first frame, and counts as a stranger
    until then; further in nobody notices: a handshake is theirs to accept, as if the frame had been a header.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: Origins,
        trusted_proxies: Sequence[IPNetwork],
        first_frame_s: float = FIRST_FRAME_S,
        on_refusal: Callable[[str], None] = lambda _bucket: None,
    ) -> None:
        self._app = app
        self._origins, self._trusted_proxies = origins, trusted_proxies
        self._first_frame_s, self._on_refusal = first_frame_s, on_refusal

    def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None]:
        """Let one WebSocket in or close it; anything else passes, and so does what no route answers."""
        route = scope["app"].state.route_table.match(scope) if scope["type"] == "websocket" else None
        if route is None:
            return self._app(scope, receive, send)
        return self._judge(scope, route, receive, send)

    async def _judge(self, scope: AsgiScope, route: GuardedRoute, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        state["route"] = route.path
        if not self._origins.allow(scope):
            await send(closing(_POLICY_VIOLATION, "This page's origin is not allowed."))
            return
        exchange = _Exchange(receive, send)
        try:
            credential = handshake_credential(scope)
            if credential is None:
                credential = await self._first_frame(scope, exchange)
            await self._enter(scope, route, credential, exchange)
        except FanfoldError as error:
            await exchange.send(closing(code_of(error), error.detail))
        except _Left:
            return

    async def _first_frame(self, scope: AsgiScope, exchange: "_Exchange") -> str:
        bucket = stranger_bucket(scope, self._trusted_proxies)
        with suppress(StoreUnavailable):
            if not (await scope["app"].state.rate_limit_store.take([bucket])).admitted:
                self._on_refusal(bucket.name)
                raise RateLimited(_TOO_MANY)
        strangers: Strangers = scope["app"].state.strangers
        with strangers.waiting(bucket.key):
            try:
                async with asyncio.timeout(self._first_frame_s):
                    return frame_credential(await exchange.first_frame())
            except TimeoutError:
                raise NotAuthenticated(TOO_LATE) from None

    async def _enter(
        self, scope: AsgiScope, route: GuardedRoute, credential: str, exchange: "_Exchange"
    ) -> None:
        state, application = scope["state"], scope["app"].state
        principal = await authenticate(application.authenticators, credential) if credential else None
        if principal is None:
            raise refusal(credential)
        state["principal"] = principal
        route.requirement.check(principal)
        with application.socket_watch.watching(credential, route.requirement, principal) as watched:
            state["watched"] = watched
            await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """The messages of one socket; where its handshake had to end for the first frame, the rest hears of it anew."""

    __slots__ = ("_is_open", "_is_told", "_receive", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_open = self._is_told = False

    async def first_frame(self) -> Message:
        """End the handshake and return what the client sends first."""
        await self._next()
        await self._send({"type": "websocket.accept"})
        self._is_open = True
        return await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Left
        return message

    async def receive(self) -> Message:
        if self._is_open and not self._is_told:
            self._is_told = True
            return {"type": "websocket.connect"}
        return await self._receive()

    async def send(self, message: Message) -> None:
        if self._is_open and message["type"] == "websocket.accept":
            return
        await self._send(message)
