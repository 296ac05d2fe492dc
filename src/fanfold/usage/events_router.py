"""`/v1/usage/events` and `/v1/usage/export`: single events, by the page and by the million."""

import datetime as dt
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, DatabaseDep, DbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import Page, problem_responses
from fanfold.tenants.periods import utc_now
from fanfold.usage.event_schemas import CloudEvent, UsageEventRead
from fanfold.usage.events import EventFilter, EventRepository
from fanfold.usage.export import Export, ExportResponse
from fanfold.usage.formats import BATCH_MEDIA_TYPE, FORMS, EventsFormat, ExportFormat, cloud_events, members
from fanfold.usage.parameters import ChosenEvents, DaysOrPeriod, UsageReader, WantedPage
from fanfold.usage.period_names import NamedPeriod, named

router = Router(
    prefix="/v1/usage",
    tags=["Usage"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _events(session: DbSession, tenant: CurrentTenant) -> EventRepository:
    return EventRepository(session, tenant.id)


EventsDep = Annotated[EventRepository, Depends(_events)]
_LINE: dict[str, Any] = {"schema": {"type": "string"}}
_CLOUD_EVENTS: dict[str, Any] = {
    "schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}}
}


@router.get(
    "/events",
    response_model=Page[UsageEventRead],
    responses={
        200: {"content": {BATCH_MEDIA_TYPE: _CLOUD_EVENTS}, "model": Page[UsageEventRead] | list[CloudEvent]}
    },
)
async def list_usage_events(
    request: Request,
    events: EventsDep,
    _principal: UsageReader,
    chosen: ChosenEvents,
    page: WantedPage,
    form: Annotated[EventsFormat, Query(alias="format")] = EventsFormat.JSON,
) -> Page[UsageEventRead] | Response:
    """List single usage events, newest first.

    With `format=cloudevents` the body is a CloudEvents batch, and the `Link` header leads to the next page.
    """
    rows = await events.newest(chosen, before=page.before, limit=page.limit + 1)
    shown = rows[: page.limit]
    next_cursor = shown[-1].key.encode() if len(rows) > page.limit else None
    if form is EventsFormat.JSON:
        return Page(
            data=[UsageEventRead.model_validate(members(row)) for row in shown], next_cursor=next_cursor
        )
    link = {"Link": f'<{_next_page(request, next_cursor)}>; rel="next"'} if next_cursor else {}
    return Response(
        b"[" + cloud_events(shown, events.tenant_id) + b"]", media_type=BATCH_MEDIA_TYPE, headers=link
    )


def _next_page(request: Request, cursor: str) -> str:
    url = request.url.include_query_params(cursor=cursor)
    return f"?{url.query}"


@router.get(
    "/export",
    response_class=ExportResponse,
    responses={
        200: {
            "description": "All events, oldest first. A body that ends before its end is cut off, never cut short.",
            "content": {"text/csv": _LINE, "application/x-ndjson": _LINE, BATCH_MEDIA_TYPE: _CLOUD_EVENTS},
        }
    },
)
async def export_usage_events(
    database: DatabaseDep,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    _principal: UsageReader,
    days: DaysOrPeriod,
    form: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.CSV,
) -> ExportResponse:
    """Export every event of a period, or between two days, of any number; the present period without either.

    What occurs, or is written, while it is read may not be in it: a day's events are all there a minute after its end.
    """
    if days == EventFilter():
        days = EventFilter(period=named(quota.period_start, tenant.period))
    export = Export(database, tenant.id, replace(days, until=utc_now()))
    first_batch = await export.batch(None)
    written = FORMS[form]
    return ExportResponse(
        export.parts(first_batch, written),
        headers={
            "Content-Type": written.media_type,
            "Content-Disposition": f'attachment; filename="{_file_name(days)}.{written.suffix}"',
        },
    )


def _file_name(days: EventFilter) -> str:
    span: list[NamedPeriod | dt.date | None] = [days.period, days.first, days.last]
    names = [part.name if isinstance(part, NamedPeriod) else part.isoformat() for part in span if part]
    return "-".join(["fanfold-usage", *names])
