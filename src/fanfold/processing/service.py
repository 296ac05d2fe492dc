"""The story of a request: plan, reserve, fan out, settle."""

import asyncio
from collections.abc import Callable
from itertools import chain

from fanfold.auth.dependencies import Quota
from fanfold.auth.principal import Principal, PrincipalTenant
from fanfold.core.background import Background
from fanfold.core.errors import NotReady, QuotaExhausted, TooLarge, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.fanout.errors import InvalidPlan, TooManyChunks
from fanfold.fanout.run import Run
from fanfold.fanout.service import FanOut
from fanfold.fanout.types import FanOutAnswer, FanOutRequest, FoldOptions, Plan, Split
from fanfold.idempotency.errors import in_progress
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import KeyedRequest
from fanfold.processing.billing import Billing
from fanfold.processing.schemas import ProcessRequest
from fanfold.processing.selection import AddressPolicy, Selection, select_upstreams
from fanfold.processing.types import Admission, Billed, Processed
from fanfold.upstreams.directory import UpstreamDirectory
from fanfold.usage.errors import Insufficient, KeyClaimed, OverBudget
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Claim

LEASE_MARGIN_S = 60.0
SETTLE_MARGIN_S = 10.0


class ProcessingService:
    """Admits and executes process requests. Every way in, and every way out, goes through these two."""

    def __init__(  # noqa: PLR0913 (keywords: what it works with)
        self,
        *,
        fan_out: FanOut,
        ledger: Ledger,
        answers: KeptAnswers,
        upstreams: UpstreamDirectory,
        addresses: AddressPolicy,
        background: Background,
        count_call: Callable[[str], None],
    ) -> None:
        self._fan_out, self._ledger, self._upstreams = fan_out, ledger, upstreams
        self._billing = Billing(ledger, answers)
        self._addresses, self._background, self._count_call = addresses, background, count_call

    async def plan(self, tenant: PrincipalTenant, request: ProcessRequest) -> tuple[Plan, Selection]:
        """Split and price; calls nothing and reserves nothing. Raises 413 and 422."""
        limits = tenant.limits
        if len(request.text) > limits.max_text_chars:
            raise TooLarge(f"The text is over the plan's {limits.max_text_chars} characters.")
        selection = select_upstreams(request, await self._upstreams.of(tenant.id), self._addresses)
        try:
            plan = await self._fan_out.plan(
                _fan_out_request(request, selection, tenant), max_chunks=limits.max_chunks
            )
        except TooManyChunks as error:
            raise TooLarge(str(error)) from None
        except InvalidPlan as error:
            errors = [{"loc": ["body"], "msg": str(error), "type": "plan"}]
            raise ValidationFailed(str(error), errors=errors) from None
        return plan, selection

    async def admit(
        self,
        principal: Principal,
        tenant: PrincipalTenant,
        quota: Quota,
        request: ProcessRequest,
        keyed: KeyedRequest | None = None,
    ) -> Admission:
        """Plan and reserve; raises 402 where the units do not fit into the period, 503 where nobody says in time.

        With `keyed` the key is claimed in the reservation's own commit; 409 where somebody was faster.
        """
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
                    api_key_id=principal.api_key_id,
                    period=quota.period,
                    claim=_claim(keyed) if keyed else None,
                )
        except TimeoutError:
            raise NotReady(
                "The units could not be reserved in time. Try again.", headers={"Retry-After": "1"}
            ) from None
        except KeyClaimed:
            raise in_progress() from None
        except Insufficient as short:
            whose = "of the API key's budget for" if isinstance(short, OverBudget) else "in"
            raise QuotaExhausted(
                f"The request may need {short.needed} units, and {short.remaining} are left {whose} this period.",
                needed=short.needed,
                remaining=short.remaining,
                period_ends_at=short.period_end,
            ) from None
        return Admission(
            id=request_id,
            plan=plan,
            reservation=reserved.reservation,
            by_address=selection.by_address,
            keyed=keyed,
        )

    async def execute(self, admission: Admission) -> Processed:
        """Fan out, then settle: also when it fails, is cancelled, or the client has left."""
        run: Run | None = None
        is_whole = False
        settle_by = asyncio.get_running_loop().time() + admission.plan.request.deadline_s + SETTLE_MARGIN_S
        with self._background.attending():
            try:
                async with self._fan_out.open(admission.plan) as run:
                    async for _ in run:
                        pass
                    is_whole = True
            finally:
                # What the run has by now: of one that was left early, calls without a result are cancelled.
                answer = None if run is None else run.answer()
                billed = await self._bill(admission, answer, settle_by, is_whole=is_whole)
        assert answer is not None  # noqa: S101 (a run that could not be opened has raised)
        return Processed(admission, answer, billed)

    async def _bill(
        self, admission: Admission, answer: FanOutAnswer | None, settle_by: float, *, is_whole: bool
    ) -> Billed:
        for result in chain(answer.results, answer.fold_results) if answer else ():
            self._count_call(result.error.code if result.error else "ok")
        try:
            async with asyncio.timeout_at(settle_by):
                return await self._background.see_through(
                    self._billing.bill(admission, answer, is_whole=is_whole, store_by=settle_by)
                )
        except TimeoutError:
            raise NotReady(
                "The answer is there, but could not be billed.", headers={"Retry-After": "5"}
            ) from None


def _claim(keyed: KeyedRequest) -> Claim:
    return Claim(route=keyed.route, key=keyed.key, body_hash=keyed.body_hashes[0])


def _fan_out_request(request: ProcessRequest, selection: Selection, tenant: PrincipalTenant) -> FanOutRequest:
    split = Split(by=request.split.by, size=request.split.size, overlap=request.split.overlap)
    return FanOutRequest(
        text=request.text,
        upstreams=selection.upstreams,
        split=Split(size=request.chunk_size) if request.chunk_size else split,
        strategy=request.strategy,
        prompt=request.prompt,
        fold=FoldOptions(
            by=request.fold.by,
            separator=request.fold.separator,
            upstream=selection.folder,
            prompt=request.fold.prompt,
        ),
        on_error=request.on_error,
        min_success=request.min_success,
        timeout_s=request.timeout_s,
        deadline_s=request.deadline_s,
        max_attempts=request.max_attempts,
        max_units=request.max_units,
        owner=str(tenant.id),
        weight=tenant.limits.weight,
    )
