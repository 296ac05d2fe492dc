"""From a request to its plan: cut, assign, price. Pure and synchronous, so that it can be taken off the loop whole."""

from collections.abc import Iterator

from fanfold.fanout.errors import InvalidPlan, TooManyChunks
from fanfold.fanout.fold_calls import fold_units_max
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.pricing import units_max
from fanfold.fanout.template import PromptTemplate
from fanfold.fanout.types import Call, Chunk, FanOutRequest, Plan

MAX_CALLS = 50_000
MAX_UNITS = 10**15
# Overlap repeats text: beyond eight times the text, and a million code points, memory would go to repetition.
_MAX_REPEATED = 8
_FREE_CODE_POINTS = 1_000_000
# So many times the allowed chunks' own size: the prefix in which a text of ordinary letters shows too many chunks.
_PROBE = 16
# Beyond these, planning takes some 5 ms: several requests may be planned in one turn of the loop.
_LONG_TEXT = 20_000
_MANY_CALLS = 500
_LONG_PROMPTS = 500_000


def make_plan(request: FanOutRequest, kinds: Kinds, *, max_chunks: int | None) -> Plan:
    """Return the plan. Raises `InvalidPlan`, `TooManyChunks` or `UnknownKind`."""
    _check(request)
    for upstream in request.upstreams:
        kinds.adapter(upstream.kind).check(upstream)
    chunks = _chunks(request, kinds, MAX_CALLS if max_chunks is None else max_chunks)
    calls = tuple(_calls(request, kinds, chunks))
    fold_units = fold_units_max(request.fold, kinds, answers=len(calls))
    units = sum(call.units_max for call in calls) + fold_units
    if units > MAX_UNITS:
        raise InvalidPlan(
            f"The request could cost more than {MAX_UNITS} units; send less, or lower max_tokens."
        )
    return Plan(request, chunks, calls, units, fold_units)


def _check(request: FanOutRequest) -> None:
    split = request.split
    for holds, detail in (
        (request.upstreams, "Name at least one upstream."),
        (request.text, "text must not be empty."),
        (
            split.size >= 1 and 0 <= split.overlap < split.size,
            "split needs size from 1 and overlap from 0 below size.",
        ),
        (request.deadline_s > 0, "deadline_s must be over 0."),
        (request.timeout_s is None or request.timeout_s > 0, "timeout_s must be over 0."),
        (request.max_attempts is None or request.max_attempts >= 1, "max_attempts must be at least 1."),
        (request.max_units is None or request.max_units >= 0, "max_units must be at least 0."),
        (0 <= request.min_success <= 1, "min_success must be from 0 to 1."),
        (
            all(upstream.max_concurrency >= 1 for upstream in request.upstreams),
            "max_concurrency must be at least 1.",
        ),
    ):
        if not holds:
            raise InvalidPlan(detail)
    try:
        request.text.encode()
    except UnicodeEncodeError:
        raise InvalidPlan("text must not hold lone surrogates.") from None


def _chunks(request: FanOutRequest, kinds: Kinds, most: int) -> tuple[Chunk, ...]:
    text, split = request.text, request.split
    cut = kinds.splitter(split.by)
    probe = _PROBE * (most + 1) * (split.size - split.overlap) + split.size
    if len(text) > probe:
        # Spares memory for millions of spans. Half the count, since a prefix may be cut otherwise near its end.
        _refuse_too_many(len(cut(text[:probe], split)) // 2, most)
    spans = cut(text, split)
    _refuse_too_many(len(spans), most)
    if sum(end - start for start, end in spans) > max(_MAX_REPEATED * len(text), _FREE_CODE_POINTS):
        raise TooManyChunks("The chunks repeat too much of the text; use less overlap.")
    return tuple(Chunk(index, start, end, text[start:end]) for index, (start, end) in enumerate(spans))


def _refuse_too_many(count: int, most: int) -> None:
    if count > most:
        raise TooManyChunks(f"The text gives more than {most} chunks; use a larger size or a shorter text.")


def _calls(request: FanOutRequest, kinds: Kinds, chunks: tuple[Chunk, ...]) -> Iterator[Call]:
    total, template = len(chunks), PromptTemplate(request.prompt)
    adapters = {upstream.kind: kinds.adapter(upstream.kind) for upstream in request.upstreams}
    assignments = kinds.strategy(request.strategy).assign(chunks, request.upstreams)
    for index, (chunk, candidates) in enumerate(assignments):
        if index >= MAX_CALLS:
            raise TooManyChunks(
                f"The request gives more than {MAX_CALLS} calls; use fewer chunks or upstreams."
            )
        prompt = template.prompt(chunk, total)
        dearest = max(units_max(upstream, chunk, prompt, adapters[upstream.kind]) for upstream in candidates)
        yield Call(index, chunk, candidates, dearest)


def is_long(request: FanOutRequest) -> bool:
    """Tell whether planning takes so long that it should be done off the event loop."""
    step = max(1, request.split.size - request.split.overlap)
    calls = len(request.text) * len(request.upstreams) // step
    prompts = calls * len(request.prompt or "")
    return len(request.text) > _LONG_TEXT or calls > _MANY_CALLS or prompts > _LONG_PROMPTS
