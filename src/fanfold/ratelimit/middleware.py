"""The rate limit in front of the routes, as pure ASGI: nothing is read, nothing is buffered."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import RateLimited
from fanfold.core.outgoing import Outgoing
from fanfold.core.problems import problem
from fanfold.core.sockets import closing, code_of
from fanfold.ratelimit import headers
from fanfold.ratelimit.base import Bucket, Decision, RateLimitStore
from fanfold.ratelimit.errors import StoreUnavailable

BucketsOf = Callable[[Scope], tuple[Bucket, ...]]


class RateLimitMiddleware:
    """Takes a token of every bucket of a request, or answers 429 `rate-limited` and calls nothing further.

    The handshake of a WebSocket is a request too: refused it is closed with 4429.

    `store_of` finds the store, `buckets_of` names the buckets; none means that the request is not limited. An admitted
    answer gets the RateLimit fields, unless it has them already. When the store is unavailable, requests pass without
    the fields and `unlimited` counts them: an outage of a limiter must not be an outage of the service. `on_refusal` is
    told the name of the bucket that keeps a refused client waiting the longest.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store_of: Callable[[Scope], RateLimitStore],
        buckets_of: BucketsOf,
        on_refusal: Callable[[str], None] = lambda _bucket: None,
    ) -> None:
        self._app = app
        self._on_refusal = on_refusal
        self._store_of = store_of
        self._buckets_of = buckets_of
        self.unlimited = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit or refuse one request; any other scope passes."""
        if scope["type"] not in {"http", "websocket"} or not (buckets := self._buckets_of(scope)):
            await self._app(scope, receive, send)
            return
        try:
            decision = await self._store_of(scope).take(buckets)
        except StoreUnavailable:
            self.unlimited += 1
            await self._app(scope, receive, send)
            return
        if decision.admitted:

            def add(head: Message) -> None:
                if head["type"] == "http.response.start" and headers.STATE not in dict(head["headers"]):
                    head["headers"] += headers.fields(decision.states)

            await self._app(scope, receive, Outgoing(send, add))
            return
        self._on_refusal(waited_for(decision))
        error = refusal(decision)
        if scope["type"] == "websocket":
            await send(closing(code_of(error), error.detail))
        else:
            await problem(error, scope)(scope, receive, send)


def waited_for(decision: Decision) -> str:
    """Return the name of the bucket that keeps a refused client waiting the longest."""
    return max(decision.states, key=lambda state: state.reset_s).bucket.name


def refusal(decision: Decision) -> RateLimited:
    """Return the 429 of a refused decision, with `Retry-After` and the RateLimit fields."""
    wait = decision.retry_after_s
    fields = {name.decode("ascii"): value.decode("ascii") for name, value in headers.fields(decision.states)}
    return RateLimited(
        f"Too many requests. Wait {wait} {'second' if wait == 1 else 'seconds'} (see Retry-After), then try again; "
        "the RateLimit fields say how many requests are left.",
        headers={"retry-after": str(wait)} | fields,
    )
