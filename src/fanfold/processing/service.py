"""The story of a request: plan, reserve, fan out, settle."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from fanfold.auth.dependencies import Quota
from fanfold.auth.principal import Principal, PrincipalTenant
from fanfold.core.background import Background
from fanfold.core.errors import NotReady, QuotaExhausted, TooLarge, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.fanout.errors import InvalidPlan, TooManyChunks
from fanfold.fanout.service import FanOut
from fanfold.fanout.types import CallResult, FanOutAnswer, FanOutRequest, FoldOptions, Plan, Split
from fanfold.processing.schemas import ProcessRequest
from fanfold.processing.selection import AddressPolicy, Selection, select_upstreams
from fanfold.upstreams.directory import UpstreamDirectory
from fanfold.usage.errors import Insufficient, OverBudget
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome, Reservation, Settled, UsageEvent

LEASE_MARGIN_S = 60.0
SETTLE_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may run: its plan, and the units held for it."""

    id: UUID
    plan: Plan
    reservation: Reservation
    by_address: bool


@dataclass(frozen=True, slots=True)
class Processed:
    """A request that has run and is billed."""

    admission: Admission
    answer: FanOutAnswer
    settled: Settled

    @property
    def units(self) -> int:
        """Units that were billed: none where the reservation had lapsed and nothing was free any more."""
        return 0 if self.settled.outcome is Outcome.UNBILLED else self.answer.units


class ProcessingService:
    """Admits and executes process requests. Every way in, and every way out, goes through these two."""

    def __init__(
        self,
        *,
        fan_out: FanOut,
        ledger: Ledger,
        upstreams: UpstreamDirectory,
        addresses: AddressPolicy,
        background: Background,
        count_call: Callable[[str], None],
    ) -> None:
        self._fan_out, self._ledger, self._upstreams = fan_out, ledger, upstreams
        self._addresses, self._background, self._count_call = addresses, background, count_call

    async def plan(self, tenant: PrincipalTenant, request: ProcessRequest) -> tuple[Plan, Selection]:
        """Split and price; calls nothing and reserves nothing. Raises 413 and 422."""
        limits = tenant.limits
        if len(request.text) > limits.max_text_chars:
            raise TooLarge(f"The text is over the plan's {limits.max_text_chars} characters.")
        selection = select_upstreams(request, await self._upstreams.of(tenant.id), self._addresses)
        try:
            plan = await self._fan_out.plan(
                _fan_out_request(request, selection, owner=str(tenant.id)), max_chunks=limits.max_chunks
            )
        except TooManyChunks as error:
            raise TooLarge(str(error)) from None
        except InvalidPlan as error:
            errors = [{"loc": ["body"], "msg": str(error), "type": "plan"}]
            raise ValidationFailed(str(error), errors=errors) from None
        return plan, selection

    async def admit(
        self, principal: Principal, tenant: PrincipalTenant, quota: Quota, request: ProcessRequest
    ) -> Admission:
        """Plan and reserve; raises 402 where the units do not fit into the period, 503 where nobody says in time."""
        plan, selection = await self.plan(tenant, request)
        request_id = uuid7()
        try:
            # A cancelled reserve holds nothing.
            async with asyncio.timeout(request.deadline_s):
                reserved = await self._ledger.reserve(
                    tenant_id=tenant.id,
                    request_id=request_id,
                    units=plan.units_reserved,
                    lease_s=request.deadline_s + LEASE_MARGIN_S,
                    api_key_id=principal.key_id,
                    period=quota.period,
                )
        except TimeoutError:
            raise NotReady(
                "The units could not be reserved in time. Try again.", headers={"Retry-After": "1"}
            ) from None
        except Insufficient as short:
            whose = "of the API key's budget for" if isinstance(short, OverBudget) else "in"
            raise QuotaExhausted(
                f"The request may need {short.needed} units, and {short.remaining} are left {whose} this period.",
                needed=short.needed,
                remaining=short.remaining,
                period_ends_at=short.period_end,
            ) from None
        return Admission(request_id, plan, reserved.reservation, selection.by_address)

    async def execute(self, admission: Admission) -> Processed:
        """Fan out, then settle: also when it fails, is cancelled, or the client has left."""
        results: Sequence[CallResult] = ()
        settle_by = asyncio.get_running_loop().time() + admission.plan.request.deadline_s + SETTLE_MARGIN_S
        with self._background.attending():
            try:
                async with self._fan_out.open(admission.plan) as run:
                    results = run.results
                    async for _ in run:
                        pass
                    answer = run.answer()
            finally:
                settled = await self._settle(admission.reservation, results, settle_by)
        return Processed(admission, answer, settled)

    async def _settle(
        self, reservation: Reservation, results: Sequence[CallResult], settle_by: float
    ) -> Settled:
        for result in results:
            self._count_call(result.error.code if result.error else "ok")
        events = [event for result in results for event in _events(result)]
        try:
            async with asyncio.timeout_at(settle_by):
                return await self._background.see_through(self._ledger.settle(reservation, events))
        except TimeoutError:
            raise NotReady(
                "The answer is there, but could not be billed.", headers={"Retry-After": "5"}
            ) from None


def _fan_out_request(request: ProcessRequest, selection: Selection, *, owner: str) -> FanOutRequest:
    split = Split(by=request.split.by, size=request.split.size, overlap=request.split.overlap)
    return FanOutRequest(
        text=request.text,
        upstreams=selection.upstreams,
        split=Split(size=request.chunk_size) if request.chunk_size else split,
        strategy=request.strategy,
        fold=FoldOptions(by=request.fold.by, separator=request.fold.separator),
        on_error=request.on_error,
        min_success=request.min_success,
        timeout_s=request.timeout_s,
        deadline_s=request.deadline_s,
        max_attempts=request.max_attempts,
        max_units=request.max_units,
        owner=owner,
    )


def _events(result: CallResult) -> list[UsageEvent]:
    return [
        UsageEvent(
            call_index=result.index,
            meter=reading.meter,
            units=reading.units,
            quantity=reading.quantity,
            rate=reading.rate,
            is_counted=reading.is_counted,
            upstream_id=result.upstream.id,
            upstream=result.upstream.slug,
        )
        for reading in result.readings
    ]
