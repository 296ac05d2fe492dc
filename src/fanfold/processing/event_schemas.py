"""The events of a stream, for the document."""

from typing import Any, Literal
from uuid import UUID

from fanfold.core.event_stream import MEDIA_TYPE
from fanfold.core.openapi import when_documented
from fanfold.core.schemas import AnswerModel
from fanfold.fanout.types import Status
from fanfold.processing.schemas import FoldRead, ProcessAnswer, ResultRead, UsageRead

_COMPONENTS = "#/components/schemas/{model}"


class AcceptedRead(AnswerModel):
    """The request runs: so many results will come, and it costs at most so many units."""

    id: UUID
    total: int
    units_max: int


class DeltaRead(AnswerModel):
    """The next words of the result `index`, before it comes as a chunk; void where that has failed."""

    index: int
    text: str


class ProgressRead(AnswerModel):
    """How many of the results there are."""

    done: int
    total: int


class DoneRead(AnswerModel):
    """The answer without its results: the request has ended and is billed."""

    id: UUID
    status: Status
    total: int
    successful: int
    failed: int
    output: Any
    fold: FoldRead
    usage: UsageRead


class _Event(AnswerModel):
    id: str


class AcceptedEvent(_Event):
    """The first event."""

    event: Literal["accepted"]
    data: AcceptedRead


class ChunkEvent(_Event):
    """One result, as soon as it is there."""

    event: Literal["chunk"]
    data: ResultRead


class DeltaEvent(_Event):
    """Words of a result that is not there yet, from upstreams that tell them."""

    event: Literal["delta"]
    data: DeltaRead


class ProgressEvent(_Event):
    """At most four times a second, and once at the end."""

    event: Literal["progress"]
    data: ProgressRead


class DoneEvent(_Event):
    """The last event."""

    event: Literal["done"]
    data: DoneRead


_EVENTS = (AcceptedEvent, ChunkEvent, DeltaEvent, ProgressEvent, DoneEvent)


def _schema(event: type[_Event]) -> dict[str, Any]:
    schema = event.model_json_schema(ref_template=_COMPONENTS)
    own = schema.pop("$defs")
    data = schema["properties"]["data"]
    name = data["$ref"].rpartition("/")[2]
    if event is not ChunkEvent:  # results are named in the document: the plain answer has them too
        schema["properties"]["data"] = own[name]
    return schema


def _error_event() -> dict[str, Any]:
    name, problem = {"type": "string", "const": "error"}, {"$ref": _COMPONENTS.format(model="Problem")}
    return {
        "type": "object",
        "title": "ErrorEvent",
        "description": "Instead of `done`, where the request could not be ended well.",
        "required": ["id", "event", "data"],
        "properties": {"id": {"type": "string"}, "event": name, "data": problem},
    }


EVENT_STREAM: dict[str, Any] = {
    MEDIA_TYPE: {"schema": when_documented(lambda: {"anyOf": [*map(_schema, _EVENTS), _error_event()]})}
}

# The answer of a route that sends both: by `stream` and `Accept`.
ANSWER_OR_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"model": ProcessAnswer, "description": "The answer, or its events.", "content": EVENT_STREAM}
}
