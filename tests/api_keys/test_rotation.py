"""`POST /v1/api-keys/{id}/rotate`. The dangers: an outage, an old secret that never ends, a way to a wider key."""

import asyncio
import secrets

import pytest
from sqlalchemy import update

from fanfold.api_keys.models import ApiKey
from tests.fixtures.audited import audited

# A principal is true for a second from the start of its load.
FORGOTTEN_S = 1.1


async def make(tenant, **body):
    answer = await tenant.http.post("/v1/api-keys", json={"name": "ci", "scopes": ["usage:read"], **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def rotate(tenant, key_id, grace_s=0, **headers):
    path = f"/v1/api-keys/{key_id}/rotate"
    return await tenant.http.post(path, json={"grace_s": grace_s}, headers=headers)


async def status_of(product, *keys: str) -> list[int]:
    return [(await product.http(key).get("/v1/usage")).status_code for key in keys]


class TestGrace:
    async def test_without_one_the_old_secret_ends_and_the_new_one_is_shown_once(self, product):
        tenant = await product.tenant()
        old = await make(tenant, requests_per_minute=600, budget_units=7)
        answer = await rotate(tenant, old["id"])
        new = answer.json()
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert new["key"].startswith(f"ff_live_{new['public_id']}_")
        assert new["key"] != old["key"]
        same = ("id", "name", "scopes", "requests_per_minute", "burst", "budget_units", "created_at")
        assert [new[name] for name in same] == [old[name] for name in same]
        assert new["previous_until"] is None
        assert "key" not in (await tenant.http.get(f"/v1/api-keys/{old['id']}")).json()
        assert await status_of(product, old["key"], new["key"]) == [401, 200]

    async def test_both_hold_until_it_is_over(self, product):
        tenant = await product.tenant()
        old = await make(tenant)
        new = (await rotate(tenant, old["id"], grace_s=3600)).json()
        assert new["previous_until"] is not None
        assert await status_of(product, old["key"], new["key"]) == [200, 200]
        async with product.app.state.database.session(tenant.id) as session, session.begin():
            over = update(ApiKey).where(ApiKey.tenant_id == tenant.id, ApiKey.previous_until.is_not(None))
            await session.execute(over.values(previous_until=ApiKey.created_at))
        await asyncio.sleep(FORGOTTEN_S)
        assert await status_of(product, old["key"], new["key"]) == [401, 200]

    async def test_rotated_again_the_oldest_ends(self, product):
        tenant = await product.tenant()
        first = await make(tenant)
        second = (await rotate(tenant, first["id"], grace_s=3600)).json()
        third = (await rotate(tenant, first["id"], grace_s=3600)).json()
        assert await status_of(product, first["key"], second["key"], third["key"]) == [401, 200, 200]
        fourth = (await rotate(tenant, first["id"])).json()
        await asyncio.sleep(FORGOTTEN_S)
        keys = (first["key"], second["key"], third["key"], fourth["key"])
        assert await status_of(product, *keys) == [401, 401, 401, 200]

    async def test_revoking_ends_both(self, product):
        tenant = await product.tenant()
        old = await make(tenant)
        new = (await rotate(tenant, old["id"], grace_s=3600)).json()
        await tenant.http.delete(f"/v1/api-keys/{old['id']}")
        assert await status_of(product, old["key"], new["key"]) == [401, 401]

    @pytest.mark.parametrize("wrong", [-1, 604_801, 1.5, "60", None, True])
    async def test_it_is_a_week_at_most(self, product, wrong):
        tenant = await product.tenant()
        key = await make(tenant)
        assert (await rotate(tenant, key["id"], grace_s=wrong)).status_code == 422
        assert (await rotate(tenant, key["id"], grace_s=604_800)).status_code == 200


class TestRotating:
    async def test_a_budget_goes_on(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), is_default=True)
        key = await make(tenant, scopes=["process"], budget_units=3)
        body = {"text": "xx", "split": {"size": 1}}
        assert (await product.http(key["key"]).post("/v1/process", json=body)).status_code == 200
        new = (await rotate(tenant, key["id"])).json()
        refused = await product.http(new["key"]).post("/v1/process", json=body)
        assert (refused.status_code, refused.json()["remaining"]) == (402, 1)

    async def test_a_repeated_request_is_answered_with_the_same_key(self, product):
        tenant = await product.tenant()
        key, name = await make(tenant), secrets.token_hex(8)
        answers = [await rotate(tenant, key["id"], **{"Idempotency-Key": name}) for _ in range(2)]
        assert answers[0].content == answers[1].content
        assert answers[1].headers["cache-control"] == "no-store"
        assert await status_of(product, answers[0].json()["key"]) == [200]

    async def test_two_at_once_leave_one_live_secret(self, product):
        tenant = await product.tenant()
        key = await make(tenant)
        answers = await asyncio.gather(*(rotate(tenant, key["id"]) for _ in range(4)))
        made = [answer.json()["key"] for answer in answers]
        assert sorted(await status_of(product, *made)) == [200, 401, 401, 401]

    async def test_nobody_comes_to_a_wider_key_that_way(self, product):
        tenant = await product.tenant()
        wide = await make(tenant, scopes=["process", "jobs"])
        narrow = await make(tenant, scopes=["keys:write", "process"])
        path = f"/v1/api-keys/{wide['id']}/rotate"
        refused = await product.http(narrow["key"]).post(path, json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope-exceeds-grantor")
        assert await status_of(product, wide["key"]) == [403]

    async def test_a_key_with_limits_rotates_itself_and_no_other(self, product):
        tenant = await product.tenant()
        other = await make(tenant, scopes=["process"])
        limited = await make(tenant, scopes=["keys:write", "process"], budget_units=5)
        http = product.http(limited["key"])
        refused = await http.post(f"/v1/api-keys/{other['id']}/rotate", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope-exceeds-grantor")
        assert (await http.post(f"/v1/api-keys/{limited['id']}/rotate", json={})).status_code == 200

    async def test_what_has_ended_is_not_rotated_nor_what_is_another_s(self, product):
        tenant, other = await product.tenant(), await product.tenant()
        key = await make(tenant)
        assert (await rotate(other, key["id"])).status_code == 404
        await tenant.http.delete(f"/v1/api-keys/{key['id']}")
        assert (await rotate(tenant, key["id"])).status_code == 409


async def test_every_change_of_a_key_is_in_the_audit_log_without_a_secret(product):
    tenant = await product.tenant()
    person = await product.signed_in(tenant)
    tenant.http.headers["Authorization"] = person.http.headers["Authorization"]
    key = await make(tenant)
    new = (await rotate(tenant, key["id"], grace_s=60)).json()
    path = f"/v1/api-keys/{key['id']}"
    await tenant.http.patch(path, json={"name": "夜间导入 🙂"})
    await tenant.http.patch(path, json={"name": "夜间导入 🙂"})
    await tenant.http.patch(path, json={"scopes": ["operator"]})
    await tenant.http.delete(path)
    await tenant.http.delete(path)
    events = await audited(product, key["id"])
    assert [event.action.removeprefix("api_key.") for event in events] == [
        "created", "rotated", "updated", "revoked"
    ]  # fmt: skip
    assert {(event.tenant_id, event.actor_kind, event.actor_id) for event in events} == {
        (tenant.id, "user", person.id)
    }
    assert (events[2].before, events[2].after) == ({"name": "ci"}, {"name": "夜间导入 🙂"})
    written = repr([(event.before, event.after) for event in events])
    assert new["key"][-39:-7] not in written
    assert key["key"][-39:-7] not in written
