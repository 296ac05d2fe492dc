"""The border's base models: strict on the way in, one shape for pages on the way out."""

import datetime as dt
import re
from collections.abc import Iterable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

Item = TypeVar("Item")

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
INT32_MAX = 2**31 - 1

# What terminals obey or turn around, and what ends a line for some readers: controls, bidirectional overrides.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# asyncpg writes these two as Postgres' infinities, and reads them without a time zone.
_INFINITE = {dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T", re.ASCII)


def printable(value: str) -> str:
    """Return a text as it is; a ValueError where it holds what terminals obey or what ends a line for some readers."""
    if _INVISIBLE.search(value):
        raise ValueError("must not hold control characters")
    return value


def _written(value: Any) -> Any:
    if not isinstance(value, str) or not _DATE.match(value):  # pydantic reads seconds since 1970 too
        raise ValueError("must be a time as RFC 3339 writes it, for example 2030-01-31T12:00:00Z")
    return value


def _in_utc(value: dt.datetime) -> dt.datetime:
    try:
        moment = value.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from None
    if moment in _INFINITE:
        raise ValueError(
            "must be before the last microsecond of the year 9999, and after the first of the year 1"
        )
    return moment


Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True),
    AfterValidator(printable),
    Field(description="For people to read, in any script."),
]
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, strip_whitespace=True),
    AfterValidator(printable),
]
Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]


class BodyModel(BaseModel):
    """A request body, whose errors never show the input. It is built when a route that takes it is (`LateRoute`)."""

    model_config = ConfigDict(hide_input_in_errors=True, defer_build=True)

    @classmethod
    def build(cls) -> None:
        """Build it, and what is made of it from now on at once: FastAPI's fields of bodies built later would warn."""
        cls.model_config["defer_build"] = False
        cls.model_rebuild()


class StrictModel(BodyModel):
    """A request body of JSON: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AtLeast:
    """Annotates a text of at least so many characters; `StringConstraints` copies the whole text to count them."""

    def __init__(self, characters: int) -> None:
        self.characters = characters

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minLength": self.characters}

    def _check(self, value: str) -> str:
        if len(value) < self.characters:
            raise PydanticKnownError("string_too_short", {"min_length": self.characters})
        return value


def with_example(**example: Any) -> ConfigDict:
    """Return the configuration of a body whose example is this one, and works when it is sent."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class AnswerModel(BaseModel):
    """An answer. It is built when it is first given: most processes give few of them."""

    model_config = ConfigDict(defer_build=True)


class ReadModel(AnswerModel):
    """An answer, readable from a row's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Page(AnswerModel, Generic[Item]):
    """A page of a list; `next_cursor` is null on the last one."""

    data: list[Item]
    next_cursor: str | None = None


Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items on the page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=200, description="`next_cursor` of the page before; the first page without it."),
]


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer these problems."""
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": "Problem", "content": {"application/problem+json": {"schema": reference}}}
        for status in statuses
    }


class OneOf:
    """Annotates a string that is one of a registry's kinds, so that a new kind is one line in one place."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self.kinds = list(kinds)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.literal_schema(self.kinds)
