"""The limit on what runs at once, in front of the routes, as pure ASGI: nothing is read, nothing is buffered."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import ConcurrencyExceeded
from fanfold.core.problems import problem
from fanfold.core.sockets import LIMITS, closing
from fanfold.ratelimit.concurrency.base import Holder, Holders, LimitReached
from fanfold.ratelimit.concurrency.limiter import ConcurrencyLimiter

RETRY_AFTER_S = 1


class ConcurrencyMiddleware:
    """Holds a slot of every holder while a request runs, or a WebSocket lives; or answers 429 `concurrency-exceeded`.

    A WebSocket is closed with 4429.

    `holders_of` names the holders; none means that the request is not limited. The slots are given back when the last
    byte of the answer is sent, and else when the application is done with the request, however that comes about.
    `on_refusal` is told the name of the holder whose limit is reached.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter_of: Callable[[Scope], ConcurrencyLimiter],
        holders_of: Callable[[Scope], Holders],
        on_refusal: Callable[[str], None] = lambda _holder: None,
    ) -> None:
        self._app = app
        self._limiter_of = limiter_of
        self._holders_of = holders_of
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request or WebSocket in, or refuse it; any other scope passes."""
        if scope["type"] not in {"http", "websocket"} or not (holders := self._holders_of(scope)):
            await self._app(scope, receive, send)
            return
        limiter = self._limiter_of(scope)
        try:
            await limiter.acquire(holders)
        except LimitReached as reached:
            self._on_refusal(reached.holder.name)
            await _refuse(reached.holder, scope, receive, send)
            return
        slots = _Slots(limiter, holders, send)
        try:
            await self._app(scope, receive, slots.send if scope["type"] == "http" else send)
        finally:
            slots.release()


class _Slots:
    """The slots of one request, given back once."""

    __slots__ = ("_are_held", "_holders", "_limiter", "_send")

    def __init__(self, limiter: ConcurrencyLimiter, holders: Holders, send: Send) -> None:
        self._limiter, self._holders, self._send = limiter, holders, send
        self._are_held = True

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            return self._send_last(message)
        return self._send(message)

    async def _send_last(self, message: Message) -> None:
        await self._send(message)
        self.release()

    def release(self) -> None:
        if self._are_held:
            self._are_held = False
            self._limiter.release(self._holders)


async def _refuse(holder: Holder, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send(
            closing(LIMITS, f"At most {holder.limit} WebSockets of this {holder.name}. Close one, or wait.")
        )
        return
    await problem(refusal(holder), scope)(scope, receive, send)


def refusal(holder: Holder) -> ConcurrencyExceeded:
    """Return the 429 of a request that found no slot."""
    return ConcurrencyExceeded(
        f"At most {holder.limit} requests of this {holder.name} may run at once. Wait until one of them has ended.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
