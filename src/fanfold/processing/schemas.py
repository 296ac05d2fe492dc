"""A process request and its answer on the wire."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from fanfold.core.schemas import (
    AnswerModel,
    AtLeast,
    Flag,
    Number,
    OneOf,
    Slug,
    StrictModel,
    Whole,
    with_example,
)
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.folds.registry import FOLDS
from fanfold.fanout.splitters.registry import SPLITTERS
from fanfold.fanout.strategies.registry import STRATEGIES
from fanfold.fanout.template import PromptTemplate
from fanfold.fanout.types import ErrorCode, OnError, Status


class OnDisconnect(StrEnum):
    """What becomes of a request whose client leaves: it ends and what was done is billed, or it goes on."""

    CANCEL = "cancel"
    CONTINUE = "continue"


# So the default of a request is this very value; of what may change pydantic makes a deep copy for each request.
UNCHANGED = ConfigDict(frozen=True)

MAX_CHUNK_SIZE = 100_000
MAX_UPSTREAMS = 50
MAX_UNITS = 10**15

ChunkSize = Annotated[Whole, Field(ge=1, le=MAX_CHUNK_SIZE)]
Url = Annotated[str, StringConstraints(min_length=8, max_length=2000)]


# The engine takes 64 KiB of UTF-8, however many bytes a character has.
MAX_PROMPT = 16_000


def _with_a_place_for_the_chunk(words: str) -> str:
    try:
        PromptTemplate(words)
    except InvalidPlan as error:
        raise ValueError(str(error)) from None
    return words


RequestPrompt = Annotated[
    str, AtLeast(1), StringConstraints(max_length=MAX_PROMPT), AfterValidator(_with_a_place_for_the_chunk)
]


class SplitOptions(StrictModel):
    """How the text is cut. `size` and `overlap` count graphemes, words or tokens, as `by` says."""

    model_config = UNCHANGED

    by: Annotated[str, OneOf(SPLITTERS)] = Field(
        default="characters", description="What is counted, and what is kept whole."
    )
    size: ChunkSize = Field(default=500, description="The most of it in one chunk.")
    overlap: Annotated[Whole, Field(ge=0, lt=MAX_CHUNK_SIZE)] = Field(
        default=0, description="How much of the end of a chunk the next one repeats; less than `size`."
    )

    @model_validator(mode="after")
    def _overlap_under_size(self) -> "SplitOptions":
        if self.overlap >= self.size:
            raise ValueError("overlap must be less than size")
        return self


class FoldRequest(StrictModel):
    """How the answers become one."""

    model_config = UNCHANGED

    by: Annotated[str, OneOf(FOLDS)] = Field(
        default="list",
        description="list leaves the answers in `results`; concat joins them into `output`; reduce has an upstream "
        "fold them in groups, again and again, until one is left; merge joins JSON arrays or merges objects; "
        "vote takes the answer most often given.",
    )
    separator: Annotated[str, StringConstraints(max_length=1000)] = Field(
        default="\n", description="What concat and reduce put between two answers."
    )
    upstream: Slug | None = Field(
        default=None, description="reduce: slug of the one that folds; the first of the request's without it."
    )
    prompt: RequestPrompt | None = Field(
        default=None, description="reduce: what is sent, with {chunk} once, where the answers go."
    )

    @model_validator(mode="after")
    def _upstream_and_prompt_are_used(self) -> "FoldRequest":
        is_asked = FOLDS[self.by].calls_max(2) > 0
        if not is_asked and (self.upstream is not None or self.prompt is not None):
            raise ValueError(f"upstream and prompt are for reduce: {self.by} asks nobody")
        return self


RequestText = Annotated[str, AtLeast(1)]


class ProcessOptions(StrictModel):
    """What is to be done with a text, however it comes."""

    split: SplitOptions = SplitOptions()
    upstreams: list[Slug] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_UPSTREAMS,
        description="Slugs of those that answer; the tenant's default upstream without it.",
    )
    strategy: Annotated[str, OneOf(STRATEGIES)] = Field(
        default="round_robin",
        description="round_robin: chunks to the upstreams in turn; weighted: in turn by their `weight`; least_busy: "
        "each to the one with the smallest share of its slots in use; fallback: each to the first that answers; "
        "broadcast: each to all of them.",
    )
    prompt: RequestPrompt | None = Field(
        default=None,
        description="What is sent for each chunk, with {chunk} once, {index} and {total}; the chunk alone without it.",
    )
    fold: FoldRequest = FoldRequest()
    on_error: OnError = Field(
        default=OnError.KEEP, description="fail: the first failed chunk cancels the rest and fails the whole."
    )
    min_success: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="Share of the results that must succeed, or else the whole has failed."
    )
    timeout_s: Annotated[Number, Field(ge=0.1, le=300)] | None = Field(
        default=None, description="Seconds of one attempt; the upstream's own without it."
    )
    deadline_s: Annotated[Number, Field(ge=1, le=900)] = Field(
        default=120.0, description="Seconds of the whole request, retries and all."
    )
    max_attempts: Annotated[Whole, Field(ge=1, le=10)] | None = Field(
        default=None, description="Attempts at one chunk; the upstream's own without it."
    )
    max_units: Annotated[Whole, Field(ge=0, le=MAX_UNITS)] | None = Field(
        default=None, description="The most that the request may cost; chunks beyond it fail with `budget`."
    )
    chunk_size: ChunkSize | None = Field(default=None, description="Short form of `split.size`.")
    api_urls: list[Url] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_UPSTREAMS,
        description="Short form of `upstreams`, by address.",
    )

    @model_validator(mode="after")
    def _one_form(self) -> "ProcessOptions":
        is_mixed_split = self.chunk_size is not None and "split" in self.model_fields_set
        if is_mixed_split or (self.api_urls is not None and self.upstreams is not None):
            raise ValueError("send chunk_size or split, and api_urls or upstreams, not both")
        return self


class ProcessRequest(ProcessOptions):
    """A text and what is to be done with it. Only `text` is required.

    The short form `{"text", "chunk_size", "api_urls"}` is taken too; it cannot be mixed with `split` and `upstreams`.
    """

    model_config = with_example(
        text="Fan out, then fold. 先展开，再折叠。 Each sentence here is a chunk.",
        split={"by": "sentences", "size": 30},
        fold={"by": "list"},
    )

    text: RequestText = Field(
        examples=["A long text. And more of it."],
        description="The text, in any script; the plan limits its length.",
    )
    on_disconnect: OnDisconnect = Field(
        default=OnDisconnect.CANCEL,
        description="When the client leaves: end, and bill what was done; or go on to the end, for which an "
        "`Idempotency-Key` is needed: repeat the request, and the answer is there.",
    )
    stream: Flag = Field(
        default=False,
        description="Answer as an event stream: each result as soon as it is there. Without it `Accept` decides.",
    )


class TutorialRequest(ProcessRequest):
    """The tutorials' request: at least 10 characters."""

    model_config = with_example(text="A text of ten characters or more.", chunk_size=12)

    text: Annotated[str, AtLeast(10)] = Field(
        examples=["A text of ten or more."],
        description="The text, in any script; the plan limits its length.",
    )


