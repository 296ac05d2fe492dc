"""The engine's values: what is asked, what is planned, what came back. Frozen, no framework, no database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from fanfold.core.values import value


class Meter(StrEnum):
    """What a usage event counts; each meter of a call is priced by itself."""

    CALLS = "calls"
    CHARACTERS = "characters"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


class ErrorCode(StrEnum):
    """Why one call failed, as the client reads it in a result's `error.code`."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    STATUS = "status"
    INVALID_ANSWER = "invalid-answer"
    TOO_LARGE = "too-large"
    FORBIDDEN_ADDRESS = "forbidden-address"
    CIRCUIT_OPEN = "circuit-open"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    BUDGET = "budget"


class Cause(StrEnum):
    """What lies behind an error whose code and status say too little to mend it."""

    NAME = "name"
    CONNECTION = "connection"
    TLS = "tls"
    BROKEN_OFF = "broken-off"
    NOT_HTTP = "not-http"
    NOT_JSON = "not-json"
    RESPONSE_PATH = "response-path"
    COMPRESSED = "compressed"


class OnError(StrEnum):
    """Whether one failed call ends the whole request."""

    KEEP = "keep"
    FAIL = "fail"


class Status(StrEnum):
    """How a request ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"


@value(kw_only=True)
class Split:
    """How a text is cut: `size` and `overlap` in the measure of `by` (graphemes, words or tokens)."""

    by: str = "characters"
    size: int = 500
    overlap: int = 0


@value
class Chunk:
    """A piece of the text; `start` and `end` are code points of the whole text."""

    index: int
    start: int
    end: int
    text: str


@value
class Prompt:
    """What is sent for one call: the chunk's text, or the request's own words around it; the `index`-th of `total`."""

    text: str
    index: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Integer units an accepted answer costs, per call, per 1,000 code points and per 1,000 tokens."""

    units_per_call: int = 1
    units_per_1k_chars: int = 0
    units_per_1k_input_tokens: int = 0
    units_per_1k_output_tokens: int = 0

    @property
    def is_by_call(self) -> bool:
        """Whether nothing is priced but the call itself."""
        return not (
            self.units_per_1k_chars or self.units_per_1k_input_tokens or self.units_per_1k_output_tokens
        )


@value
class MeterReading:
    """One meter of one accepted answer: how much was used and the units it costs.

    `rate` is the price it was taken at: units per call, or per 1,000 of what the meter counts. `is_counted`: tokens
    that the built-in tokenizer counted, since the upstream did not report them.
    """

    meter: Meter
    quantity: int
    units: int
    rate: int
    is_counted: bool = False


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """An API that answers chunks. `id` and `slug` are None for an address a client named itself.

    Without slots: what every call of it would work out anew is kept in it.
    """

    kind: str
    url: str
    id: UUID | None = None
    slug: str | None = None
    method: str = "POST"
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    auth_header: str | None = None
    """The header that carries the credential; None: header and scheme are those of the kind."""
    auth_scheme: str | None = "Bearer"
    credential: SecretStr | None = None
    request_template: Any = None
    response_path: str | None = None
    timeout_s: float = 10.0
    max_attempts: int = 3
    max_concurrency: int = 64
    weight: int = 1
    idempotent: bool = False
    is_shared: bool = False
    """Whether it is the operator's, so that tenants share its slots."""
    price: Price = Price()

    @cached_property
    def made(self) -> dict[object, Any]:
        """What was made of it for all its calls: its template, its headers."""
        return {}

    @property
    def is_common(self) -> bool:
        """Whether several tenants' calls take its slots: it is the operator's, or an address that anybody may name."""
        return self.is_shared or self.id is None

    @cached_property
    def key(self) -> str:
        """What slots are counted by: the registered upstream, else its address."""
        return str(self.id) if self.id else f"{self.kind}:{self.url}"


@value(kw_only=True)
class FoldOptions:
    """How the answers become one; `separator` joins them for `concat` and for what `reduce` sends to `upstream`.

    `prompt` stands around what a fold sends, with {chunk}, {index} and {total}.
    """

    by: str = "list"
    separator: str = "\n"
    upstream: Upstream | None = None
    prompt: str | None = None


