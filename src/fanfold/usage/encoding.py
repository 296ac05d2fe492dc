"""A batch as the arguments of `ledger_commit`: arrays as PostgreSQL writes them, which the server reads itself.

asyncpg looks at every element of an array, and at every field of a composite, from Python; a text it copies.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

from fanfold.usage.items import Item
from fanfold.usage.types import UsageEvent

LEDGER_ARGUMENTS = """
  $1::text::uuid[], $2::text::date[], $3::text::integer[], $4::text::uuid[],
  $5::text::fanfold.ledger_operation[], $6::text::fanfold.ledger_reading[],
  coalesce($7::fanfold.ledger_claim[], '{}'), coalesce($8::fanfold.ledger_mark[], '{}')
"""
"""How a statement hands on what `encode` returns."""

COMMIT = f"""
select status, remaining, quota_warning, budget_warning from fanfold.ledger_commit({LEDGER_ARGUMENTS})
"""  # noqa: S608 (a constant)

ClaimRow = tuple[int, str, str, bytes]
MarkRow = tuple[int, str, str, int]
Arguments = tuple[Any, ...]


def encode(batch: Sequence[Item]) -> Arguments:
    """Number the quota rows and the keys' rows of `batch` from 1, once each; items refer to them by number.

    Readings, claims and marks refer to their item by its place. Claims and marks, whose texts are clients', are rare:
    None where there are none.
    """
    quotas: dict[tuple[UUID, date], int] = {}
    budgets: dict[tuple[int, UUID], int] = {}
    items: list[str] = []
    readings: list[str] = []
    claims: list[ClaimRow] = []
    marks: list[MarkRow] = []
    for place, item in enumerate(batch, 1):
        quota = quotas.setdefault((item.tenant_id, item.period_start), len(quotas) + 1)
        key = item.api_key_id
        budget = "" if key is None else budgets.setdefault((quota, key), len(budgets) + 1)
        request = item.request_id.int  # str() of a UUID takes three times as long
        items.append(f'"({item.operation},{quota},{budget},{request:032x},{item.units},{item.lease_s})"')
        if item.events:
            readings += [_reading(place, event) for event in item.events]
        if claim := item.claim:
            claims.append((place, claim.route, claim.key, claim.body_hash))
        if mark := item.mark:
            marks.append((place, mark.route, mark.key, mark.status))
    columns = (
        [str(tenant) for tenant, _ in quotas],
        [str(period) for _, period in quotas],
        [str(quota) for quota, _ in budgets],
        [str(key) for _, key in budgets],
        items,
        readings,
    )
    return (*[f"{{{','.join(column)}}}" for column in columns], claims or None, marks or None)


def _reading(place: int, event: UsageEvent) -> str:
    rate = "" if event.rate is None else event.rate
    is_counted = "t" if event.is_counted else "f"
    upstream_id = "" if event.upstream_id is None else f"{event.upstream_id.int:032x}"
    upstream = "" if event.upstream is None else _quoted(event.upstream)
    return (
        f'"({place},{event.call_index},{_quoted(event.meter)},{event.units},{event.quantity},'
        f'{rate},{is_counted},{upstream_id},{upstream})"'
    )


@lru_cache(maxsize=1_000)
def _quoted(text: str) -> str:
    """Return a text as a field of a composite that is an element of an array (manual, 8.15.6 and 8.16.6)."""
    return _escaped(f'"{_escaped(text)}"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
