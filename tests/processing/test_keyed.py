"""`POST /v1/process` with an `Idempotency-Key`: one run, one bill, one answer, however often it is asked."""

import asyncio
import json
import secrets
from typing import Any

import httpx
import pytest

from tests.fixtures.app import Product, TenantClient
from tests.fixtures.database import connect

TEXT = "展开 then fold مرحبا 👩‍👩‍👧‍👦 " * 4
MiB = 1024 * 1024


async def ask(
    tenant: TenantClient, key: str, text: str = TEXT, *, path: str = "/v1/process", **options: Any
) -> httpx.Response:
    body = {"text": text, **options}
    return await tenant.http.post(path, json=body, headers={"Idempotency-Key": key})


def new_key() -> str:
    return secrets.token_hex(8)


async def rows(product: Product, statement: str, *arguments: object) -> list[Any]:
    connection = await connect(product.database.superuser_url)
    try:
        found: list[Any] = await connection.fetch(statement, *arguments)
        return found
    finally:
        await connection.close()


@pytest.mark.parametrize("path", ["/v1/process", "/process/"])
async def test_the_first_answer_is_replayed_and_nothing_is_called_or_billed_again(
    product: Product, path: str
):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    first = await ask(tenant, key, split={"size": 9}, path=path)
    calls, used = product.zoo.requests["ok"], (await tenant.usage())["used"]
    second = await ask(tenant, key, split={"size": 9}, path=path)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["usage"]["units"] == used == calls > 5
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert second.headers["content-length"] == first.headers["content-length"]
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert (product.zoo.requests["ok"], (await tenant.usage())["used"]) == (calls, used)
    assert (await tenant.usage())["reserved"] == 0


async def test_an_answer_of_failed_chunks_is_replayed_too(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("500"), max_attempts=1)
    first, second = await ask(tenant, key), await ask(tenant, key)
    assert (first.json()["status"], second.content) == ("failed", first.content)
    assert (second.headers["idempotent-replayed"], product.zoo.requests["500"]) == ("true", 1)


