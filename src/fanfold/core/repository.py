"""What every repository needs: pages by key, and cursors that say nothing."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fanfold.core.errors import ValidationFailed
from fanfold.core.schemas import INT32_MAX

Row = TypeVar("Row")

_EPOCH, _TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def encode_cursor(last: UUID) -> str:
    """Return the cursor of the page that follows `last`."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Return the id that a cursor stands for; a 422 where it is not one of ours."""
    try:
        return UUID(bytes=base64.b64decode(cursor.encode() + b"==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise _not_a_cursor() from None


def encode_moment_cursor(last: datetime) -> str:
    """Return the cursor of the page that follows the moment `last`, which is after 1970."""
    return encode_cursor(UUID(int=(last - _EPOCH) // _TICK))


def decode_moment_cursor(cursor: str) -> datetime:
    """Return the moment that a cursor stands for; a 422 where it is not one of ours."""
    ticks = decode_cursor(cursor).int
    try:
        return _EPOCH + ticks * _TICK
    except OverflowError:
        raise _not_a_cursor() from None


def encode_index_cursor(last: int) -> str:
    """Return the cursor of the page that follows place `last`, from 0, of a list that has an order of its own."""
    return encode_cursor(UUID(int=last))


def decode_index_cursor(cursor: str) -> int:
    """Return the place that a cursor stands for, a number of 32 bits; a 422 where it is not one of ours."""
    index = decode_cursor(cursor).int
    if index > INT32_MAX:
        raise _not_a_cursor()
    return index


def _not_a_cursor() -> ValidationFailed:
    message = "Not a cursor. Send `next_cursor` of the page before, unchanged."
    errors = [{"loc": ["query", "cursor"], "msg": message, "type": "cursor"}]
    return ValidationFailed(message, errors=errors)


async def page(
    session: AsyncSession,
    statement: Select[Row],
    *,
    by: InstrumentedAttribute[UUID],
    limit: int,
    cursor: str | None,
) -> tuple[Sequence[Row], str | None]:
    """Return one page, newest first, and the cursor of the next one; `by` is a time-ordered id."""
    if cursor:
        statement = statement.where(by < decode_cursor(cursor))
    rows: list[Any] = list(await session.scalars(statement.order_by(by.desc()).limit(limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, encode_cursor(getattr(rows[-1], by.key)) if more else None


def escape_like(text: str) -> str:
    """Escape `text` for LIKE, so that a client's % and _ are letters."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
