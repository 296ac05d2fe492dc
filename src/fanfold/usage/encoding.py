"""A batch as the arguments of `ledger_commit`: arrays of composites, which asyncpg encodes in one pass."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from fanfold.usage.items import Item

COMMIT = """
select status, remaining, quota_warning, budget_warning from fanfold.ledger_commit($1, $2, $3, $4, $5, $6, $7, $8)
"""

OperationRow = tuple[int, int, int | None, UUID, int, float]
ReadingRow = tuple[int, int, str, int, int, int | None, bool, UUID | None, str | None]
ClaimRow = tuple[int, str, str, bytes]
MarkRow = tuple[int, str, str, int]
Arguments = tuple[
    list[UUID],
    list[date],
    list[int],
    list[UUID],
    list[OperationRow],
    list[ReadingRow],
    list[ClaimRow],
    list[MarkRow],
]


def encode(batch: Sequence[Item]) -> Arguments:
    """Number the quota rows and the keys' rows of `batch` from 1, once each; items refer to them by number.

    Readings, claims and marks refer to their item by its place.
    """
    quotas: dict[tuple[UUID, date], int] = {}
    budgets: dict[tuple[int, UUID], int] = {}
    items: list[OperationRow] = []
    readings: list[ReadingRow] = []
    for place, item in enumerate(batch, 1):
        quota = quotas.setdefault((item.tenant_id, item.period_start), len(quotas) + 1)
        budget = None
        if item.api_key_id is not None:
            budget = budgets.setdefault((quota, item.api_key_id), len(budgets) + 1)
        items.append((item.operation, quota, budget, item.request_id, item.units, item.lease_s))
        readings.extend(_readings(place, item))
    return (
        [tenant for tenant, _ in quotas],
        [period for _, period in quotas],
        [quota for quota, _ in budgets],
        [key for _, key in budgets],
        items,
        readings,
        [(n, i.claim.route, i.claim.key, i.claim.body_hash) for n, i in enumerate(batch, 1) if i.claim],
        [(n, i.mark.route, i.mark.key, i.mark.status) for n, i in enumerate(batch, 1) if i.mark],
    )


def _readings(place: int, item: Item) -> list[ReadingRow]:
    return [
        (
            place,
            e.call_index,
            e.meter,
            e.units,
            e.quantity,
            e.rate,
            e.is_counted,
            e.upstream_id,
            e.upstream,
        )
        for e in item.events
    ]
