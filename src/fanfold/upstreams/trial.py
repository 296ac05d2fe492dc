"""Trying an upstream: one call with a few fixed words, and plainly what is wrong."""

import json
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import UUID

from fanfold.core.crypto import KeyRing
from fanfold.core.errors import ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.json_text import as_text
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import CallResult, FanOutRequest, Price, Prompt, Upstream
from fanfold.upstreams.advice import advice
from fanfold.upstreams.finding import own_upstream
from fanfold.upstreams.mapping import bound_to, engine_upstream
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import TrialError, UpstreamTrial

# Always the same few words: of a trial nothing is billed, and nobody gets a text processed by it.
SAMPLE = "Hello, 世界"
MOST_TIMEOUT_S = 30.0
SLOT_WAIT_S = 5.0
MAX_RESULT_CHARACTERS = 2_000
_MASK = "[credential]"


async def upstream_to_try(upstreams: UpstreamRepository, upstream_id: UUID, key_ring: KeyRing) -> Upstream:
    """Return an upstream of the owner's own as it is called, enabled or not; a 404, or a 503 without its secret key.

    It has no price: a trial is free.
    """
    record = await own_upstream(upstreams, upstream_id)
    sealed = record.credential_sealed
    credential = key_ring.unseal(sealed, bound_to=bound_to(record)) if sealed else None
    return engine_upstream(record, credential, Price(units_per_call=0))


async def try_upstream(fan_out: FanOut, upstream: Upstream) -> UpstreamTrial:
    """Call an upstream once, through the engine as any request: its slots, the guard, the transport.

    Within the upstream's own time-out, at most 30 s, and 5 s for a slot. Asks under an owner of its own, so that what
    is tried neither waits for the requests' circuit nor opens it. One that was registered when more was allowed, and
    cannot be called any more, is a 422.
    """
    timeout_s = min(upstream.timeout_s, MOST_TIMEOUT_S)
    try:
        answer = await fan_out.run(
            FanOutRequest(
                text=SAMPLE,
                upstreams=(upstream,),
                timeout_s=timeout_s,
                deadline_s=timeout_s + SLOT_WAIT_S,
                max_attempts=1,
                owner=f"trial {uuid7()}",
            )
        )
    except InvalidPlan as error:
        errors = [{"loc": ["path", "upstream_id"], "msg": str(error), "type": "plan"}]
        raise ValidationFailed(f"The upstream cannot be called as it is. {error}", errors=errors) from None
    return await _trial(answer.results[0], upstream, timeout_s)


async def _trial(result: CallResult, upstream: Upstream, timeout_s: float) -> UpstreamTrial:
    error = result.error
    shown = advice(error, upstream, called=await _called(upstream), timeout_s=timeout_s) if error else None
    return UpstreamTrial(
        success=result.success,
        status=error.status if error else result.status,
        latency_ms=round(result.latency_ms, 1),
        result=_shortened(result, upstream) if result.success else None,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        finish_reason=result.finish_reason,
        error=TrialError.model_validate(error) if error else None,
        advice=shown,
    )


def _shortened(result: CallResult, upstream: Upstream) -> str:
    """Return the beginning of the result as text, in which nothing is the credential that an upstream sent back."""
    text = as_text(result.result)
    if upstream.credential is not None:
        secret = upstream.credential.get_secret_value()
        for spelling in (json.dumps(secret)[1:-1], secret):
            text = text.replace(spelling, _MASK)
    return text[:MAX_RESULT_CHARACTERS]


class _Seen(Exception):
    """What would be sent is known, and is not sent."""


async def _called(upstream: Upstream) -> str | None:
    """Return method and path of the call as its kind makes it, without the query; None for one that sends nothing."""
    seen: list[UpstreamRequest] = []

    async def send(request: UpstreamRequest) -> UpstreamResponse:
        seen.append(request)
        raise _Seen

    with suppress(_Seen):
        await adapter(upstream.kind).call(upstream, Prompt(SAMPLE, 0, 1), send)
    return f"{seen[0].method} {urlsplit(seen[0].url).path or '/'}" if seen else None
