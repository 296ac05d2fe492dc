"""What a request that is no JSON brings: its options, the kind of its input, and the input as it comes."""

from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from fanfold.core import strict_json
from fanfold.core.config import Settings
from fanfold.core.errors import MalformedRequest, UnsupportedMediaType, ValidationFailed
from fanfold.core.values import value
from fanfold.jobs.intake_schemas import JobOptions
from fanfold.jobs.multipart import FileHead, JobForm
from fanfold.jobs.types import JobSource
from fanfold.jobs.upload import Upload

FORM = "multipart/form-data"
LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_LINE_NAMES, _TEXT_NAMES = frozenset({".ndjson", ".jsonl"}), frozenset({".txt", ".text", ".md", ".markdown"})


@value
class Incoming:
    """`asked` says the options as they were sent, in short; `content` is iterated once."""

    options: JobOptions
    asked: object
    source: JobSource
    content: AsyncIterator[bytes]


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def incoming(request: Request) -> Incoming:
    """Read up to where the input begins. Raises 400, 413, 415 and 422."""
    settings: Settings = request.app.state.settings
    pieces = aiter(
        Upload(request, max_bytes=settings.jobs.max_bytes, patience_s=settings.server.body_timeout_s)
    )
    if media_type_of(request) in LINES:
        return Incoming(JobOptions(), {}, JobSource.NDJSON, pieces)
    form = JobForm(pieces, request.headers["content-type"])
    head = await form.head()
    try:
        asked = strict_json.loads(form.request) if form.request else {}
    except MalformedRequest as error:
        raise MalformedRequest(error.detail.replace("The body", "The part request")) from None
    try:
        options = JobOptions.model_validate(asked)
    except ValidationError as error:
        errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(errors) from None
    source = _source(head)
    if source is JobSource.NDJSON and options.fold.by != "list":
        message = "fold.by must be list for NDJSON: each line has results of its own."
        raise ValidationFailed(
            message, errors=[{"loc": ["body", "fold", "by"], "msg": message, "type": "value_error"}]
        )
    return Incoming(options, asked, source, form.content())


def _source(head: FileHead) -> JobSource:
    """What a file is, by its media type; where that says nothing by its name."""
    ending = PurePosixPath(head.filename).suffix.lower()
    if head.media_type in LINES or ending in _LINE_NAMES:
        return JobSource.NDJSON
    if head.media_type.startswith("text/") or ending in _TEXT_NAMES:
        return JobSource.TEXT
    raise UnsupportedMediaType(
        "file takes text/plain or application/x-ndjson; say which, or name it .txt or .ndjson."
    )
