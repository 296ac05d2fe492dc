"""Many at once: what a plan allows is not exceeded, what goes is gone, and nobody gets a 5xx for being second."""

import asyncio
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.adversarial.judging import judge_problem
from tests.fixtures.app import Product
from tests.fixtures.database import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 50


async def _statuses(*requests) -> Counter[int]:
    answers = await asyncio.gather(*requests)
    for answer in answers:
        assert answer.is_success or judge_problem(answer) == "", answer.text
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("allowed", [1, 7])
async def test_upstreams_are_never_more_than_the_plan_allows(arena, capsys, allowed: int):
    tenant = await arena.tenant(max_upstreams=allowed)

    def create():
        body = {"slug": f"u{secrets.token_hex(6)}", "kind": "echo", "url": "https://one.example/"}
        return tenant.http.post("/v1/upstreams", json=body)

    statuses = await _statuses(*(create() for _ in range(AT_ONCE)))
    assert statuses == {201: allowed, 409: AT_ONCE - allowed}
    rows = (await tenant.http.get("/v1/upstreams")).json()["data"]
    assert len(rows) == allowed
    assert [row["is_default"] for row in rows].count(True) == 1
    with capsys.disabled():
        print(f"\nmax_upstreams {allowed}, {AT_ONCE} creates at once: {dict(statuses)}")


async def test_api_keys_are_never_more_than_the_plan_allows(arena, capsys):
    tenant = await arena.tenant(max_api_keys=7)  # one of them is in use
    body = {"name": "one of many"}
    statuses = await _statuses(*(tenant.http.post("/v1/api-keys", json=body) for _ in range(AT_ONCE)))
    assert statuses == {201: 6, 409: AT_ONCE - 6}
    assert len((await tenant.http.get("/v1/api-keys")).json()["data"]) == 7
    with capsys.disabled():
        print(f"\nmax_api_keys 7, {AT_ONCE} creates at once: {dict(statuses)}")


async def _expire(arena: Product, key_id: str) -> None:
    connection = await connect(arena.database.superuser_url)
    try:
        over = "update fanfold.api_keys set expires_at = now() - interval '1 s' where id = $1"
        await connection.execute(over, UUID(key_id))
    finally:
        await connection.close()


async def test_an_expired_key_does_not_come_back_beside_those_that_took_its_place(arena):
    tenant = await arena.tenant(max_api_keys=2)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = await tenant.http.post("/v1/api-keys", json={"name": "first", "expires_at": later})
    assert first.status_code == 201
    await _expire(arena, first.json()["id"])
    assert (await tenant.http.post("/v1/api-keys", json={"name": "second"})).status_code == 201
    for change in ({"expires_at": None}, {"expires_at": "2999-01-01T00:00:00Z"}, {"name": "renamed"}):
        answer = await tenant.http.patch(f"/v1/api-keys/{first.json()['id']}", json=change)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_one_slug_is_taken_once(arena):
    tenant, operator = await arena.tenant(), await arena.operator()
    slug = f"s{secrets.token_hex(6)}"
    upstream = {"slug": slug, "kind": "echo", "url": "https://one.example/"}
    for client, path, body in (
        (tenant.http, "/v1/upstreams", upstream),
        (operator, "/v1/admin/tenants", {"slug": slug}),
    ):
        statuses = await _statuses(*(client.post(path, json=body) for _ in range(20)))
        assert statuses == {201: 1, 409: 19}


async def test_changing_what_is_being_deleted_is_a_404_at_worst(arena):
    tenant = await arena.tenant(max_upstreams=1_000)
    for _ in range(10):
        path = f"/v1/upstreams/{(await tenant.upstream('https://one.example/'))['id']}"
        changes = [tenant.http.patch(path, json={"weight": weight}) for weight in range(1, 6)]
        statuses = await _statuses(*changes, tenant.http.delete(path), tenant.http.delete(path), *[
            tenant.http.patch(path, json={"is_default": True}) for _ in range(3)
        ])  # fmt: skip
        assert statuses.keys() <= {200, 204, 404}
        assert statuses[204] == 1


async def test_there_is_one_default_whoever_wins(arena):
    tenant = await arena.tenant()
    paths = [f"/v1/upstreams/{(await tenant.upstream('https://one.example/'))['id']}" for _ in range(8)]
    statuses = await _statuses(*(tenant.http.patch(path, json={"is_default": True}) for path in paths * 3))
    assert statuses == {200: 24}
    rows = (await tenant.http.get("/v1/upstreams")).json()["data"]
    assert [row["is_default"] for row in rows].count(True) == 1


async def test_limits_changed_at_once_are_all_kept(arena):
    tenant, operator = await arena.tenant(), await arena.operator()
    path = f"/v1/admin/tenants/{tenant.id}/limits"
    names = (
        "max_chunks",
        "max_text_chars",
        "max_upstreams",
        "max_api_keys",
        "retention_days",
        "monthly_units",
    )
    await _statuses(*(operator.patch(path, json={name: 17}) for name in names))
    overrides = (await operator.get(f"/v1/admin/tenants/{tenant.id}")).json()["limit_overrides"]
    assert {name: overrides[name] for name in names} == dict.fromkeys(names, 17)
