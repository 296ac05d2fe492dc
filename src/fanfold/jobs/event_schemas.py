"""The events of a job, for the document."""

import datetime as dt
from typing import Any, Literal

from fanfold.core.event_stream import MEDIA_TYPE
from fanfold.core.openapi import when_documented
from fanfold.core.schemas import AnswerModel
from fanfold.jobs.schemas import JobDetail, JobResultRead
from fanfold.jobs.types import JobStatus

_COMPONENTS = "#/components/schemas/{model}"


class JobStatusRead(AnswerModel):
    """A status that the job came to, and when."""

    status: JobStatus
    changed_at: dt.datetime


class JobProgressRead(AnswerModel):
    """How many of the results there are."""

    done: int
    total: int


class _Event(AnswerModel):
    id: str


class StatusEvent(_Event):
    """The job came to a status."""

    event: Literal["status"]
    data: JobStatusRead


class ResultEvent(_Event):
    """One result, within half a second after it is there."""

    event: Literal["chunk"]
    data: JobResultRead


class JobProgressEvent(_Event):
    """At most four times a second. Its id is that of the event before: it is no row, and is not told again."""

    event: Literal["progress"]
    data: JobProgressRead


class JobDoneEvent(_Event):
    """The last event: the job, with its output, as `GET /v1/jobs/{id}` shows it."""

    event: Literal["done"]
    data: JobDetail


_EVENTS: tuple[type[_Event], ...] = (StatusEvent, ResultEvent, JobProgressEvent, JobDoneEvent)
_NAMED = frozenset({"JobDetail", "JobResultRead"})  # in the document already, by the routes that answer them


def _schema(event: type[_Event]) -> dict[str, Any]:
    schema = event.model_json_schema(ref_template=_COMPONENTS)
    own = schema.pop("$defs")
    data = schema["properties"]["data"]
    name = data["$ref"].rpartition("/")[2]
    if name not in _NAMED:
        schema["properties"]["data"] = own[name]
    return schema


EVENT_STREAM: dict[str, Any] = {
    MEDIA_TYPE: {"schema": when_documented(lambda: {"anyOf": [*map(_schema, _EVENTS)]})}
}
