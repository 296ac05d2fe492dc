"""The frames of a chat."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from fanfold.core import strict_json
from fanfold.core.errors import MalformedRequest
from fanfold.core.schemas import AtLeast, StrictModel, with_example
from fanfold.processing.sockets.frames import Ref

MAX_TEXT = 20_000
MAX_PASSAGES = 200
MAX_PASSAGES_TEXT = 200_000

Passage = Annotated[str, AtLeast(1), StringConstraints(max_length=MAX_TEXT)]


def _none_yet(collection: str | None) -> str | None:
    if collection is not None:
        raise ValueError("there are no collections yet: send the texts to look in as passages")
    return collection


class MessageFrame(StrictModel):
    """A question, and the passages to look for the answer in."""

    model_config = with_example(type="message", text="好 means?", passages=["好 (hǎo): good."])

    type: Literal["message"]
    text: Annotated[str, AtLeast(1), StringConstraints(max_length=MAX_TEXT)]
    passages: list[Passage] = Field(default=[], max_length=MAX_PASSAGES)
    collection: Annotated[str | None, AfterValidator(_none_yet)] = None
    ref: Ref | None = None

    @model_validator(mode="after")
    def _passages_are_short_together(self) -> "MessageFrame":
        if sum(map(len, self.passages)) > MAX_PASSAGES_TEXT:
            raise ValueError(f"the passages are together over {MAX_PASSAGES_TEXT} characters: send fewer")
        return self


def plain_or_frame(data: bytes) -> dict[str, Any]:
    """Return the frame, or the message that a text is which is no JSON object with a `type`.

    Raises `MalformedRequest` for what no text may hold.
    """
    try:
        value = strict_json.loads(data)
    except MalformedRequest:
        value = None
    if isinstance(value, dict) and "type" in value:
        return value
    if b"\x00" in data:
        raise MalformedRequest("A text holds NUL.")
    return {"type": "message", "text": data.decode(errors="replace")}
