"""The ledger's tables as pages to compare: the same rows, read from the database and told by the plain model."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from tests.chaos.ledger_model import LedgerModel
from tests.usage.books import TRUTHS

Pages = Mapping[str, Counter[tuple[Any, ...]]]

_COLUMNS = {
    "quota_periods": "tenant_id, period_start, reserved, used, prepaid, granted, warned",
    "key_periods": "tenant_id, api_key_id, period_start, reserved, used, granted, warned",
    "prepaid_balances": "tenant_id, drawn",
    "reservations": "tenant_id, id, period_start, api_key_id, units",
    "usage_events": "tenant_id, request_id, call_index, period_start, api_key_id, units, due_units, outcome",
    "outcomes": "tenant_id, request_id, kind, period_start, api_key_id, units, resolution, resolved_units",
    "idempotency_keys": "tenant_id, key, request_id, status, units, remaining",
    "outbox": "tenant_id, topic, payload -> 'period_start', payload -> 'holder', payload -> 'api_key_id', "
    "payload -> 'level', payload -> 'used', payload -> 'limit'",
}
_READ = "select jsonb_build_object({})".format(
    ", ".join(
        f"'{table}', (select coalesce(jsonb_agg(jsonb_build_array({columns})), '[]') "
        f"from fanfold.{table} where tenant_id = any ($1))"
        for table, columns in _COLUMNS.items()
    )
)
_CHECK = "select array_remove(array[{}], null)".format(
    ", ".join(f"case when exists ({truth}) then '{name}' end" for name, truth in TRUTHS.items())
)


async def read_pages(reader: Any, tenants: Iterable[UUID]) -> Pages:
    pages = json.loads(await reader.fetchval(_READ, list(tenants)))
    pages["prepaid_balances"] = [row for row in pages["prepaid_balances"] if row[1]]
    return {table: Counter(map(tuple, rows)) for table, rows in pages.items()}


async def broken_truths(reader: Any, tenants: Iterable[UUID]) -> list[str]:
    """Return which of the books' truths do not hold."""
    broken: list[str] = await reader.fetchval(_CHECK, list(tenants))
    return broken


def pages_of(model: LedgerModel) -> Pages:
    drawn = Counter[UUID]()
    for (tenant, _), pocket in model.periods.items():
        drawn[tenant] += pocket.drawn
    rows: dict[str, list[tuple[Any, ...]]] = {
        "quota_periods": [
            (*row, model.reserved(*row), model.used(*row), it.drawn, it.granted, it.warned)
            for row, it in model.periods.items()
        ],
        "key_periods": [
            (t, key, start, model.reserved(t, start, key), model.used(t, start, key), it.granted, it.warned)
            for (t, key, start), it in model.budgets.items()
        ],
        "prepaid_balances": [(tenant, units) for tenant, units in drawn.items() if units],
        "reservations": [(*name, it.start, it.key, it.units) for name, it in model.holds.items()],
        "usage_events": [
            (*name, it.start, it.key, it.units, it.due, it.outcome) for name, it in model.events.items()
        ],
        "outcomes": [
            (*name, it.kind, it.start, it.key, it.units, it.resolution, it.resolved_units)
            for name, it in model.outcomes.items()
        ],
        "idempotency_keys": [
            (*name, it.request, it.status, it.units, it.remaining) for name, it in model.claims.items()
        ],
        "outbox": [
            (tenant, "quota.warning", start, "api_key" if key else "tenant", key, *figures)
            for tenant, start, key, *figures in model.warnings
        ],
    }
    return {table: Counter(tuple(map(_plain, row)) for row in found) for table, found in rows.items()}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str) else str(value)


def difference(found: Pages, expected: Pages) -> str:
    """Return the rows that only one of the two has."""
    lines = []
    for table in found:
        lines += [f"only in the database: {table} {row}" for row in found[table] - expected[table]]
        lines += [f"only in the model:    {table} {row}" for row in expected[table] - found[table]]
    return "\n".join(lines)
