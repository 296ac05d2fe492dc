"""How a job is made: planned and priced as a process request is, then committed with its units, input and turn."""

from contextlib import suppress
from types import TracebackType
from typing import Self

from fanfold.auth.dependencies import Quota
from fanfold.auth.principal import Principal, PrincipalTenant
from fanfold.core.background import Background
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.errors import FanfoldError, NotReady
from fanfold.core.identifiers import uuid7
from fanfold.core.offload import Offload
from fanfold.core.values import value
from fanfold.fanout.service import FanOut
from fanfold.fanout.types import FanOutRequest, Plan
from fanfold.idempotency.types import KeyedRequest
from fanfold.jobs.errors import storing
from fanfold.jobs.intake_schemas import JobCreate, JobOptions
from fanfold.jobs.lane import JobLane
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.spool import PART_CALLS, Spool, portions
from fanfold.jobs.stored import StoredChunk, StoredRequest
from fanfold.jobs.types import JobSource, NewJob
from fanfold.processing.engine_request import engine_request
from fanfold.processing.refusals import check_length, planning, reserving
from fanfold.processing.selection import AddressPolicy, Selection, select_upstreams
from fanfold.processing.service import claim_of
from fanfold.upstreams.directory import UpstreamDirectory
from fanfold.usage.types import Mark

ACCEPTED = 202


@value(kw_only=True)
class Asker:
    """Who wants a job made."""

    principal: Principal
    tenant: PrincipalTenant
    quota: Quota


@value(kw_only=True)
class IntakeTools:
    """What jobs are made with."""

    fan_out: FanOut
    lane: JobLane
    database: Database
    key_ring: KeyRing
    upstreams: UpstreamDirectory
    addresses: AddressPolicy
    background: Background
    offload: Offload


@value(kw_only=True)
class Sums:
    """What a job's input comes to: its calls, code points, and the most units that it can cost."""

    total: int
    characters: int
    units_max: int


class Draft:
    """A job that is being made; `spool` takes its input. Nothing of it is anybody's until it is committed."""

    def __init__(
        self, tools: IntakeTools, asker: Asker, options: JobOptions, selection: Selection, *, text: str = ""
    ) -> None:
        tenant = asker.tenant
        self.id = uuid7()
        self.asked: FanOutRequest = engine_request(options, selection, tenant, text=text)
        self._tools, self._asker, self._metadata = tools, asker, options.metadata
        self._by_address = selection.by_address
        self._is_committing = False
        self._sealing = JobSealing(tools.key_ring, tenant.id, self.id)
        self.spool = Spool(
            tools.database,
            self._sealing,
            tenant_id=tenant.id,
            job_id=self.id,
            max_bytes=tenant.limits.max_stored_bytes,
        )

    async def commit(self, source: JobSource, sums: Sums, keyed: KeyedRequest | None) -> NewJob:
        """Make the job. Raises 402, 409, and 503 where nobody says in time: then it may be made yet."""
        tenant, limits = self._asker.tenant, self._asker.tenant.limits
        stored = StoredRequest(fan_out=self.asked, by_address=self._by_address)
        request = self._sealing.seal(Sealed.REQUEST, stored.encode())
        bound = self.asked.max_units
        self._is_committing = True
        job = NewJob(
            tenant_id=tenant.id,
            id=self.id,
            source=source,
            metadata=self._metadata,
            request=request,
            api_key_id=self._asker.principal.api_key_id,
            total=sums.total,
            characters=sums.characters,
            units=sums.units_max if bound is None else min(bound, sums.units_max),
            units_max=sums.units_max,
            weight=limits.weight,
            retention_days=limits.retention_days,
            stored_bytes=self.spool.stored_bytes + len(request),
            max_stored_bytes=limits.max_stored_bytes,
            parts=self.spool.rest(),
        )
        with reserving, storing:
            await self._tools.lane.create(
                job,
                period=self._asker.quota.period,
                claim=claim_of(keyed) if keyed else None,
                mark=Mark(route=keyed.route, key=keyed.key, status=ACCEPTED) if keyed else None,
            )
        return job

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what was stored of it where the body fails, whoever leaves meanwhile.

        Not where nobody knows whether it has been made: what has not is purged by its age.
        """
        if error is None:
            return
        is_refused = isinstance(error, FanfoldError) and not isinstance(error, NotReady)
        if is_refused or not self._is_committing:
            with suppress(NotReady):
                await self.discard()

    async def discard(self) -> None:
        """Remove what was stored of it."""
        await self._tools.background.see_through(self.spool.discard())


class JobIntake:
    """Makes jobs of one process."""

    def __init__(self, tools: IntakeTools) -> None:
        self.tools = tools

    async def draft(self, asker: Asker, options: JobOptions, *, text: str = "") -> Draft:
        """Begin a job. Raises a 422 where its upstreams are not there."""
        own = await self.tools.upstreams.of(asker.tenant.id)
        selection = select_upstreams(options, own, self.tools.addresses)
        return Draft(self.tools, asker, options, selection, text=text)

    async def create(self, asker: Asker, body: JobCreate, keyed: KeyedRequest | None) -> NewJob:
        """Make a job of a text that is here. Raises what `POST /v1/process` raises, and a 409 of full storage."""
        limits = asker.tenant.limits
        check_length(len(body.text), limits.max_text_chars)
        draft = await self.draft(asker, body, text=body.text)
        with planning:
            plan = await self.tools.fan_out.plan(draft.asked, max_chunks=limits.max_chunks)
        async with draft:
            with storing:
                await _spool(draft.spool, plan)
            sums = Sums(total=len(plan.calls), characters=len(body.text), units_max=plan.units_max)
            return await draft.commit(JobSource.JSON, sums, keyed)


async def _spool(spool: Spool, plan: Plan) -> None:
    """Hand over the chunks of a whole plan, with the prices that it has."""
    each = len(plan.calls) // len(plan.chunks)
    chunks = [StoredChunk(one.index, one.start, one.end, one.text) for one in plan.chunks]
    for portion in portions(chunks, most=max(1, PART_CALLS // each)):
        calls = plan.calls[portion[0].index * each : (portion[-1].index + 1) * each]
        units = sum([call.units_max for call in calls])
        await spool.add(portion, first_index=calls[0].index, calls=len(calls), units_max=units)
