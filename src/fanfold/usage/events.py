"""A tenant's usage events, read by key: a page, or a batch of an export, goes on exactly where the last one ended."""

import base64
import binascii
import datetime as dt
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.errors import ValidationFailed
from fanfold.core.values import value
from fanfold.usage.models import BilledEvent
from fanfold.usage.period_names import NamedPeriod
from fanfold.usage.sums import midnight

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_KEY = struct.Struct(">qi16s")


@value(kw_only=True)
class EventFilter:
    """Which events; None does not filter. Days are UTC's by `occurred_at`, both count; `until` is a moment."""

    first: dt.date | None = None
    last: dt.date | None = None
    until: dt.datetime | None = None
    period: NamedPeriod | None = None
    upstream: str | None = None
    api_key_id: UUID | None = None
    request_id: UUID | None = None


@value
class EventKey:
    """An event's place in time, and among those of the same moment: one flush writes many."""

    occurred_at: dt.datetime
    request_id: UUID
    call_index: int
    meter: str

    def encode(self) -> str:
        """Return the cursor of what follows."""
        micros = (self.occurred_at - _EPOCH) // dt.timedelta(microseconds=1)
        packed = _KEY.pack(micros, self.call_index, self.request_id.bytes) + self.meter.encode()
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def decode(cls, cursor: str) -> Self:
        """Return what a cursor stands for; a 422 where it is not one of ours."""
        try:
            packed = base64.b64decode(cursor.encode() + b"==", altchars=b"-_", validate=True)
            micros, call_index, request_id = _KEY.unpack_from(packed)
            meter = packed[_KEY.size :].decode()
            if "\x00" not in meter:
                occurred_at = _EPOCH + dt.timedelta(microseconds=micros)
                return cls(occurred_at, UUID(bytes=request_id), call_index, meter)
        except (ValueError, OverflowError, binascii.Error, struct.error):
            pass
        message = "Not a cursor. Send `next_cursor` of the page before, unchanged."
        raise ValidationFailed(
            message, errors=[{"loc": ["query", "cursor"], "msg": message, "type": "cursor"}]
        )


class EventRow(NamedTuple):
    """One usage event, in the order in which it is shown.

    A tuple, since an export makes one of each row, and a frozen dataclass takes many times as long to make.
    """

    request_id: UUID
    call_index: int
    meter: str
    quantity: int
    units: int
    rate: int | None
    outcome: str
    upstream: str | None
    api_key_id: UUID | None
    period_start: dt.date
    occurred_at: dt.datetime
    is_counted: bool
    due_units: int

    @property
    def key(self) -> EventKey:
        """Where the next page begins."""
        return EventKey(self.occurred_at, self.request_id, self.call_index, self.meter)


_COLUMNS = [getattr(BilledEvent, name) for name in EventRow._fields]
_ORDER = (BilledEvent.occurred_at, BilledEvent.request_id, BilledEvent.call_index, BilledEvent.meter)


class EventRepository:
    """The usage events of one tenant."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self.tenant_id = session, tenant_id

    async def newest(self, chosen: EventFilter, *, before: EventKey | None, limit: int) -> Sequence[EventRow]:
        """Return the newest events, or those before a key, newest first."""
        statement = self._chosen(chosen).order_by(*(column.desc() for column in _ORDER)).limit(limit)
        if before is not None:
            statement = statement.where(
                BilledEvent.occurred_at <= before.occurred_at, _place() < _place_of(before)
            )
        return await self._rows(statement)

    async def oldest(self, chosen: EventFilter, *, after: EventKey | None, limit: int) -> Sequence[EventRow]:
        """Return the oldest events, or those after a key, oldest first."""
        statement = self._chosen(chosen).order_by(*_ORDER).limit(limit)
        if after is not None:
            statement = statement.where(
                BilledEvent.occurred_at >= after.occurred_at, _place() > _place_of(after)
            )
        return await self._rows(statement)

    def _chosen(self, chosen: EventFilter) -> Select[Any]:
        return select(*_COLUMNS).where(BilledEvent.tenant_id == self.tenant_id, *_conditions(chosen))

    async def _rows(self, statement: Select[Any]) -> Sequence[EventRow]:
        return [EventRow._make(row) for row in await self._session.execute(statement)]


def _place() -> Any:
    return tuple_(*_ORDER)


def _place_of(key: EventKey) -> Any:
    return tuple_(key.occurred_at, key.request_id, key.call_index, key.meter)


def _conditions(chosen: EventFilter) -> Iterator[ColumnElement[bool]]:
    if chosen.first is not None:
        yield BilledEvent.occurred_at >= midnight(chosen.first)
    if chosen.last is not None:
        yield BilledEvent.occurred_at < midnight(chosen.last) + dt.timedelta(days=1)
    if chosen.until is not None:
        yield BilledEvent.occurred_at < chosen.until
    if chosen.period is not None:
        yield BilledEvent.period_start >= chosen.period.start
        yield BilledEvent.period_start < chosen.period.end
    for column, wanted in (
        (BilledEvent.upstream, chosen.upstream),
        (BilledEvent.api_key_id, chosen.api_key_id),
        (BilledEvent.request_id, chosen.request_id),
    ):
        if wanted is not None:
            yield column == wanted
