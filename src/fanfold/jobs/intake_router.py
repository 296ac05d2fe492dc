"""`POST /v1/jobs`."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.datastructures import State

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, DatabaseDep, quota_of_principal
from fanfold.auth.principal import Principal
from fanfold.core.direct import Direct
from fanfold.core.errors import UnsupportedMediaType
from fanfold.core.openapi import when_documented
from fanfold.core.paths import path_below_root
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.fanout.service import FanOut
from fanfold.idempotency.fingerprint import digest
from fanfold.idempotency.header import REPLAYED, IdempotencyKeyHeader, keyed_request, known_by
from fanfold.jobs.dependencies import JobsPrincipal
from fanfold.jobs.incoming import FORM, LINES, incoming, media_type_of
from fanfold.jobs.intake import ACCEPTED, Asker, IntakeTools, JobIntake
from fanfold.jobs.intake_schemas import JobCreate, JobLine
from fanfold.jobs.mapping import encode_new_job
from fanfold.jobs.replay import made_before
from fanfold.jobs.schemas import JobRead
from fanfold.jobs.taking_in import TakingIn
from fanfold.jobs.types import NewJob
from fanfold.processing.dependencies import FanOutDep, KeptAnswersDep
from fanfold.processing.selection import AddressPolicy

JSON = "application/json"


async def _asker(principal: JobsPrincipal, tenant: CurrentTenant, quota: CurrentQuota) -> Asker:
    return Asker(principal=principal, tenant=tenant, quota=quota)


def job_intake(state: State, *, fan_out: FanOut | None = None) -> JobIntake:
    """Return the intake of an application's state, with what is given instead of the state's own."""
    tools = IntakeTools(
        fan_out=fan_out or state.fan_out,
        lane=state.job_lane,
        database=state.database,
        key_ring=state.key_ring,
        upstreams=state.upstream_directory,
        addresses=AddressPolicy(state.address_guard, state.settings.fan_out.adhoc_upstreams),
        background=state.background,
        offload=state.offload,
    )
    return JobIntake(tools)


async def _intake(request: Request, fan_out: FanOutDep) -> JobIntake:
    return job_intake(request.app.state, fan_out=fan_out)


AskerDep = Annotated[Asker, Depends(_asker)]
JobIntakeDep = Annotated[JobIntake, Depends(_intake)]


class _Accepted(Response):
    """The answer to whoever has just made a job."""

    def __init__(self, job: NewJob) -> None:
        self.body = encode_new_job(job)
        # Written here: Starlette's own reads what it is given, in three times as many calls.
        self.status_code, self.background = ACCEPTED, None
        self.raw_headers = [
            (b"location", b"/v1/jobs/%b" % str(job.id).encode()),
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]


def accepted(job: NewJob | JobRead) -> Response:
    """Return the answer to whoever made a job: now, or before with the same key."""
    if isinstance(job, NewJob):
        return _Accepted(job)
    return Response(job.model_dump_json(), ACCEPTED, {"Location": f"/v1/jobs/{job.id}"} | REPLAYED, JSON)


async def take_in_job(
    request: Request,
    asker: AskerDep,
    intake: JobIntakeDep,
    database: DatabaseDep,
    answers: KeptAnswersDep,
    key: IdempotencyKeyHeader = None,
) -> Response:
    """Take a file or lines in as they come; see `create_job`."""
    coming = await incoming(request)
    draft = await intake.draft(asker, coming.options)
    max_line = request.app.state.settings.server.max_body_bytes
    async with draft:
        taking = TakingIn(intake.tools, draft, coming.source, asker.tenant.limits, max_line=max_line)
        taken = await taking.take(coming.content)
        keyed = None
        if key is not None:
            keyed = known_by(
                intake.tools.key_ring,
                tenant_id=asker.tenant.id,
                route=path_below_root(request.scope),
                key=key,
                asked=f"{digest(coming.asked)} {coming.source} {taken.digest}",
            )
            if job := await made_before(database, answers, keyed):
                await draft.discard()
                return accepted(job)
        return accepted(await draft.commit(coming.source, taken.sums, keyed))


async def _create_job_directly(request: Request, body: JobCreate) -> Response:
    principal: Principal = request.scope["state"]["principal"]
    assert principal.tenant is not None  # noqa: S101 (the route's requirement, which the middleware has checked)
    asker = Asker(principal=principal, tenant=principal.tenant, quota=quota_of_principal(principal))
    intake: JobIntake = request.app.state.job_intake
    return accepted(await intake.create(asker, body, None))


DIRECT = Direct(JobCreate, _create_job_directly)
"""Answers as `create_job` does, without the framework, where there is no key."""


class JobIntakeRoute(StrictRoute):
    """A route that takes a JSON body whole, and anything else that makes a job as it comes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the strict handler for JSON, and for the others one that reads nothing ahead."""
        whole = super().get_route_handler()
        as_it_comes = StrictRoute(self.path, take_in_job, methods=["POST"]).get_route_handler()

        async def by_media_type(request: Request) -> Response:
            media_type = media_type_of(request)
            if media_type == FORM or media_type in LINES:
                return await as_it_comes(request)
            if media_type != JSON and not media_type.endswith("+json"):
                raise UnsupportedMediaType(f"This route takes {JSON}, {FORM} and application/x-ndjson.")
            return await whole(request)

        return by_media_type


_FORM_SCHEMA = {
    "type": "object",
    "description": "`request`, where there is one, comes before `file`.",
    "required": ["file"],
    "properties": {
        "request": {
            "type": "string",
            "contentMediaType": JSON,
            "description": "The JSON body without `text`; the tenant's defaults without it.",
        },
        "file": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "text/plain in UTF-8, or application/x-ndjson, by its media type or its name.",
        },
    },
}
_BODY = {
    "content": {
        FORM: {"schema": _FORM_SCHEMA},
        "application/x-ndjson": {"schema": when_documented(JobLine.model_json_schema)},
    }
}

router = Router(
    prefix="/v1/jobs",
    tags=["Jobs"],
    route_class=JobIntakeRoute,
    responses=problem_responses(400, 401, 402, 403, 409, 413, 415, 422, 429, 503),
)


@router.post(
    "", status_code=ACCEPTED, responses={ACCEPTED: {"model": JobRead}}, openapi_extra={"requestBody": _BODY}
)
async def create_job(  # noqa: PLR0913, PLR0917 (what it depends on)
    body: JobCreate,
    request: Request,
    asker: AskerDep,
    intake: JobIntakeDep,
    database: DatabaseDep,
    answers: KeptAnswersDep,
    key: IdempotencyKeyHeader = None,
) -> Response:
    """Take a text in, to be worked on at leisure: the answer says where to look for it.

    The units that it may cost are held from now on. Nothing that `POST /v1/process` refuses is taken in. Long input
    comes as a file (`multipart/form-data`), or as lines (`application/x-ndjson`): texts with names of their own.
    """
    keyed = None
    if key is not None:
        keyed = await keyed_request(request, tenant_id=asker.tenant.id, key=key)
        if job := await made_before(database, answers, keyed):
            return accepted(job)
    return accepted(await intake.create(asker, body, keyed))
