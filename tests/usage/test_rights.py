"""The dangers of a serving role that may do too much: another tenant's rows, a rewritten bill, a partition past RLS."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from fanfold.core.identifiers import uuid7
from fanfold.usage.ledger import Ledger
from tests.usage.books import Books, events, hold

TABLES = ("quota_periods", "key_periods", "reservations", "usage_events")


@pytest.fixture
async def two_tenants(books: Books, ledger: Ledger) -> list[UUID]:
    tenants = [await books.new_tenant(), await books.new_tenant()]
    for tenant in tenants:
        await ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=1, lease_s=60, api_key_id=uuid7())
        await ledger.settle((await hold(ledger, tenant, 2)).reservation, events(2))
    return tenants


@pytest.fixture
async def app(books: Books) -> AsyncIterator[Any]:
    async with books.app() as connection:
        yield connection


async def _tenants_seen(app: Any, table: str) -> set[UUID]:
    return {row["tenant_id"] for row in await app.fetch(f"select tenant_id from fanfold.{table}")}


@pytest.mark.parametrize("table", TABLES)
class TestRows:
    @pytest.mark.usefixtures("two_tenants")
    async def test_none_without_a_tenant(self, app, table: str):
        assert await _tenants_seen(app, table) == set()
        await app.execute("select set_config('app.tenant_id', '', false)")
        assert await _tenants_seen(app, table) == set()

    async def test_only_ones_own_with_one(self, app, two_tenants, table: str):
        for tenant in two_tenants:
            await app.execute("select set_config('app.tenant_id', $1, false)", str(tenant))
            assert await _tenants_seen(app, table) == {tenant}

    async def test_all_as_an_operator_until_the_transaction_ends(self, app, two_tenants, table: str):
        async with app.transaction():
            await app.execute("set local role fanfold_operator")
            assert await _tenants_seen(app, table) >= set(two_tenants)
        assert await _tenants_seen(app, table) == set()

    async def test_not_changed_by_an_operator(self, app, table: str):
        await app.execute("set role fanfold_operator")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(f"delete from fanfold.{table}")

    @pytest.mark.parametrize(
        "change",
        [
            "update fanfold.{} set tenant_id = tenant_id",
            "delete from fanfold.{}",
            "truncate fanfold.{}",
            "insert into fanfold.{} (tenant_id) values (gen_random_uuid())",
            "select from fanfold.{} for update",
        ],
    )
    async def test_never_changed_but_by_the_functions(self, app, two_tenants, table: str, change: str):
        await app.execute("select set_config('app.tenant_id', $1, false)", str(two_tenants[0]))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(change.format(table))

    async def test_protected_by_force_partitions_too(self, books: Books, table: str):
        async with books.superuser() as connection:
            flags = await connection.fetch(
                "select relname, relrowsecurity and relforcerowsecurity as forced from pg_class "
                "where relnamespace = 'fanfold'::regnamespace and relkind in ('r', 'p') and starts_with(relname, $1)",
                table,
            )
        assert len(flags) >= (6 if table == "usage_events" else 1)
        assert [row["relname"] for row in flags if not row["forced"]] == []


async def test_no_partition_may_be_read(app, two_tenants):
    partitions = await app.fetch(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'fanfold.usage_events'::regclass"
    )
    assert len(partitions) >= 5
    await app.execute("select set_config('app.tenant_id', $1, false)", str(two_tenants[0]))
    for (partition,) in partitions:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.fetch(f"select from {partition}")


@pytest.mark.usefixtures("two_tenants")
async def test_the_owner_sees_nothing_without_being_asked_to(books: Books):
    async with books.owner() as owner:
        for table in TABLES:
            assert await _tenants_seen(owner, table) == set()


async def test_only_what_moves_units_by_the_rules_and_the_upkeep_of_usage_may_be_called(app):
    callable_functions = await app.fetch(
        "select p.oid::regprocedure::text as name, p.proowner::regrole::text as owner from pg_proc p "
        "where p.pronamespace = 'fanfold'::regnamespace and has_function_privilege(p.oid, 'execute') "
        "and p.proname ~ '^(ledger|usage|outcome)'"
    )
    assert {(row["name"], row["owner"]) for row in callable_functions} == {
        (
            (
                "fanfold.ledger_commit(uuid[],date[],integer[],uuid[],fanfold.ledger_operation[],"
                "fanfold.ledger_reading[],fanfold.ledger_claim[],fanfold.ledger_mark[])"
            ),
            "fanfold_system",
        ),
        ("fanfold.ledger_sweep(integer)", "fanfold_system"),
        ("fanfold.outcome_resolve(uuid,uuid,text,bigint,text,uuid)", "fanfold_system"),
        ("fanfold.outcome_resolve_audited(uuid,uuid,text,bigint,text,uuid,uuid,text,text)", "fanfold_system"),
        ("fanfold.usage_default_rows()", "fanfold_system"),
        ("fanfold.usage_partitions()", "fanfold_owner"),
        ("fanfold.usage_retention(integer)", "fanfold_owner"),
        ("fanfold.usage_roll_due()", "fanfold_system"),
    }


async def test_temporary_tables_do_not_fool_the_functions(books: Books, two_tenants):
    """Even where somebody grants TEMP by mistake."""
    async with books.superuser() as superuser:
        name = await superuser.fetchval("select current_database()")
        await superuser.execute(f"grant temporary on database {name} to fanfold_app")
        try:
            async with books.app() as app:
                await app.execute("create temporary table reservations as select 1 as units")
                await app.execute(
                    "create function pg_temp.now() returns timestamptz language sql "
                    "as $$ select 'infinity'::timestamptz $$"
                )
                await app.execute("set search_path = pg_temp, fanfold, pg_catalog")
                before = await books.rows("reservations", two_tenants[0])
                await app.fetchval("select fanfold.ledger_sweep(1000)")
                assert await books.rows("reservations", two_tenants[0]) == before != []
        finally:
            await superuser.execute(f"revoke temporary on database {name} from fanfold_app")


async def test_no_definer_keeps_the_callers_path(books: Books):
    async with books.superuser() as superuser:
        rows = await superuser.fetch(
            "select proname, proconfig from pg_proc "
            "where pronamespace = 'fanfold'::regnamespace and prosecdef and proname ~ '^(ledger|usage|outcome)'"
        )
    assert len(rows) == 10
    for row in rows:
        assert "search_path=pg_catalog, pg_temp" in row["proconfig"], row["proname"]
