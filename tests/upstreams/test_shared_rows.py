"""Rows of what all tenants share: tenants read them and nothing else, operators write them and no tenant's."""

import asyncpg
import pytest

from fanfold.core.identifiers import uuid7
from fanfold.core.migrations import downgrade, migrate
from tests.core.asking import execute, rows
from tests.fixtures.database import TestDatabase, connect

NIL = "00000000-0000-0000-0000-000000000000"
INSERT = """
insert into fanfold.upstreams (tenant_id, id, slug, kind, url, method, options, headers, auth_header, timeout_s,
       max_attempts, max_concurrency, weight, idempotent, enabled, is_default)
values ($1, $2, 'u', 'echo', 'https://a.example', 'POST', '{}', '{}', 'X', 1, 1, 1, 1, true, true, false)
"""
PRICE = """
insert into fanfold.upstream_prices (tenant_id, upstream_id, id, effective_from, units_per_call, units_per_1k_chars,
       units_per_1k_input_tokens, units_per_1k_output_tokens)
values ($1, $2, gen_random_uuid(), now() + interval '1 hour', 0, 0, 0, 0)
"""
CHANGES = (
    "update fanfold.upstreams set url = 'https://evil.example' where id = $1",
    "delete from fanfold.upstreams where id = $1",
    "delete from fanfold.upstream_prices where upstream_id = $1",
)


@pytest.fixture
async def app(product):
    """A connection as the serving role, in one transaction, which is undone."""
    connection = await connect(product.database.app_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def test_a_tenant_reads_them_and_changes_nothing(product, app):
    tenant, other = await product.tenant(), await product.tenant()
    made = await product.shared_upstream("https://all.example/")
    own, others = [await each.upstream("https://own.example/") for each in (tenant, other)]
    await app.execute("select set_config('app.tenant_id', $1, true)", str(tenant.id))
    for table, column in (("upstreams", "id"), ("upstream_prices", "upstream_id")):
        seen = await app.fetch(f"select {column}::text as id from fanfold.{table}")
        ids = {row["id"] for row in seen}
        assert (made["id"] in ids, own["id"] in ids, others["id"] in ids) == (True, True, False), table
    for change in CHANGES:
        assert (await app.execute(change, made["id"])).endswith(" 0"), change
    for statement, values in ((INSERT, (NIL, uuid7())), (PRICE, (NIL, made["id"]))):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with app.transaction():
                await app.execute(statement, *values)


async def test_an_operator_writes_them_and_no_tenant_s(product, app):
    tenant = await product.tenant()
    made = await product.shared_upstream("https://all.example/")
    own = await tenant.upstream("https://own.example/")
    await app.execute("set local role fanfold_operator")
    for change in CHANGES:
        assert (await app.execute(change, own["id"])).endswith(" 0"), change
    for statement, values in ((INSERT, (tenant.id, uuid7())), (PRICE, (tenant.id, own["id"]))):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with app.transaction():
                await app.execute(statement, *values)
    assert await app.execute(PRICE, NIL, made["id"]) == "INSERT 0 1"
    for change, written in zip(CHANGES, ("UPDATE 1", "DELETE 1", "DELETE 0"), strict=True):
        assert await app.execute(change, made["id"]) == written


async def test_without_a_tenant_they_are_all_that_is_seen(product, app):
    tenant = await product.tenant()
    await tenant.upstream("https://own.example/")
    made = await product.shared_upstream("https://all.example/")
    assert [row["id"] for row in await app.fetch("select id::text from fanfold.upstreams")] == [made["id"]]


async def test_whatever_is_not_shared_still_belongs_to_a_tenant_that_is_there(product):
    superuser = await connect(product.database.superuser_url)
    try:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await superuser.execute(INSERT, uuid7(), uuid7())
    finally:
        await superuser.close()


def test_down_takes_what_is_shared_away_and_up_keeps_what_is_not(fresh_database: TestDatabase) -> None:
    migrate(fresh_database.owner_url)
    tenant = "11111111-1111-1111-1111-111111111111"
    insert = [
        INSERT.replace("$1", f"'{owner}'").replace("$2", "gen_random_uuid()") for owner in (tenant, NIL)
    ]
    execute(
        fresh_database.superuser_url,
        f"insert into fanfold.tenants (id, slug, name, plan) values ('{tenant}', 't', 't', 'free')",
        *insert,
    )

    downgrade(fresh_database.owner_url, "0015")

    owners = "select tenant_id::text from fanfold.upstreams"
    forced = "select count(*) from pg_class where relname in ('upstreams', 'upstream_prices') and relforcerowsecurity"
    assert rows(fresh_database.superuser_url, owners) == [(tenant,)]
    assert rows(fresh_database.superuser_url, forced) == [(2,)]
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        execute(fresh_database.superuser_url, insert[1])

    migrate(fresh_database.owner_url)

    assert rows(fresh_database.superuser_url, f"{owners} where owner_id = tenant_id") == [(tenant,)]
