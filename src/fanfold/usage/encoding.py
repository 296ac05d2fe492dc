"""A batch as the arguments of `ledger_flush`: arrays of composites, which asyncpg encodes in one pass."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from fanfold.usage.items import Item

FLUSH = "select status, remaining from fanfold.ledger_flush($1, $2, $3, $4)"

ItemRow = tuple[int, int, UUID, int, float, UUID | None]
EventRow = tuple[int, int, str, int, int, UUID | None, str | None]
Arguments = tuple[list[UUID], list[date], list[ItemRow], list[EventRow]]


def encode(batch: Sequence[Item]) -> Arguments:
    """Number the quota rows of `batch` from 1, once each; items refer to them, and events to items, by number."""
    quotas: dict[tuple[UUID, date], int] = {}
    items: list[ItemRow] = []
    events: list[EventRow] = []
    for place, item in enumerate(batch, 1):
        quota = quotas.setdefault((item.tenant_id, item.period_start), len(quotas) + 1)
        items.append((item.operation, quota, item.request_id, item.units, item.lease_s, item.api_key_id))
        events.extend(_event_rows(place, item))
    return [tenant for tenant, _ in quotas], [period for _, period in quotas], items, events


def _event_rows(place: int, item: Item) -> list[EventRow]:
    return [
        (place, e.call_index, e.meter, e.units, e.quantity, e.upstream_id, e.upstream) for e in item.events
    ]
