"""POSTs that create: what is stored, who else asks at the same time, and what a fault leaves."""

import asyncio
import secrets

import pytest

from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect

WANTED = {"name": "canary 钥匙", "scopes": ["process"]}
TABLES = ("idempotency_keys", "idempotency_answers")


async def test_nothing_of_an_answer_or_a_body_is_readable_in_the_database(product: Product):
    tenant, key = await product.tenant(), {"Idempotency-Key": secrets.token_hex(8)}
    made = (await tenant.http.post("/v1/api-keys", json=WANTED, headers=key)).json()
    connection = await connect(product.database.superuser_url)
    try:
        rows = [
            row
            for table in TABLES
            for row in await connection.fetch(
                f"select * from fanfold.{table} where tenant_id = $1", tenant.id
            )
        ]
    finally:
        await connection.close()
    values = [value for row in rows for value in row.values()]
    assert key["Idempotency-Key"] in values, "the rows that were searched are not those of the request"
    stored = b"\n".join(value if isinstance(value, bytes) else repr(value).encode() for value in values)
    for secret in (made["key"], made["key"].split("_")[3], made["name"], "canary"):
        assert secret.encode() not in stored


async def test_the_answer_of_one_key_cannot_be_put_under_another(product: Product):
    tenant = await product.tenant()
    for key in ("one", "two"):
        await tenant.http.post("/v1/api-keys", json=WANTED, headers={"Idempotency-Key": key})
    connection = await connect(product.database.superuser_url)
    try:
        await connection.execute(
            "update fanfold.idempotency_keys k set request_id = o.request_id from fanfold.idempotency_keys o"
            " where k.tenant_id = $1 and o.tenant_id = $1 and k.key = 'one' and o.key = 'two'",
            tenant.id,
        )
    finally:
        await connection.close()
    answer = await tenant.http.post("/v1/api-keys", json=WANTED, headers={"Idempotency-Key": "one"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_while_the_first_request_runs_the_second_gets_a_409_at_once(product: Product):
    tenant, key = await product.tenant(), secrets.token_hex(8)
    connection = await connect(product.database.superuser_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        name = f"idempotency:{tenant.id}:/v1/api-keys:{key}"
        await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", name)
        async with asyncio.timeout(30):
            answer = await tenant.http.post("/v1/api-keys", json=WANTED, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-in-progress")
        assert answer.headers["retry-after"] == "1"
        await transaction.rollback()
    finally:
        await connection.close()
    again = await tenant.http.post("/v1/api-keys", json=WANTED, headers={"Idempotency-Key": key})
    assert again.status_code == 201


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32, 64])
async def test_of_many_at_once_one_creates_and_none_hangs(product: Product, size: int):
    tenant, key = await product.tenant(), {"Idempotency-Key": secrets.token_hex(8)}
    async with asyncio.timeout(60):
        answers = await asyncio.gather(
            *(tenant.http.post("/v1/api-keys", json=WANTED, headers=key) for _ in range(size))
        )
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in made}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
    others = {(answer.status_code, answer.json()["code"]) for answer in answers if answer not in made}
    assert others <= {(409, "idempotency-in-progress")}
    rows = (await tenant.http.get("/v1/api-keys")).json()["data"]
    assert [row["name"] for row in rows].count(WANTED["name"]) == 1


async def test_what_is_made_and_its_answer_are_committed_together(own_database: TestDatabase):
    connection = await connect(own_database.superuser_url)
    try:
        await connection.execute("revoke insert on fanfold.idempotency_answers from fanfold_app")
    finally:
        await connection.close()
    async with running_product(own_database, product_settings(own_database)) as product:
        tenant = await product.tenant()
        client = product.http(tenant.key, raise_app_exceptions=False)
        answer = await client.post("/v1/api-keys", json=WANTED, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 500
        rows = (await tenant.http.get("/v1/api-keys")).json()["data"]
        assert [row["name"] for row in rows] == ["test"]
        assert (await client.post("/v1/api-keys", json=WANTED)).status_code == 201


async def test_an_operator_s_keys_are_kept_under_its_own_credential(product: Product):
    operator, other = await product.operator(), await product.operator()
    key, slug = {"Idempotency-Key": secrets.token_hex(8)}, f"t{secrets.token_hex(6)}"
    wanted = {"slug": slug, "plan": "free"}
    first = await operator.post("/v1/admin/tenants", json=wanted, headers=key)
    second = await operator.post("/v1/admin/tenants", json=wanted, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert (second.content, second.headers["idempotent-replayed"]) == (first.content, "true")
    third = await other.post("/v1/admin/tenants", json=wanted, headers=key)
    assert (third.status_code, third.json()["code"]) == (409, "conflict")
