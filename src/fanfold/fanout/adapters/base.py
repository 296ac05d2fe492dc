"""The adapter port: what one kind of upstream is sent and how its answer is read."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from fanfold.core.values import value
from fanfold.fanout.telling import Tell
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse, UpstreamStream
from fanfold.fanout.types import Prompt, Upstream

Send = Callable[[UpstreamRequest], Awaitable[UpstreamResponse]]
Listen = Callable[[UpstreamRequest], AbstractAsyncContextManager[UpstreamStream]]


@value
class AdapterAnswer:
    """An accepted answer: its JSON or text, and the tokens and the reason it ended where the upstream reported them.

    `size` is what the result takes of the room for a request's answers, where that may be more than what was received;
    `status` is the last HTTP status, which the caller puts in.
    """

    result: Any
    input_tokens: int | None = None
    output_tokens: int | None = None
    size: int = 0
    finish_reason: str | None = None
    status: int | None = field(default=None, compare=False)

    def of_status(self, status: int | None) -> "AdapterAnswer":
        """Return the same, with the status it came with."""
        return AdapterAnswer(
            self.result, self.input_tokens, self.output_tokens, self.size, self.finish_reason, status
        )


@value(kw_only=True)
class Defaults:
    """What holds for an upstream of this kind where nothing is said. `headers` are sent beside its own.

    The credential goes as `<auth_header>: <auth_scheme> <credential>`, alone where the scheme is None.
    """

    timeout_s: float = 10.0
    idempotent: bool = False
    auth_header: str = "Authorization"
    auth_scheme: str | None = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)


# A model takes its time, and asking it twice does no harm.
AI_TIMEOUT_S = 60.0
AI_DEFAULTS = Defaults(timeout_s=AI_TIMEOUT_S, idempotent=True)


class Adapter(Protocol):
    """One kind of upstream, in one file and one line of the registry.

    `send` has already checked that the status is 2xx. `call` raises `CallFailed` with `invalid-answer` for an
    answer that is not what this kind promises. `check` raises `InvalidPlan` for an upstream of this kind whose
    configuration lacks something; `texts` and `output_tokens_bound` say how many tokens one call may take.
    """

    is_ai: bool
    """Whether this is an AI kind: what it is sent is read by a model."""

    defaults: Defaults
    """What holds for an upstream of this kind where nothing is said."""

    async def call(self, upstream: Upstream, prompt: Prompt, send: Send) -> AdapterAnswer:
        """Answer one prompt."""
        ...

    def check(self, upstream: Upstream) -> None:
        """Refuse an upstream that this kind cannot call."""
        ...

    def texts(self, upstream: Upstream, prompt: Prompt) -> list[str]:
        """The texts that are sent for one prompt: what input tokens are counted of."""
        ...

    def output_tokens_bound(self, upstream: Upstream) -> int | None:
        """Most output tokens one call can take, or None where nothing bounds them."""
        ...


@runtime_checkable
class StreamingAdapter(Adapter, Protocol):
    """A kind whose upstreams can answer token by token."""

    async def stream(self, upstream: Upstream, prompt: Prompt, listen: Listen, tell: Tell) -> AdapterAnswer:
        """Answer one prompt as `call` does, and tell its text as it comes: joined it is the result.

        `listen` has already checked that the status is 2xx. Raises `CallFailed`, as `call` and for a stream that ends
        before the answer does. `tell` raises it for more text than is taken.
        """
        ...
