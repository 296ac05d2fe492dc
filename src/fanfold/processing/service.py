"""The story of a request: plan, reserve, fan out, settle."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from fanfold.auth.dependencies import Quota
from fanfold.auth.principal import Principal, PrincipalTenant
from fanfold.core.background import Background
from fanfold.core.errors import NotReady
from fanfold.core.identifiers import uuid7
from fanfold.core.time_limits import within
from fanfold.fanout.run import Run
from fanfold.fanout.service import FanOut
from fanfold.fanout.types import Plan
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import KeyedRequest
from fanfold.processing.billing import Billing
from fanfold.processing.engine_request import engine_request
from fanfold.processing.events import Event
from fanfold.processing.refusals import check_length, planning, reserving
from fanfold.processing.schemas import ProcessRequest
from fanfold.processing.selection import AddressPolicy, Selection, select_upstreams
from fanfold.processing.streaming import READ_MARGIN_S, read_by, stream_of
from fanfold.processing.types import Admission, Processed
from fanfold.processing.under_way import UnderWay
from fanfold.upstreams.directory import UpstreamDirectory
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Claim

LEASE_MARGIN_S = 60.0


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
        count_calls: Callable[[str, int], None],
    ) -> None:
        self._fan_out, self._ledger, self._upstreams = fan_out, ledger, upstreams
        self.answers = answers
        self._billing = Billing(ledger, answers, count_calls)
        self._read_margin_s = READ_MARGIN_S
        self._addresses, self._background = addresses, background

    async def plan(self, tenant: PrincipalTenant, request: ProcessRequest) -> tuple[Plan, Selection]:
        """Split and price; calls nothing and reserves nothing. Raises 413 and 422."""
        check_length(len(request.text), tenant.limits.max_text_chars)
        selection = select_upstreams(request, await self._upstreams.of(tenant.id), self._addresses)
        asked = engine_request(request, selection, tenant, text=request.text)
        with planning:
            plan = await self._fan_out.plan(asked, max_chunks=tenant.limits.max_chunks)
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
            async with within(request.deadline_s):
                with reserving:
                    reserved = await self._ledger.reserve(
                        tenant_id=tenant.id,
                        request_id=request_id,
                        units=plan.units_reserved,
                        lease_s=request.deadline_s + LEASE_MARGIN_S,
                        api_key_id=principal.api_key_id,
                        period=quota.period,
                        claim=claim_of(keyed) if keyed else None,
                    )
        except TimeoutError:
            raise NotReady(
                "The units could not be reserved in time. Try again.", headers={"Retry-After": "1"}
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
        async with self._attended(admission) as under_way:
            under_way.opened = Run(admission.plan, told=False)
            await self._fan_out.carry_out(under_way.opened)
            return await under_way.end()

    @asynccontextmanager
    async def streamed(self, admission: Admission) -> AsyncIterator[AsyncIterator[Event]]:
        """Execute, told as events: `accepted`, `chunk`, `delta`, `progress`, then `done` or `error` when it is billed.

        Leaving the context before the last event cancels what still runs and bills what was done. Who has not read the
        last event 30 s after the request's deadline gets `Unread`: the units cannot be held longer.
        """
        async with (
            self._under_way(_telling_deltas(admission)) as under_way,
            read_by(under_way.deadline + self._read_margin_s),
            aclosing(stream_of(under_way)) as events,
        ):
            yield events

    @asynccontextmanager
    async def _under_way(self, admission: Admission) -> AsyncIterator[UnderWay]:
        async with (
            self._attended(admission) as under_way,
            self._fan_out.open(admission.plan) as under_way.opened,
        ):
            yield under_way

    def _attended(self, admission: Admission) -> UnderWay:
        """Return what, entered, sees to it that the request is billed, whichever way it is left."""
        return UnderWay(admission, self._billing, self._background)


def claim_of(keyed: KeyedRequest) -> Claim:
    """Return the claim of a key, to be written with the reservation."""
    return Claim(route=keyed.route, key=keyed.key, body_hash=keyed.body_hashes[0])


def _telling_deltas(admission: Admission) -> Admission:
    plan = replace(admission.plan, request=replace(admission.plan.request, deltas=True))
    return replace(admission, plan=plan)