async def test_another_body_is_a_422_and_calls_nobody(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    await ask(tenant, key)
    calls = product.zoo.requests["ok"]
    for changed in ({"text": f"{TEXT}!"}, {"on_error": "fail"}):
        answer = await ask(tenant, key, **changed)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-mismatch")
    assert product.zoo.requests["ok"] == calls


async def test_the_same_body_written_otherwise_is_the_same_request(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    first = await ask(tenant, key)
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    spaced = json.dumps({"text": TEXT}, indent=4).encode()
    second = await tenant.http.post("/v1/process", content=spaced, headers=headers)
    assert second.content == first.content


async def test_while_the_first_runs_others_get_a_409_and_then_its_answer(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("held"))
    first = asyncio.create_task(ask(tenant, key, "x"))
    while not product.zoo.requests["held"]:
        await asyncio.sleep(0.01)
    meanwhile = await ask(tenant, key, "x")
    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency-in-progress")
    assert meanwhile.headers["retry-after"] == "1"
    assert (await ask(tenant, key, "y")).json()["code"] == "idempotency-mismatch"
    assert not first.done()
    product.zoo.lets_go.set()
    done = await first
    assert (await ask(tenant, key, "x")).content == done.content
    assert product.zoo.requests["held"] == 1


@pytest.mark.parametrize("size", [2, 8, 64])
async def test_of_many_at_once_one_runs_and_none_hangs(product: Product, size: int):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(ask(tenant, key, "x") for _ in range(size)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1
    others = {(answer.status_code, answer.json()["code"]) for answer in answers if answer not in done}
    assert others <= {(409, "idempotency-in-progress")}
    assert product.zoo.requests["ok"] == (await tenant.usage())["used"] == 1


async def test_failed_chunks_are_part_of_the_answer(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("500"), max_attempts=1)
    first, second = await ask(tenant, key), await ask(tenant, key)
    assert (first.json()["status"], second.content) == ("failed", first.content)
    assert product.zoo.requests["500"] == 1


async def test_refusals_before_admission_are_not_kept(product: Product):
    tenant, key = await product.tenant("free", monthly_units=2), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    assert (await ask(tenant, key, "x" * 3, split={"size": 1})).status_code == 402
    assert (await ask(tenant, key, "x", upstreams=["unknown"])).status_code == 422
    assert (await ask(tenant, key, "x" * 200_001)).status_code == 413
    answer = await ask(tenant, key, "x" * 2, split={"size": 1})
    assert (answer.status_code, answer.json()["usage"]["quota_remaining"]) == (200, 0)
    assert (await ask(tenant, key, "x" * 2, split={"size": 1})).content == answer.content


async def test_where_overage_is_allowed_nothing_is_told_to_be_left(product: Product):
    tenant, key = await product.tenant("free", monthly_units=1, overage_allowed=True), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    first, second = [await ask(tenant, key, "x" * 4, split={"size": 1}) for _ in range(2)]
    assert first.json()["usage"] == {"units": 4, "characters": 4, "quota_remaining": None}
    assert second.content == first.content


async def test_a_large_answer_is_kept_in_parts_and_replayed_whole(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok", bytes=700_000))
    first, second = [await ask(tenant, key, "x" * 8, split={"size": 1}) for _ in range(2)]
    assert first.json()["successful"] == 8
    assert len(first.content) > 5 * MiB
    assert second.content == first.content
    assert int(second.headers["content-length"]) == len(first.content)
    sizes = await rows(
        product, "select octet_length(body) as size from fanfold.idempotency_answers where tenant_id = $1"
        " order by part", tenant.id,
    )  # fmt: skip
    assert len(sizes) == len(first.content) // MiB + 1
    assert {row["size"] for row in sizes[:-1]} == {MiB}
    assert sizes[-1]["size"] < MiB


async def test_a_long_body_is_known_again(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("json", value=1))
    text = TEXT * 20_000
    options: Any = {"split": {"size": 100_000}}
    first, second = [await ask(tenant, key, text, **options) for _ in range(2)]
    assert (first.status_code, second.content) == (200, first.content)
    assert (await ask(tenant, key, f"{text[:-1]}x", **options)).json()["code"] == "idempotency-mismatch"


async def test_nothing_of_the_text_or_the_answer_is_readable_in_the_database(product: Product):
    tenant, key, canary = await product.tenant(), new_key(), secrets.token_hex(16)
    await tenant.upstream(product.zoo.url("ok"))
    assert canary in (await ask(tenant, key, canary)).text
    for table in ("idempotency_keys", "idempotency_answers"):
        found = await rows(product, f"select * from fanfold.{table} where tenant_id = $1", tenant.id)
        assert found
        for row in found:
            for value in row.values():
                assert canary.encode() not in (value if isinstance(value, bytes) else repr(value).encode())


async def test_a_key_is_a_route_s_and_a_tenant_s_own(product: Product):
    tenant, other, key = await product.tenant(), await product.tenant(), new_key()
    for who in (tenant, other):
        await who.upstream(product.zoo.url("ok"))
    answers = [
        await ask(tenant, key), await ask(tenant, key, path="/process/"), await ask(other, key, "another text"),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not any("idempotent-replayed" in answer.headers for answer in answers)


async def test_a_claim_that_nobody_will_answer_is_taken_over_with_any_body(product: Product):
    """What a crashed process leaves: a claim whose reservation has been swept."""
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("held"))
    first = asyncio.create_task(ask(tenant, key, "x"))
    while not product.zoo.requests["held"]:
        await asyncio.sleep(0.01)
    await rows(
        product, "update fanfold.reservations set expires_at = now() - interval '1 s' where tenant_id = $1", tenant.id
    )  # fmt: skip
    await product.sweep()
    taking_over = asyncio.create_task(ask(tenant, key, "another text"))
    while product.zoo.requests["held"] < 2:
        assert not taking_over.done(), taking_over.result().text
        await asyncio.sleep(0.01)
    product.zoo.lets_go.set()
    second = await taking_over
    assert (second.status_code, second.json()["usage"]["units"]) == (200, 1)
    late = await first  # one key is billed once: by the one who has it now
    assert late.json()["usage"]["units"] == 0
    assert (await tenant.usage())["used"] == 1
    assert (await ask(tenant, key, "another text")).content == second.content


async def test_a_key_holds_for_a_day(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    first = await ask(tenant, key, "x")
    older = "update fanfold.idempotency_keys set created_at = created_at - $2 * interval '1 min' where tenant_id = $1"
    await rows(product, older, tenant.id, 24 * 60 - 1)
    assert (await ask(tenant, key, "x")).content == first.content
    await rows(product, older, tenant.id, 2)
    second = await ask(tenant, key, "y")
    assert (second.status_code, second.json()["id"] != first.json()["id"]) == (200, True)
    assert (await ask(tenant, key, "y")).content == second.content


async def test_an_answer_that_cannot_be_read_any_more_is_a_409_and_nothing_runs(product: Product):
    tenant, key = await product.tenant(), new_key()
    await tenant.upstream(product.zoo.url("ok"))
    await ask(tenant, key, "x")
    await rows(
        product, "update fanfold.idempotency_answers set body = $2 where tenant_id = $1", tenant.id, b"\0" * 99
    )  # fmt: skip
    answer = await ask(tenant, key, "x")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert product.zoo.requests["ok"] == 1
