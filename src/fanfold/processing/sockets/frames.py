"""The frames of a WebSocket: what clients may send, and how an answer is written."""

import re
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from fanfold.core import strict_json
from fanfold.core.errors import MalformedRequest
from fanfold.core.long_json import is_long
from fanfold.core.offload import Offload
from fanfold.core.problems import invalid_frame
from fanfold.core.schemas import StrictModel, with_example
from fanfold.processing.schemas import ProcessRequest

MAX_REF = 64
_REF = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]{1,64}$"
_EXAMPLE = {"text": "A text.", "split": {"by": "words", "size": 1}}


def _plain(ref: str) -> str:
    if not re.fullmatch(_REF, ref):
        raise ValueError(f"ref takes 1 to {MAX_REF} characters, none of them a control character.")
    return ref


Ref = Annotated[
    # Not pydantic's own `pattern`: its message tells a regular expression, not what to do.
    str, AfterValidator(_plain), Field(description="Chosen by the client; its answers carry it.")
]
IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[ -~]*$")]


class ProcessFrame(StrictModel):
    """A process request; `idempotency_key` is what the header `Idempotency-Key` is to `POST /v1/process`."""

    model_config = with_example(type="process", ref="a", request=_EXAMPLE)

    type: Literal["process"]
    ref: Ref
    request: ProcessRequest
    idempotency_key: IdempotencyKey | None = None


class CancelFrame(StrictModel):
    """Ends what runs under `ref`; without one, all that runs over the socket."""

    model_config = with_example(type="cancel", ref="a")

    type: Literal["cancel"]
    ref: Ref | None = None


Model = TypeVar("Model", bound=StrictModel)


class NotText(MalformedRequest):
    """A binary frame."""


class FrameTooBig(Exception):
    """A frame is over `MAX_BODY_BYTES`."""


def encoded(text: str | None, max_bytes: int) -> bytes:
    """Return the bytes of a text frame; raises `NotText` for a binary one, `FrameTooBig`."""
    if text is None:
        raise NotText("Send text frames that hold JSON; binary frames are not read.")
    if len(text) > max_bytes or len(data := text.encode(errors="surrogatepass")) > max_bytes:
        raise FrameTooBig
    return data


async def decoded(data: bytes, offload: Offload) -> dict[str, Any]:
    """Return the object that a frame holds, read as strictly as a request's body; raises `MalformedRequest`."""
    value = await offload.run(strict_json.loads, data) if is_long(data) else strict_json.loads(data)
    if not isinstance(value, dict):
        raise MalformedRequest('A frame is a JSON object with a "type".')
    return value


def validated(model: type[Model], value: dict[str, Any]) -> Model:
    """Return the frame; raises `ValidationFailed`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_frame(error, model) from None


def ref_of(value: dict[str, Any]) -> str | None:
    """Return the ref to answer a frame with, also one that is refused."""
    ref = value.get("ref")
    return ref if isinstance(ref, str) and len(ref) <= MAX_REF else None


def answer(kind: str, ref: str | None, data: bytes) -> str:
    """Return an answer as text."""
    return f'{{"type":"{kind}","ref":{orjson.dumps(ref).decode()},"data":{data.decode()}}}'