@value(kw_only=True)
class FanOutRequest:
    """One whole job: a text, how it is cut, who answers and how the answers are folded. Seconds and units."""

    text: str
    upstreams: tuple[Upstream, ...]
    split: Split = Split()
    strategy: str = "round_robin"
    prompt: str | None = None
    """What is sent for each chunk, with {chunk}, {index} and {total}; the chunk alone without it."""
    fold: FoldOptions = FoldOptions()
    on_error: OnError = OnError.KEEP
    min_success: float = 0.0
    timeout_s: float | None = None
    deadline_s: float = 120.0
    max_attempts: int | None = None
    max_units: int | None = None
    owner: str | None = None
    """Whose calls these are: all runs of one owner together hold at most a quarter of the process's slots."""
    weight: int = 1
    """The owner's share of the slots that it waits for together with others."""
    is_background: bool = False
    """Whether nobody waits for it: then it leaves some slots to what the same owner waits for."""
    deltas: bool = False
    """Whether text is told while it is being written, where the kind of upstream streams it."""


@value
class Call:
    """One chunk for one of its `candidates`: the strategy says which, and who is asked when one failed."""

    index: int
    chunk: Chunk
    candidates: tuple[Upstream, ...]
    units_max: int


@value
class Plan:
    """What a request will do and at most cost, before anything is called. `calls` are in order of `index`.

    `units_max` includes `fold_units_max`: the calls that folding takes. `whole` is set where these are some of more
    chunks: how many there are together.
    """

    request: FanOutRequest
    chunks: tuple[Chunk, ...]
    calls: tuple[Call, ...]
    units_max: int
    fold_units_max: int = 0
    whole: int | None = None

    @property
    def total(self) -> int:
        """Chunks of the whole text: what a prompt's {total} says."""
        return len(self.chunks) if self.whole is None else self.whole

    @property
    def units_reserved(self) -> int:
        """Units to reserve: the quote, or the caller's own lower bound."""
        bound = self.request.max_units
        return self.units_max if bound is None else min(bound, self.units_max)


@value(kw_only=True)
class CallError:
    """Why a call failed. `status` is the upstream's HTTP status where it answered one; `cause` is not on the wire."""

    code: ErrorCode
    status: int | None
    detail: str
    cause: Cause | None = None


@value(kw_only=True)
class CallResult:
    """What became of one call. `upstream` is the one that answered, or the last one asked.

    Tokens are those billed where they are priced, else those reported.
    """

    index: int
    chunk: Chunk
    upstream: Upstream
    success: bool
    result: Any = None
    error: CallError | None = None
    attempts: int = 0
    latency_ms: float = 0.0
    readings: tuple[MeterReading, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None
    status: int | None = None
    """The HTTP status of the answer that was accepted."""

    @property
    def tokens_counted(self) -> bool:
        """Whether tokens of this call were counted here, since the upstream did not report them."""
        return len(self.readings) > 1 and True in [reading.is_counted for reading in self.readings]

    @property
    def units(self) -> int:
        """Units this call costs; 0 unless an answer was accepted."""
        readings = self.readings
        return readings[0].units if len(readings) == 1 else sum(reading.units for reading in readings)


@value
class Delta:
    """The next words of the answer to call `index`, not empty; joined they are its result, unless that failed.

    They come before the call's result, in order; those of a result that failed are void.
    """

    index: int
    text: str


@value(kw_only=True)
class FanOutAnswer:
    """The folded whole: `results` in order of `index`, one for each call of the plan; the fold's own calls apart."""

    status: Status
    results: tuple[CallResult, ...]
    output: Any
    fold_error: CallError | None = None
    fold_results: tuple[CallResult, ...] = ()

    @property
    def units(self) -> int:
        """Units of all accepted answers, the fold's among them."""
        return sum([result.units for result in self.results]) + self.fold_units

    @property
    def fold_units(self) -> int:
        """Units of the fold's own calls."""
        return sum([result.units for result in self.fold_results])
