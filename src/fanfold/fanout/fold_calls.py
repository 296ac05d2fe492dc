"""The calls that folding takes: what is sent, and what they cost at most."""

from collections.abc import Sequence
from dataclasses import replace

from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.folds.reduce import DEFAULT_PROMPT, MAX_CODE_POINTS
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.pricing import units_max
from fanfold.fanout.template import PromptTemplate
from fanfold.fanout.types import Call, Chunk, FanOutRequest, FoldOptions, OnError, Plan, Upstream

# The most bytes that a text of that many code points can have: four each (RFC 3629).
_LONGEST = "\U0010ffff" * MAX_CODE_POINTS


def fold_units_max(options: FoldOptions, kinds: Kinds, *, answers: int) -> int:
    """Return what folding so many answers can cost at most. Raises `InvalidPlan`."""
    fold = kinds.fold(options.by)
    if not fold.calls_max(2):
        return 0
    upstream = fold_upstream(options)
    kinds.adapter(upstream.kind).check(upstream)
    calls = fold.calls_max(answers)
    longest = Chunk(calls, 0, MAX_CODE_POINTS, _LONGEST)
    prompt = fold_prompts(options, kinds).prompt(longest, calls)
    return calls * units_max(upstream, longest, prompt, kinds.adapter(upstream.kind))


def fold_call(options: FoldOptions, kinds: Kinds, text: str, *, index: int, place: int, total: int) -> Call:
    """Return the fold's call number `index` of the request, for the `place`-th of `total` texts."""
    upstream = fold_upstream(options)
    chunk = Chunk(place, 0, len(text), text)
    prompt = fold_prompts(options, kinds).prompt(chunk, total)
    return Call(index, chunk, (upstream,), units_max(upstream, chunk, prompt, kinds.adapter(upstream.kind)))


def plan_fold_calls(
    request: FanOutRequest, kinds: Kinds, texts: Sequence[str], *, first: int, place: int, total: int
) -> Plan:
    """Return the plan of some of the `total` calls that a fold makes at once: from the `place`-th on.

    `first` is the index of the first of all of them. One that fails ends the others.
    """
    options = request.fold
    calls = tuple(
        fold_call(options, kinds, text, index=first + where, place=where, total=total)
        for where, text in enumerate(texts, place)
    )
    asked = replace(
        request,
        upstreams=(fold_upstream(options),),
        strategy="fallback",  # of one
        prompt=_fold_prompt(options, kinds),
        fold=FoldOptions(),
        on_error=OnError.FAIL,
    )
    most = sum(call.units_max for call in calls)
    return Plan(asked, tuple(call.chunk for call in calls), calls, most, whole=total)


def fold_prompts(options: FoldOptions, kinds: Kinds) -> PromptTemplate:
    """Return what stands around the texts that a fold sends. Raises `InvalidPlan`."""
    return PromptTemplate(_fold_prompt(options, kinds))


def _fold_prompt(options: FoldOptions, kinds: Kinds) -> str | None:
    is_ai = kinds.adapter(fold_upstream(options).kind).is_ai
    return options.prompt or (DEFAULT_PROMPT if is_ai else None)


def fold_upstream(options: FoldOptions) -> Upstream:
    """Return who is asked to fold. Raises `InvalidPlan`."""
    if options.upstream is None:
        raise InvalidPlan(
            'fold.by reduce needs an upstream that folds: FoldOptions(by="reduce", upstream=...).'
        )
    return options.upstream
