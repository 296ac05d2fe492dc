"""What is left of a tenant that was erased, table by table; and what must be over before."""

import asyncio
from typing import Any
from uuid import UUID

from sqlalchemy import text

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.tenants.eraser import Eraser
from tests.adversarial.rows import tables_of_tenants, with_a_row_in_every_table
from tests.fixtures.app import Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.promises import EFFECTIVE_WITHIN_S

# What is billed, and what was done, stays under the tenant's id. A new table is entered here, or emptied.
KEPT = frozenset(
    {
        "tenants", "audit_events",
        "usage_events", "usage_days", "quota_periods", "key_periods", "prepaid_balances", "grants", "outcomes",
    }
)  # fmt: skip
_DUE = "update fanfold.tenants set status = 'deleted', erase_at = now() - $2::interval where id = $1"

_ERASED = "select erased_at is not null from fanfold.tenants where id = $1"


async def _make_due(connection: Any, tenant: TenantClient, ago: str = "2 minutes") -> None:
    await connection.execute(_DUE.replace("$2", f"'{ago}'"), tenant.id)


async def _rows(connection: Any, tenant_id: UUID) -> dict[str, int]:
    return {
        table: await connection.fetchval(
            f"select count(*) from fanfold.{table} where {column} = $1", tenant_id
        )
        for table, column in (await tables_of_tenants(connection)).items()
    }


async def _erase(eraser: Eraser, connection: Any, tenant: TenantClient) -> None:
    """Let it be erased; a server's own eraser may be at it in that moment."""
    async with asyncio.timeout(60):
        while not await connection.fetchval(_ERASED, tenant.id):
            await eraser.work()


async def _end_reservations(connection: Any, tenant: TenantClient) -> None:
    await connection.execute(
        "update fanfold.reservations set expires_at = now() where tenant_id = $1", tenant.id
    )


async def test_every_table_is_emptied_or_kept_and_no_other_tenant_loses_a_row(own_database: TestDatabase):
    async with running_product(own_database, product_settings(own_database)) as product:
        tenant, other = await with_a_row_in_every_table(product), await with_a_row_in_every_table(product)
        eraser, connection = Eraser(product.app.state.database), await connect(own_database.superuser_url)
        try:
            before, others = await _rows(connection, tenant.id), await _rows(connection, other.id)
            assert [name for name, count in before.items() if count == 0 and name != "outbox"] == []
            await _make_due(connection, tenant)
            assert await eraser.work() == 0  # a request of it still runs
            await _end_reservations(connection, tenant)
            await _swept(product, connection, tenant)
            await _erase(eraser, connection, tenant)
            after = await _rows(connection, tenant.id)
            assert {name for name, count in after.items() if count} == KEPT
            assert {name: after[name] for name in KEPT - {"outcomes", "key_periods"}} == {
                name: before[name] for name in KEPT - {"outcomes", "key_periods"}
            }
            now = await _rows(connection, other.id)
            # What its events bring may still come; the outbox tells them and is emptied.
            assert {name for name in now if name != "outbox" and now[name] < others[name]} == set()
            await _is_a_tombstone(connection, tenant)
            assert await eraser.work() == 0
        finally:
            await connection.close()
        await _stays_erased(product, tenant)


async def _swept(product: Product, connection: Any, tenant: TenantClient) -> None:
    async with asyncio.timeout(60):
        while (await _rows(connection, tenant.id))["reservations"]:
            await product.sweep()


async def _is_a_tombstone(connection: Any, tenant: TenantClient) -> None:
    row = await connection.fetchrow("select * from fanfold.tenants where id = $1", tenant.id)
    assert (row["slug"], row["name"], row["status"]) == (f"erased:{tenant.id}", "", "deleted")
    assert row["erased_at"] is not None
    told = "select before, after from fanfold.audit_events where tenant_id = $1"
    assert set(await connection.fetch(told, tenant.id)) == {(None, None)}


async def _stays_erased(product: Product, tenant: TenantClient) -> None:
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await product.http(tenant.key).get("/v1/tenant")).status_code != 401:
            await asyncio.sleep(0.05)
    operator = await product.operator()
    assert (await operator.post(f"/v1/admin/tenants/{tenant.id}/resume")).status_code == 409
    made = await operator.post("/v1/admin/tenants", json={"slug": tenant.slug})
    assert made.status_code == 201, made.text


async def test_what_a_waiting_job_holds_keeps_no_deleted_tenant(product: Product):
    """Its reservation does not expire while it waits, and nobody works for the tenant any more."""
    tenant = await product.tenant()
    eraser, connection = Eraser(product.app.state.database), await connect(product.database.superuser_url)
    ten_years_s = 10 * 366 * 86_400
    try:
        await product.app.state.ledger.reserve(
            tenant_id=tenant.id, request_id=uuid7(), units=1, lease_s=ten_years_s
        )
        await eraser.work()
        assert (await _rows(connection, tenant.id))["reservations"] == 1  # it is not deleted
        await _make_due(connection, tenant)
        await eraser.work()
        await _swept(product, connection, tenant)
        await _erase(eraser, connection, tenant)
        await _is_a_tombstone(connection, tenant)
    finally:
        await connection.close()


