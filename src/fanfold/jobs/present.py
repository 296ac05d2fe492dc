"""The upstreams of a job as they are now, at the price that was frozen when it was made."""

from dataclasses import replace

from fanfold.core.crypto import SealBroken
from fanfold.fanout.types import Call, CallError, CallResult, ErrorCode, Plan, Upstream
from fanfold.upstreams.directory import TenantUpstreams

GONE = CallError(
    code=ErrorCode.CONNECT,
    status=None,
    detail="The upstream is not there any more, or is disabled. Enable it or register it anew, then retry the job.",
)


def present(frozen: Upstream, own: TenantUpstreams) -> Upstream | None:
    """Return how an upstream is asked now, None where it is gone or disabled.

    What its quote rests on stays: price, options and weight. Address and credential are always of one moment. Raises
    `SealBroken` where the credential does not open.
    """
    if frozen.id is None:
        return frozen
    found = next((one for one in (*own.enabled, *own.shared) if one.id == frozen.id), None)
    if found is not None:
        return replace(found, price=frozen.price, options=frozen.options, weight=frozen.weight)
    unopened = own.shared_unopened if frozen.is_shared else own.unopened
    if frozen.slug in unopened.slugs:
        raise SealBroken("The credential of an upstream of a job does not open.")
    return None


def with_present(plan: Plan, own: TenantUpstreams) -> tuple[Plan, list[CallResult]]:
    """Return the plan with its upstreams as they are now, and the results of calls for which none is left."""
    now: dict[str, Upstream | None] = {}
    for call in plan.calls:
        for one in call.candidates:
            if one.key not in now:
                now[one.key] = present(one, own)
    calls: list[Call] = []
    refused: list[CallResult] = []
    for call in plan.calls:
        left = tuple([found for one in call.candidates if (found := now[one.key]) is not None])
        if left:
            calls.append(Call(call.index, call.chunk, left, call.units_max))
        else:
            refused.append(_refused(call))
    return replace(plan, calls=tuple(calls)), refused


def _refused(call: Call) -> CallResult:
    upstream = call.candidates[0]
    return CallResult(index=call.index, chunk=call.chunk, upstream=upstream, success=False, error=GONE)
