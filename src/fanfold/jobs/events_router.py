"""`GET /v1/jobs/{id}/events`."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import Header, Request, Response
from pydantic import AfterValidator

from fanfold.auth.dependencies import CurrentTenant
from fanfold.core.errors import ValidationFailed
from fanfold.core.event_stream import EventStreamResponse
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.jobs.dependencies import JobEventsDep, JobsPrincipal
from fanfold.jobs.event_schemas import EVENT_STREAM
from fanfold.jobs.events import BEGINNING

NOTHING_FOLLOWS = 204
_NOT_OURS = "Not an id of this job's events. Send the last `id` you had, unchanged, or none to begin at the beginning."

router = Router(
    prefix="/v1/jobs",
    tags=["Jobs"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)

_LAST_EVENT_ID = r"^([0-9]{1,18}(\.done)?)?$"


def _of_a_job(last_event_id: str) -> str:
    if not re.fullmatch(_LAST_EVENT_ID, last_event_id):
        raise ValueError(_NOT_OURS)
    return last_event_id


LastEventId = Annotated[
    str,
    # Not pydantic's own `pattern`: its message tells a regular expression, not what to do.
    AfterValidator(_of_a_job),
    Header(
        alias="Last-Event-ID",
        json_schema_extra={"pattern": _LAST_EVENT_ID},
        description="The `id` of the last event that was read: those after it follow. From the beginning without it.",
    ),
]


@router.get(
    "/{job_id}/events",
    responses={
        200: {"description": "The events, until the job has ended.", "content": EVENT_STREAM},
        NOTHING_FOLLOWS: {
            "description": "`done` was read before: nothing follows, and nobody need ask again."
        },
        **problem_responses(404),
    },
    response_class=Response,
)
async def stream_job_events(
    job_id: UUID,
    request: Request,
    tenant: CurrentTenant,
    events: JobEventsDep,
    _principal: JobsPrincipal,
    last_event_id: LastEventId = "",
) -> Response:
    """Tell what happens to a job: each status it comes to, each result, and `done` when it has ended.

    A stream that breaks off, or ends without `done`, is resumed by the `id` of its last event, at any server, after any
    time: each event comes once. After a retry the events go on; results that the retry replaces are gone.
    """
    number, _, done = last_event_id.partition(".")
    after = int(number) if number else BEGINNING
    first = await events.page(tenant.id, job_id, after)
    if after > first.job_seq:
        errors = [{"loc": ["header", "Last-Event-ID"], "msg": _NOT_OURS, "type": "last_event_id"}]
        raise ValidationFailed(_NOT_OURS, errors=errors)
    if done and first.is_end and first.job_seq == after:
        return Response(status_code=NOTHING_FOLLOWS)
    return EventStreamResponse(
        events.stream(tenant.id, job_id, first),
        keepalive_s=request.app.state.settings.server.keepalive_s,
        last_id=last_event_id,
    )
