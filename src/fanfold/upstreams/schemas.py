"""Upstreams on the wire."""

import datetime as dt
import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from fanfold.core.schemas import (
    AnswerModel,
    Flag,
    Moment,
    Number,
    OneOf,
    ReadModel,
    Slug,
    StrictModel,
    Whole,
    with_example,
)
from fanfold.fanout.adapters.registry import ADAPTERS
from fanfold.fanout.transports.wire import TRANSPORT_HEADERS
from fanfold.upstreams.circuits import CircuitState

MAX_PRICE = 1_000_000
MAX_TEMPLATE_CHARACTERS = 20_000

# RFC 9110, section 5.6.2 (token) and 5.5 (field value, visible characters only).
_TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$"  # noqa: S105 (a pattern)
_FIELD_VALUE = r"^[\x21-\x7e]([\x20-\x7e]{0,1998}[\x21-\x7e])?$"
# What the transport itself writes; a second one would be a request smuggled into the first (RFC 9112, section 11.2).
_OWN_HEADERS = TRANSPORT_HEADERS | {"content-type"}

UpstreamKind = Annotated[str, OneOf(ADAPTERS)]
HeaderName = Annotated[str, StringConstraints(pattern=_TOKEN)]
HeaderValue = Annotated[str, StringConstraints(pattern=_FIELD_VALUE)]
Price = Annotated[Whole, Field(ge=0, le=MAX_PRICE)]
PerCall = Annotated[Price, Field(description="Units of each call that succeeds.")]
PerChars = Annotated[
    Price, Field(description="Units of 1,000 characters (code points) of a chunk, rounded up.")
]
PerInput = Annotated[
    Price, Field(description="Units of 1,000 tokens of the prompt, rounded up; counted where not reported.")
]
PerOutput = Annotated[
    Price,
    Field(
        description="Units of 1,000 tokens of the answer, rounded up; needs `options.max_tokens`, the most to reserve."
    ),
]


def _own_headers_refused(headers: dict[str, str]) -> dict[str, str]:
    if _OWN_HEADERS.intersection(name.lower() for name in headers):
        raise ValueError(f"these headers are written by Fanfold itself: {', '.join(sorted(_OWN_HEADERS))}")
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("a header is given twice")
    return headers


Headers = Annotated[dict[HeaderName, HeaderValue], Field(max_length=50), AfterValidator(_own_headers_refused)]


def _letters(value: Any) -> int:
    """About how many characters a value takes as JSON; writing out a long one would hold the loop."""
    match value:
        case str():
            return len(value) + 3
        case dict():
            return sum(map(_letters, value)) + sum(map(_letters, value.values()))
        case list():
            return sum(map(_letters, value))
        case _:
            return len(str(value)) + 2


def _under_20000_characters(value: Any) -> Any:
    if _letters(value) > MAX_TEMPLATE_CHARACTERS:
        raise ValueError(f"must be under {MAX_TEMPLATE_CHARACTERS} characters")
    return value


def _of_64_bits(value: Any) -> Any:
    """Refuse what Postgres gives back as a whole number of more than 64 bits, which nobody writes as JSON: 1e20."""
    match value:
        case float() if value.is_integer() and not -(2**63) <= value < 2**64:
            raise ValueError("a whole number must have 64 bits at most")
        case dict():
            _of_64_bits([*value.values()])
        case list():
            for element in value:
                _of_64_bits(element)
    return value


class AuthOptions(StrictModel):
    """Where the credential goes: `<header>: <scheme> <credential>`; no scheme: the credential alone."""

    header: HeaderName = Field(default="Authorization", description="The header that carries it.")
    scheme: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,50}$")] | None = Field(
        default="Bearer", description="What stands before it; null: nothing."
    )

    @model_validator(mode="after")
    def _not_our_own(self) -> "AuthOptions":
        _own_headers_refused({self.header: ""})
        return self


class _UpstreamOptions(StrictModel):
    """What may be said of any upstream. `credential` is written, sealed and never shown."""

    method: Literal["POST", "GET"] = Field(default="POST", description="AI kinds take POST alone.")
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        default=None, description="The model to ask; AI kinds need it."
    )
    options: Annotated[
        dict[str, Any], AfterValidator(_under_20000_characters), AfterValidator(_of_64_bits)
    ] = Field(
        default={},
        max_length=100,
        description="AI kinds: sent with each call. `max_tokens` bounds what an answer may cost, for every kind; "
        "anthropic gets 4096 without it, ollama gets it as `num_predict`.",
    )
    headers: Headers = Field(
        default={}, description="Sent with each call; no place for secrets: they are shown."
    )
    auth: AuthOptions = Field(
        default=AuthOptions(), description="Left out, anthropic has `x-api-key` with the credential alone."
    )
    credential: Annotated[SecretStr, Field(min_length=1, max_length=4000)] | None = Field(
        default=None,
        description="The upstream's own API key; sealed, sent to this origin alone, never shown.",
    )
    request_template: Annotated[Any, AfterValidator(_under_20000_characters), AfterValidator(_of_64_bits)] = (
        Field(
            default=None,
            description="JSON whose strings take {chunk}, {index} and {total}; for AI kinds a list of messages.",
        )
    )
    response_path: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        default=None, description="JMESPath that picks the result out of the answer."
    )
    timeout_s: Annotated[Number, Field(ge=0.1, le=300)] = Field(
        default=10.0, description="60 by default for AI kinds."
    )
    max_attempts: Annotated[Whole, Field(ge=1, le=10)] = Field(
        default=3, description="Attempts at one chunk."
    )
    max_concurrency: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        default=64, description="Calls to it that each process makes at once."
    )
    weight: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        default=1, description="Its share of the chunks under the strategy `weighted`, beside the others'."
    )
    idempotent: Flag = Field(
        default=False,
        description="Whether a call that may have arrived is tried again; true by default for AI kinds and GET.",
    )
    units_per_call: PerCall = 1
    units_per_1k_chars: PerChars = 0
    units_per_1k_input_tokens: PerInput = 0
    units_per_1k_output_tokens: PerOutput = 0
    enabled: Flag = Field(default=True, description="Whether requests may use it.")
    is_default: Flag = Field(default=False, description="Answers where a request names no upstreams.")

    @model_validator(mode="after")
    def _credential_fits_a_header(self) -> "_UpstreamOptions":
        if self.credential and not re.fullmatch(_FIELD_VALUE.replace("1998", "3998"), self._secret()):
            raise ValueError("credential must be visible ASCII characters")
        return self

    def _secret(self) -> str:
        return self.credential.get_secret_value() if self.credential else ""


