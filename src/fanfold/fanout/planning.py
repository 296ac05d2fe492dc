"""From a request to its plan: cut, assign, price. Pure and synchronous, so that it can be taken off the loop whole."""

from collections.abc import Callable
from itertools import islice

from fanfold.fanout.cutting import cut
from fanfold.fanout.errors import InvalidPlan, TooManyChunks
from fanfold.fanout.fold_calls import fold_units_max
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.pricing import units_max
from fanfold.fanout.strategies.base import Candidates
from fanfold.fanout.template import PromptTemplate
from fanfold.fanout.types import Call, Chunk, FanOutRequest, Plan

MAX_CALLS = 50_000
MAX_UNITS = 10**15
# Beyond these, planning takes some 5 ms: several requests may be planned in one turn of the loop.
_LONG_TEXT = 20_000
_MANY_CALLS = 500
_LONG_PROMPTS = 500_000
_CHECKED = "checked"


def make_plan(request: FanOutRequest, kinds: Kinds, *, max_chunks: int | None) -> Plan:
    """Return the plan. Raises `InvalidPlan`, `TooManyChunks` or `UnknownKind`."""
    _check_options(request, kinds)
    _check_text(request.text)
    most = MAX_CALLS if max_chunks is None else max_chunks
    chunks = cut(request.text, request.split, kinds, most=most)
    calls = _calls(request, kinds, chunks, len(chunks))
    fold_units = fold_units_max(request.fold, kinds, answers=len(calls))
    units = sum([call.units_max for call in calls]) + fold_units
    check_units(units)
    return Plan(request, chunks, calls, units, fold_units)


def plan_chunks(request: FanOutRequest, kinds: Kinds, chunks: tuple[Chunk, ...], *, whole: int) -> Plan:
    """Return the plan of chunks that follow one another, out of `whole`; the request's text is not looked at.

    Calls have the index, the upstream and the price that they have in the plan of the whole, whose fold is not in it.
    Raises `TooManyChunks` and `InvalidPlan`; check the options first.
    """
    calls = _calls(request, kinds, chunks, whole)
    return Plan(request, chunks, calls, sum(call.units_max for call in calls), whole=whole)


def check_units(units: int) -> None:
    """Raise `InvalidPlan` where a request could cost more units than are ever counted."""
    if units > MAX_UNITS:
        raise InvalidPlan(
            f"The request could cost more than {MAX_UNITS} units; send less, or lower max_tokens."
        )


def _check_options(request: FanOutRequest, kinds: Kinds) -> None:
    """Raise `InvalidPlan` or `UnknownKind` where the request cannot be planned whatever its text is."""
    _check_numbers(request)
    PromptTemplate(request.prompt)
    kinds.splitter(request.split.by)
    kinds.strategy(request.strategy)
    for upstream in request.upstreams:
        if _CHECKED not in upstream.made:
            if upstream.max_concurrency < 1:
                raise InvalidPlan("max_concurrency must be at least 1.")
            kinds.adapter(upstream.kind).check(upstream)
            upstream.made[_CHECKED] = True


def _check_numbers(request: FanOutRequest) -> None:
    split = request.split
    if not request.upstreams:
        raise InvalidPlan("Name at least one upstream.")
    if not (split.size >= 1 and 0 <= split.overlap < split.size):
        raise InvalidPlan("split needs size from 1 and overlap from 0 below size.")
    if not request.deadline_s > 0:  # nor what is no number
        raise InvalidPlan("deadline_s must be over 0.")
    if not (request.timeout_s is None or request.timeout_s > 0):
        raise InvalidPlan("timeout_s must be over 0.")
    if not (request.max_attempts is None or request.max_attempts >= 1):
        raise InvalidPlan("max_attempts must be at least 1.")
    if not (request.max_units is None or request.max_units >= 0):
        raise InvalidPlan("max_units must be at least 0.")
    if not 0 <= request.min_success <= 1:
        raise InvalidPlan("min_success must be from 0 to 1.")


def _check_text(text: str) -> None:
    if not text:
        raise InvalidPlan("text must not be empty.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidPlan("text must not hold lone surrogates.") from None


def _calls(request: FanOutRequest, kinds: Kinds, chunks: tuple[Chunk, ...], whole: int) -> tuple[Call, ...]:
    strategy, upstreams = kinds.strategy(request.strategy), request.upstreams
    first = chunks[0].index if chunks else 0
    if first:
        first *= sum(1 for _ in strategy.assign(chunks[:1], upstreams))
    assigned = list(islice(strategy.assign(chunks, upstreams), max(0, MAX_CALLS - first) + 1))
    if first + len(assigned) > MAX_CALLS:
        raise TooManyChunks(f"The request gives more than {MAX_CALLS} calls; use fewer chunks or upstreams.")
    prices = {one.price.units_per_call if one.price.is_by_call else None for one in upstreams}
    if len(prices) == 1 and (price := prices.pop()) is not None:  # whatever is sent, and whoever answers
        return tuple(
            [Call(at, chunk, candidates, price) for at, (chunk, candidates) in enumerate(assigned, first)]
        )
    dearest = _dearest(request, kinds, whole)
    return tuple(
        [
            Call(at, chunk, candidates, dearest(chunk, candidates))
            for at, (chunk, candidates) in enumerate(assigned, first)
        ]
    )


def _dearest(request: FanOutRequest, kinds: Kinds, whole: int) -> Callable[[Chunk, Candidates], int]:
    """Return what returns the most that a call can cost, whichever of its candidates answers."""
    if all(one.price.is_by_call for one in request.upstreams):
        return lambda _chunk, candidates: max([one.price.units_per_call for one in candidates])
    template = PromptTemplate(request.prompt)
    adapters = {upstream.kind: kinds.adapter(upstream.kind) for upstream in request.upstreams}

    def dearest(chunk: Chunk, candidates: Candidates) -> int:
        prompt = template.prompt(chunk, whole)
        return max([units_max(one, chunk, prompt, adapters[one.kind]) for one in candidates])

    return dearest


def is_long(request: FanOutRequest) -> bool:
    """Tell whether planning takes so long that it should be done off the event loop."""
    length, split = len(request.text), request.split
    calls = length * len(request.upstreams) // max(1, split.size - split.overlap)
    if length > _LONG_TEXT or calls > _MANY_CALLS:
        return True
    return request.prompt is not None and calls * len(request.prompt) > _LONG_PROMPTS


def are_long(request: FanOutRequest, chunks: tuple[Chunk, ...]) -> bool:
    """Tell whether planning chunks that are cut takes so long that it should be done off the event loop."""
    calls = len(chunks) * len(request.upstreams)
    # A weighted sequence is gone through from its beginning.
    before = chunks[0].index if chunks else 0
    letters = sum(len(chunk.text) for chunk in chunks) + calls * len(request.prompt or "")
    return letters > _LONG_TEXT or calls > _MANY_CALLS or before > _MANY_CALLS