async def test_until_the_grace_is_over_and_for_whom_is_not_deleted_nothing_happens(product: Product):
    kept, alive = await product.tenant(), await product.tenant()
    eraser, connection = Eraser(product.app.state.database), await connect(product.database.superuser_url)
    try:
        await _make_due(connection, kept, "30 seconds")  # a process may still believe that it is there
        await connection.execute(
            "update fanfold.tenants set erase_at = now() - interval '1 day' where id = $1", alive.id
        )
        await eraser.work()
        rows = await connection.fetch(
            "select erased_at from fanfold.tenants where id = any ($1)", [kept.id, alive.id]
        )
        assert [row["erased_at"] for row in rows] == [None, None]
    finally:
        await connection.close()


async def test_one_process_erases_at_a_time(product: Product):
    tenant = await product.tenant()
    eraser, connection = Eraser(product.app.state.database), await connect(product.database.superuser_url)
    lock = "select pg_advisory_xact_lock(hashtextextended('fanfold.tenant_erase', 0))"
    try:
        await _make_due(connection, tenant)
        async with connection.transaction():
            await connection.execute(lock)
            assert await eraser.work() == 0
        await _erase(eraser, connection, tenant)
    finally:
        await connection.close()


async def test_more_than_a_batch_goes_in_one_round(own_database: TestDatabase):
    async with running_product(own_database, product_settings(own_database)) as product:
        await _erase_450(product)


async def _erase_450(product: Product) -> None:
    tenant = await product.tenant()
    eraser, connection = Eraser(product.app.state.database), await connect(product.database.superuser_url)
    try:
        await connection.execute(
            "insert into fanfold.idempotency_keys (tenant_id, route, key, body_hash, request_id)"
            " select $1, '/r', n::text, '', gen_random_uuid() from generate_series(1, 450) n",
            tenant.id,
        )
        await _make_due(connection, tenant)
        assert await eraser.work() > 450
        assert (await _rows(connection, tenant.id))["idempotency_keys"] == 0
    finally:
        await connection.close()


_KEYS = """
insert into fanfold.api_keys (tenant_id, id, name, public_id, digest, scopes)
select $1, gen_random_uuid(), 'k', n::text, uuid_send(gen_random_uuid()), '{}' from generate_series(1, 7) n
"""
_LINES = """
insert into fanfold.audit_events (tenant_id, id, actor_kind, action, object_kind, object_id, after)
select $1, gen_random_uuid(), 'user', 'a', 'k', n::text, '{}' from generate_series(1, 5) n
"""


async def _touched(connection: Any, most: int) -> int:
    touched: int = await connection.fetchval("select fanfold.tenant_erase($1)", most)
    return touched


async def _erased(connection: Any, *tenants: TenantClient) -> list[bool]:
    is_erased = "select erased_at is not null from fanfold.tenants where id = $1"
    return [await connection.fetchval(is_erased, tenant.id) for tenant in tenants]


async def test_a_huge_tenant_goes_in_pieces_and_holds_nobody_up(own_database: TestDatabase):
    async with running_product(own_database, product_settings(own_database)) as product:
        huge, small = await product.tenant(), await product.tenant()
        for _ in range(5):
            await product.person(huge)
        connection = await connect(own_database.superuser_url)
        try:
            for rows in (_KEYS, _LINES):
                await connection.execute(rows, huge.id)
            await _make_due(connection, huge, "1 hour")
            await _make_due(connection, small)
            touched = []
            while not (await _erased(connection, small))[0]:
                touched.append(await _touched(connection, 2))
            assert await _erased(connection, huge) == [False]
            while (more := await _touched(connection, 2)) > 0:
                touched.append(more)
            assert await _erased(connection, huge, small) == [True, True]
            assert {1, 2} == set(touched)  # never more than it was told
        finally:
            await connection.close()


async def test_a_database_that_is_away_is_met_again():
    eraser = Eraser(Database("postgresql://nobody@127.0.0.1:1/none"))
    await eraser.round()
    assert eraser.failures == 1


async def test_a_membership_that_ends_takes_its_sign_ins_along(product: Product):
    tenant, other = await product.tenant(), await product.tenant()
    person = await product.person(tenant)
    await product.join(person, other)
    for each in (tenant, other):
        await person.sign_in(tenant=each.slug)
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(
            text("delete from fanfold.memberships where tenant_id = :id"), {"id": tenant.id}
        )
    async with product.app.state.database.identity_session() as session:
        ended = await session.execute(
            text("select tenant_id, revoked_at is not null from fanfold.sessions where user_id = :id"),
            {"id": person.id},
        )
        assert set(map(tuple, ended)) == {(tenant.id, True), (other.id, False)}


async def test_a_running_server_erases(own_database: TestDatabase):
    async with running_product(own_database, product_settings(own_database)) as product:
        tenant = await product.tenant()
        connection = await connect(own_database.superuser_url)
        try:
            await _make_due(connection, tenant)
        finally:
            await connection.close()
    async with running_product(own_database, product_settings(own_database)) as product:
        connection = await connect(own_database.superuser_url)
        try:
            async with asyncio.timeout(60):
                while not await connection.fetchval(
                    "select erased_at from fanfold.tenants where id = $1", tenant.id
                ):
                    await asyncio.sleep(0.1)
        finally:
            await connection.close()
