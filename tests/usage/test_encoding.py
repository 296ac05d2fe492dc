"""A batch as text. The danger: a name that ends its field, or is taken for another or for none."""

from datetime import date

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import utc_now
from fanfold.usage.encoding import encode
from fanfold.usage.items import Item, Operation
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import UsageEvent
from tests.usage.books import Books, hold

NAMES = [
    '"',
    "\\",
    '\\"',
    "a,b",
    "(1)",
    '{"(2)"}',
    "",
    " ",
    "null",
    "'",
    "a\nb\tc",
    "翻译",
    "👩\u200d💻",
    None,
]


DAYS = [date(2026, 11, 1), date(2026, 12, 1)]


def _event(name: str | None, place: int) -> UsageEvent:
    return UsageEvent(
        call_index=place, meter=f"calls {name}", units=place, quantity=2**40, rate=place or None,
        is_counted=place % 2 == 1, upstream_id=uuid7() if place % 3 else None, upstream=name,
    )  # fmt: skip


async def test_what_an_event_says_is_what_is_written(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(1_000)
    said = [_event(name, place) for place, name in enumerate(NAMES)]
    held = await hold(ledger, tenant, 1_000)
    await ledger.settle(held.reservation, said)
    rows = sorted(await books.rows("usage_events", tenant), key=lambda row: row["call_index"])
    fields = ("call_index", "meter", "units", "quantity", "rate", "is_counted", "upstream_id", "upstream")
    assert [UsageEvent(**{name: row[name] for name in fields}) for row in rows] == said
    await books.check_truths(tenant)


@pytest.mark.parametrize("lease_s", [99.5, 315_576_000.0])
async def test_a_lease_is_as_long_as_was_asked_for(books: Books, ledger: Ledger, lease_s: float):
    tenant, before = await books.new_tenant(1), utc_now()
    await hold(ledger, tenant, lease_s=lease_s)
    [row] = await books.rows("reservations", tenant)
    assert 0 <= (row["expires_at"] - before).total_seconds() - lease_s < 30


async def test_a_row_has_its_number_once():
    tenants, key = [uuid7(), uuid7()], uuid7()
    batch = [
        Item(
            operation=Operation.RESERVE, tenant_id=tenant, request_id=uuid7(), period_start=day,
            api_key_id=api_key,
        )
        for tenant in tenants for day in DAYS for api_key in (key, None, key)
    ]  # fmt: skip
    quotas, periods, budget_quotas, keys, items, *_ = encode(batch)
    assert quotas == f"{{{tenants[0]},{tenants[0]},{tenants[1]},{tenants[1]}}}"
    assert periods == "{2026-11-01,2026-12-01,2026-11-01,2026-12-01}"
    assert (budget_quotas, keys) == ("{1,2,3,4}", f"{{{key},{key},{key},{key}}}")
    fields = [item.strip('(")').split(",") for item in items.strip("{}").split('","')]
    assert [(quota, budget) for _, quota, budget, *_ in fields] == [
        (str(n), budget) for n in (1, 2, 3, 4) for budget in (str(n), "", str(n))
    ]
