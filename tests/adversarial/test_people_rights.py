"""What the roles that serve may do with people, below every endpoint: tried with SQL, as a hole in one would."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.adversarial.rows import with_a_row_in_every_table
from tests.fixtures.app import Person, Product, TenantClient
from tests.fixtures.database import connect


@pytest_asyncio.fixture
async def sql(product: Product) -> AsyncIterator[Any]:
    connection = await connect(product.database.app_url)
    yield connection
    await connection.close()


async def in_tenant(sql: Any, tenant: TenantClient) -> None:
    await sql.execute("select set_config('app.tenant_id', $1, false)", str(tenant.id))


@pytest.mark.parametrize(
    "statement",
    [
        "insert into fanfold.memberships (tenant_id, user_id, role) values ($1, $2, 'viewer')",
        "update fanfold.memberships set user_id = $2 where tenant_id = $1",
        "select $1::uuid, hashed_password from fanfold.users where id = $2",
        "select $1::uuid, totp_sealed from fanfold.users where id = $2",
        "select $1::uuid from fanfold.sessions where user_id = $2",
        "update fanfold.users set name = '' where $1::uuid is not null and id = $2",
        "delete from fanfold.invitations where tenant_id = $1 and id = $2",
        "delete from fanfold.oauth_clients where tenant_id = $1 and id = $2",
    ],
)
async def test_a_tenant_s_session_may_not(product: Product, sql: Any, statement: str):
    tenant, person = await product.tenant(), await product.person()
    await product.person(tenant)
    await in_tenant(sql, tenant)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await sql.execute(statement, tenant.id, person.id)


async def test_a_tenant_s_session_sees_the_names_of_its_members_alone(product: Product, sql: Any):
    tenant, other = await product.tenant(), await product.tenant()
    mine, _theirs = await product.person(tenant), await product.person(other)
    await in_tenant(sql, tenant)
    assert [row["id"] for row in await sql.fetch("select id from fanfold.users")] == [mine.id]
    assert await sql.execute("update fanfold.memberships set role = 'owner' where true") == "UPDATE 1"


async def test_the_identity_role_sees_nothing_that_is_a_tenant_s_own(product: Product, sql: Any):
    tenant = await with_a_row_in_every_table(product)
    await sql.execute("set role fanfold_identity")
    for table in (
        "api_keys",
        "upstreams",
        "usage_events",
        "quota_periods",
        "grants",
        "audit_events",
        "outbox",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await sql.fetch(f"select from fanfold.{table}")
    for table in ("idempotency_keys", "idempotency_answers", "reservations"):
        seen = await sql.fetchval(f"select count(*) from fanfold.{table} where tenant_id = $1", tenant.id)
        assert seen == 0, table
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await sql.execute("update fanfold.tenants set plan = 'scale' where id = $1", tenant.id)


async def test_it_keeps_a_person_s_idempotency_keys_and_no_tenant_s(product: Product, sql: Any):
    tenant, person = await product.tenant(), await product.person()
    await sql.execute("set role fanfold_identity")
    kept = (
        "insert into fanfold.idempotency_keys (tenant_id, route, key, body_hash, request_id)"
        " values ($1, '/r', 'k', '', gen_random_uuid())"
    )
    assert await sql.execute(kept, _id(person)) == "INSERT 0 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await sql.execute(kept, _id(tenant))


def _id(whose: Person | TenantClient) -> Any:
    return whose.id