class CallErrorRead(AnswerModel):
    """Why a call failed; `status` is the upstream's, where it answered one."""

    code: ErrorCode
    status: int | None
    detail: str


class ResultRead(AnswerModel):
    """What became of one chunk at one upstream; `start` and `end` are code points of the text.

    Tokens are those billed where they are priced, else those reported; `tokens_counted`: the upstream did not report
    all that are priced, so the built-in tokenizer (o200k_base) counted them.
    """

    index: int
    start: int
    end: int
    upstream: str | None
    url: str | None
    success: bool
    result: Any
    error: CallErrorRead | None
    attempts: int
    latency_ms: float
    units: int
    input_tokens: int | None
    output_tokens: int | None
    tokens_counted: bool
    finish_reason: str | None


class FoldRead(AnswerModel):
    """The calls that folding took, what they cost, and why there is no output where it failed."""

    calls: int
    units: int
    error: CallErrorRead | None


class UsageRead(AnswerModel):
    """Units billed for this request, code points of the text, and units left in the period (null: no ceiling)."""

    units: int
    characters: int
    quota_remaining: int | None


class ProcessAnswer(AnswerModel):
    """The folded whole. Failed chunks are data, not an HTTP error."""

    id: UUID
    status: Status
    total: int
    successful: int
    failed: int
    results: list[ResultRead]
    output: Any
    fold: FoldRead
    usage: UsageRead


class QuotedChunk(AnswerModel):
    """A chunk as it would be cut, and who would be asked for it first.

    `upstream` is null for an address, and for least_busy, where nobody knows before the call begins.
    """

    index: int
    start: int
    end: int
    upstream: str | None


class QuoteAnswer(AnswerModel):
    """What a request would cost at most, `fold_units_max` of it for folding; nothing was called or billed.

    `quota_remaining`: units that a request with this key may still take, of the quota and of the key's budget; null
    where overage is allowed and the key has no budget.
    """

    chunks: list[QuotedChunk]
    units_max: int
    fold_units_max: int
    quota_remaining: int | None
    allowed: bool