class UpstreamCreate(_UpstreamOptions):
    """An upstream to be registered."""

    model_config = with_example(
        slug="summarize",
        kind="openai",
        url="https://api.openai.com/v1",
        model="gpt-4o-mini",
        options={"max_tokens": 300},
        credential="sk-your-own-key",
    )

    slug: Slug = Field(description="Its short name, which requests use: a-z, 0-9 and `-`.")
    kind: UpstreamKind = Field(
        description="http_json: any JSON API; openai: chat completions, as OpenAI and many others have them; "
        "anthropic: messages; ollama: chats of Ollama; echo: a dry run."
    )
    url: Annotated[str, StringConstraints(min_length=8, max_length=2000)] = Field(
        examples=["https://api.openai.com/v1"],
        description="Its address; for AI kinds the base, such as `https://api.openai.com/v1`, "
        "`https://api.anthropic.com` or `http://127.0.0.1:11434`.",
    )


class UpstreamUpdate(_UpstreamOptions):
    """What may change of an upstream; members left out stay as they are. Another price holds from now on.

    A `url` of another origin erases the credential unless a new one comes with it.
    """

    model_config = with_example(timeout_s=30, max_concurrency=16)

    slug: Slug = Field(default="", description="Its new short name.")
    url: Annotated[str, StringConstraints(min_length=8, max_length=2000)] = Field(
        default="", description="Its new address."
    )


class AuthRead(ReadModel):
    """Where the credential goes."""

    header: str
    scheme: str | None


class CircuitRead(ReadModel):
    """Whether an upstream is asked: `open` while calls fail at once (`circuit-open`), `half_open` while one is tried.

    Open where it is open in any of the `processes` in which it is not closed, whatever server they belong to.
    """

    state: CircuitState
    opened_at: dt.datetime | None
    retry_at: dt.datetime | None
    processes: int


class UpstreamRead(ReadModel):
    """An upstream with the price in force; of its credential only whether there is one.

    Of a shared one tenants see nothing of how it is asked: `url`, `options`, `headers`, `auth`, `has_credential`,
    `request_template` and `response_path` are null.
    """

    id: UUID
    slug: str
    kind: str
    shared: bool = Field(description="Whether it is the operator's, for all tenants.")
    url: str | None
    method: str
    model: str | None
    options: dict[str, Any] | None
    headers: dict[str, str] | None
    auth: AuthRead | None
    has_credential: bool | None
    request_template: Any
    response_path: str | None
    timeout_s: float
    max_attempts: int
    max_concurrency: int
    weight: int
    idempotent: bool
    units_per_call: int
    units_per_1k_chars: int
    units_per_1k_input_tokens: int
    units_per_1k_output_tokens: int
    enabled: bool
    is_default: bool
    circuit: CircuitRead
    created_at: dt.datetime
    updated_at: dt.datetime


class TrialError(ReadModel):
    """Why a call failed, as in the results of a request."""

    code: str
    status: int | None
    detail: str


class UpstreamTrial(ReadModel):
    """What became of one call: its result, or what is wrong and what to change."""

    success: bool
    status: int | None = Field(description="The upstream's HTTP status, where it answered one.")
    latency_ms: float
    result: str | None = Field(
        description="The first 2,000 characters of its answer, as text or compact JSON."
    )
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error: TrialError | None
    advice: str | None = Field(description="What is wrong, and what to change; null where nothing is.")


class PriceCreate(StrictModel):
    """A price that holds from a moment on, or from now; units left out keep the value in force at that time."""

    model_config = with_example(units_per_call=2, units_per_1k_chars=1)

    effective_from: Moment | None = Field(
        default=None, description="The moment it begins, not in the past; now without it."
    )
    units_per_call: PerCall | None = None
    units_per_1k_chars: PerChars | None = None
    units_per_1k_input_tokens: PerInput | None = None
    units_per_1k_output_tokens: PerOutput | None = None


class PriceRead(AnswerModel):
    """A price of an upstream, from `effective_from` until `effective_until` (null: no later price is known)."""

    id: UUID
    effective_from: dt.datetime
    effective_until: dt.datetime | None
    units_per_call: int
    units_per_1k_chars: int
    units_per_1k_input_tokens: int
    units_per_1k_output_tokens: int
    created_at: dt.datetime
