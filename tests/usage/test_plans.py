"""The danger of a plan made on an empty table: rows times rows, once the table is full."""

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.items import Item, Operation
from tests.usage.books import Books, events

PERIOD = period_of(utc_now())
ROWS_READ = """
select coalesce(sum(seq_tup_read), 0)::bigint as by_scan, coalesce(sum(idx_tup_fetch), 0)::bigint as by_index
  from pg_stat_xact_user_tables where schemaname = 'fanfold'
"""


def _batch(operation: Operation, tenant: UUID, ids: list[UUID], *, lease_s: float = 60) -> list[Item]:
    return [
        Item(
            operation=operation, tenant_id=tenant, request_id=request, period_start=PERIOD,
            units=1 if operation is Operation.RESERVE else 0, lease_s=lease_s,
            events=events(1) if operation is Operation.SETTLE else (),
        )
        for request in ids
    ]  # fmt: skip


async def test_plans_made_on_empty_tables_never_scan_full_ones(books: Books):
    tenant = await books.new_tenant(1_000_000)
    async with books.superuser() as superuser:
        await superuser.execute("truncate fanfold.reservations")
        for table in ("reservations", "quota_periods", "usage_events"):
            await superuser.execute(f"vacuum analyze fanfold.{table}")
    async with books.app() as lane:
        flush = await lane.prepare(COMMIT)
        ids = [uuid7() for _ in range(50)]
        await flush.fetchrow(*encode(_batch(Operation.RESERVE, tenant, ids)))
        await flush.fetchrow(*encode(_batch(Operation.SETTLE, tenant, ids)))
        await lane.fetchval("select fanfold.ledger_sweep(1000)")
        for _ in range(10):
            await flush.fetchrow(*encode(_batch(Operation.RESERVE, tenant, [uuid7() for _ in range(500)])))

        ids, swept = [uuid7() for _ in range(50)], [uuid7() for _ in range(50)]
        for batch in (
            _batch(Operation.RESERVE, tenant, ids),
            _batch(Operation.SETTLE, tenant, ids),
            _batch(Operation.SETTLE, tenant, ids),  # late: every event is looked up
            _batch(Operation.RESERVE, tenant, swept, lease_s=0),
        ):
            await _assert_probes_alone(lane, flush.fetchrow(*encode(batch)))
        await _assert_probes_alone(lane, lane.fetchval("select fanfold.ledger_sweep(1000)"))


async def _assert_probes_alone(lane: Any, statement: Awaitable[Any]) -> None:
    async with lane.transaction():
        before = await lane.fetchrow(ROWS_READ)
        await statement
        after = await lane.fetchrow(ROWS_READ)
    assert after["by_scan"] - before["by_scan"] == 0
    assert after["by_index"] - before["by_index"] < 500


async def test_every_plan_is_pinned(books: Books):
    async with books.superuser() as superuser:
        rows = await superuser.fetch(
            "select proconfig from pg_proc where pronamespace = 'fanfold'::regnamespace and proname ~ '^ledger_'"
        )
    assert len(rows) == 2
    for (settings,) in rows:
        assert set(settings) >= {
            "plan_cache_mode=force_generic_plan", "enable_seqscan=off",
            "enable_indexonlyscan=off", "enable_bitmapscan=off",
        }  # fmt: skip
