"""A tenant that has a row in every table there is."""

from typing import Any

from fanfold.core.identifiers import uuid7
from tests.adversarial.routes import object_ids
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.database import connect

_ROLLED = """
insert into fanfold.usage_days
       (tenant_id, dimension, day, period_start, member, units, events, unbilled, counted, quantity, due_units)
values ($1, 'day', '2020-01-01', '2020-01-01', '', 0, 0, 0, 0, 0, 0)
"""
_CLIENT = """
insert into fanfold.oauth_clients (tenant_id, id, name, digest, scopes)
values ($1, gen_random_uuid(), 'x', uuid_send(gen_random_uuid()), '{process}')
"""
_CIRCUIT = """
insert into fanfold.upstream_circuits (tenant_id, upstream_id, process_id, opened_at, retry_at, expires_at)
values ($1, gen_random_uuid(), gen_random_uuid(), now(), now(), now() + interval '1 hour')
"""
_JOB = (
    """
insert into fanfold.jobs (tenant_id, id, status, source, metadata, request, total, fold_first, characters, units_max,
                          period_start, weight, retention_days, stored_bytes, ended_at)
values ($1, $1, 'succeeded', 'json', '{}', 'x', 1, 1, 1, 1, '2020-01-01', 1, 1, 1, now())
""",
    "insert into fanfold.job_parts values ($1, $1, 0, 0, 1, 0, 1, 'x')",
    "insert into fanfold.job_results values ($1, $1, 0, 1, true, 1, 'x')",
    "insert into fanfold.job_changes values ($1, $1, 0, 'queued')",
    "insert into fanfold.tenant_storage values ($1, 1) on conflict do nothing",
)
_TABLES = """
select c.relname as name,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') as owned
  from pg_class c where c.relnamespace = 'fanfold'::regnamespace and c.relkind in ('r', 'p') and c.relrowsecurity
   and not c.relispartition
"""


async def tables_of_tenants(connection: Any) -> dict[str, str]:
    """Return every table with rows of tenants, and its column that says whose."""
    rows = await connection.fetch(_TABLES)
    return {row["name"]: "tenant_id" for row in rows if row["owned"]} | {"tenants": "id"}


async def with_a_row_in_every_table(product: Product) -> TenantClient:
    tenant = await product.tenant()
    await object_ids(product, tenant)
    await product.signed_in(tenant)
    await product.lapse(tenant)
    prepaid = {"units": 1, "kind": "prepaid", "reason": "one row"}
    granted = await (await product.operator()).post(f"/v1/admin/tenants/{tenant.id}/grants", json=prepaid)
    assert granted.status_code == 201, granted.text
    superuser = await connect(product.database.superuser_url)
    try:
        for statement in (_ROLLED, _CLIENT, _CIRCUIT, *_JOB):
            await superuser.execute(statement, tenant.id)
    finally:
        await superuser.close()
    echo = await tenant.upstream("https://echo.example/", kind="echo")
    await tenant.process("billed", upstreams=[echo["slug"]])
    await tenant.http.post("/v1/api-keys", json={"name": "once"}, headers={"Idempotency-Key": "k"})
    await product.app.state.ledger.reserve(tenant_id=tenant.id, request_id=uuid7(), units=1, lease_s=600)
    return tenant
