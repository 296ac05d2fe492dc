"""Machine clients: made by whoever may make keys, signed in by their own secret, refused when revoked."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from fanfold.auth.principal import Role, Scope
from fanfold.core.identifiers import uuid7
from fanfold.oauth.authenticator import allowed_scopes
from fanfold.users.models import Membership
from tests.adversarial.test_credentials import queries
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.promises import EFFECTIVE_WITHIN_S
from tests.oauth.test_rights_now import change

SCOPES = ["process", "usage:read"]


async def _made(tenant: TenantClient, **body) -> dict[str, Any]:
    answer = await tenant.http.post("/v1/clients", json={"name": "夜间导入 🌙", "scopes": SCOPES, **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"/v1/clients/{answer.json()['id']}"
    made: dict[str, Any] = answer.json()
    return made


async def _token(product: Product, made: dict[str, Any], *, by_basic: bool = False, **form):
    credentials = {"client_id": made["id"], "client_secret": made["client_secret"]}
    auth = (credentials["client_id"], credentials["client_secret"]) if by_basic else None
    data = {"grant_type": "client_credentials", **({} if by_basic else credentials), **form}
    return await product.stranger().post("/v1/auth/token", data=data, auth=auth or httpx.USE_CLIENT_DEFAULT)


async def _waits_for(product: Product, token: str, status: int, path: str = "/v1/usage") -> None:
    machine = product.http(token)
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await machine.get(path)).status_code != status:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("by_basic", [True, False])
async def test_a_machine_signs_in_and_processes(product: Product, by_basic: bool):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    answer = await _token(product, await _made(tenant), by_basic=by_basic)
    assert answer.status_code == 200, answer.text
    assert answer.json()["scope"] == "process usage:read"
    assert "refresh_token" not in answer.json()
    machine = product.http(answer.json()["access_token"])
    assert (await machine.post("/v1/process", json={"text": "机器也会说话 🤖"})).status_code == 200
    assert (await machine.get("/v1/usage")).json()["used"] == 1
    assert (await machine.get("/v1/me")).status_code == 403
    shown = (await tenant.http.get("/v1/clients")).json()["data"][0]
    assert shown["last_used_at"] is not None
    assert "client_secret" not in shown


async def test_scopes_are_the_client_s_or_fewer_and_follow_its_changes(product: Product):
    tenant = await product.tenant()
    made = await _made(tenant)
    empty = await _token(product, made, scope="")  # counts as omitted: RFC 6749, 3.2
    assert empty.json()["scope"] == "process usage:read"
    narrow = await _token(product, made, scope="usage:read")
    assert narrow.json()["scope"] == "usage:read"
    wide = await _token(product, made, scope="tenant:write")
    assert (wide.status_code, wide.json()["error"]) == (400, "invalid_scope")
    token = narrow.json()["access_token"]
    await _waits_for(product, token, 200)
    changed = await tenant.http.patch(f"/v1/clients/{made['id']}", json={"scopes": ["process"]})
    assert changed.json()["scopes"] == ["process"]
    await _waits_for(product, token, 403)


async def test_revoked_it_is_out_and_so_are_its_tokens(product: Product):
    tenant = await product.tenant()
    made = await _made(tenant)
    token = (await _token(product, made)).json()["access_token"]
    await _waits_for(product, token, 200)
    assert (await tenant.http.delete(f"/v1/clients/{made['id']}")).status_code == 204
    assert (await tenant.http.delete(f"/v1/clients/{made['id']}")).status_code == 204
    refused = await _token(product, made)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    await _waits_for(product, token, 401)
    for call in (
        tenant.http.patch(f"/v1/clients/{made['id']}", json={"name": "x"}),
        tenant.http.post(f"/v1/clients/{made['id']}/rotate"),
    ):
        assert (await call).status_code == 409


async def test_a_new_secret_ends_the_old_one(product: Product):
    tenant = await product.tenant()
    made = await _made(tenant)
    rotated = await tenant.http.post(f"/v1/clients/{made['id']}/rotate")
    assert rotated.status_code == 200, rotated.text
    assert rotated.headers["cache-control"] == "no-store"
    assert (await _token(product, made)).status_code == 401
    assert (await _token(product, rotated.json())).status_code == 200


@pytest.mark.parametrize("by_basic", [True, False])
async def test_wrong_credentials_are_one_refusal(product: Product, by_basic: bool):
    tenant, other = await product.tenant(), await product.tenant()
    made, others = await _made(tenant), await _made(other)
    for wrong in (
        {"id": others["id"]},
        {"id": "no id"},
        {"client_secret": "x"},
        {"client_secret": made["client_secret"][:-1] + "~"},
        {"client_secret": others["client_secret"]},
    ):
        answer = await _token(product, {**made, **wrong}, by_basic=by_basic)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), wrong
        assert ("www-authenticate" in answer.headers) == by_basic


@pytest.mark.parametrize("secret", ["x", "ff_client_" + "A" * 32 + "_000000", "ff_live_a_b_c"])
async def test_a_secret_that_only_looks_like_one_is_refused_without_a_query(product: Product, secret: str):
    made = await _made(await product.tenant())
    with queries(product) as sent:
        answer = await _token(product, made | {"client_secret": secret})
    assert answer.status_code == 401
    assert not any("oauth_clients" in statement for statement in sent)


def test_a_client_is_no_operator_whatever_stands_in_its_row():
    row = {"client_id": uuid7(), "tenant_id": uuid7(), "scopes": ["operator", "process"]}
    assert allowed_scopes(row) == {Scope.PROCESS}


async def test_both_ways_at_once_and_neither_are_refused(product: Product):
    made = await _made(await product.tenant())
    both = await _token(product, made, by_basic=True, client_secret=made["client_secret"])
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
    neither = await product.stranger().post("/v1/auth/token", data={"grant_type": "client_credentials"})
    assert (neither.status_code, neither.json()["error"]) == (401, "invalid_client")
    unreadable = await product.stranger().post(
        "/v1/auth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": "Basic %%%"}
    )
    assert unreadable.status_code == 401


async def test_nobody_makes_one_with_more_than_they_have(product: Product):
    tenant = await product.tenant()
    weak = product.http(await product.key(tenant.id, ["keys:write"]))
    refused = await weak.post("/v1/clients", json={"name": "x", "scopes": ["process"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-exceeds-grantor")
    made = await _made(tenant)
    for call in (
        weak.patch(f"/v1/clients/{made['id']}", json={"scopes": ["process"]}),
        weak.post(f"/v1/clients/{made['id']}/rotate"),
    ):
        assert (await call).status_code == 403
    limited = await product.keyed(tenant, scopes=["keys:write", "process"], budget_units=5)
    refused = await limited.http.post("/v1/clients", json={"name": "x", "scopes": ["process"]})
    assert refused.json()["code"] == "scope-exceeds-grantor"


async def test_there_are_as_many_as_the_plan_allows(product: Product):
    tenant = await product.tenant(max_api_keys=2)
    wanted = [tenant.http.post("/v1/clients", json={"name": "x", "scopes": ["process"]}) for _ in range(6)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*wanted))
    assert statuses == [201, 201, 409, 409, 409, 409]


async def test_it_outlives_the_person_who_made_it(product: Product):
    tenant = await product.tenant()
    await product.person(tenant)
    person = await product.signed_in(tenant, Role.ADMIN)
    answer = await person.http.post("/v1/clients", json={"name": "x", "scopes": SCOPES})
    assert answer.json()["created_by"] == str(person.id)
    await change(product, delete(Membership).where(Membership.user_id == person.id))
    assert (await _token(product, answer.json())).status_code == 200


async def test_another_tenant_s_is_none(product: Product):
    made = await _made(await product.tenant())
    other = await product.tenant()
    for call in (
        other.http.get(f"/v1/clients/{made['id']}"),
        other.http.patch(f"/v1/clients/{made['id']}", json={"name": "x"}),
        other.http.post(f"/v1/clients/{made['id']}/rotate"),
        other.http.delete(f"/v1/clients/{made['id']}"),
    ):
        assert (await call).status_code == 404


async def test_its_changes_are_in_the_audit_log(product: Product):
    tenant = await product.tenant()
    made = await _made(tenant)
    await tenant.http.patch(f"/v1/clients/{made['id']}", json={"name": f"n{secrets.token_hex(4)}"})
    await tenant.http.post(f"/v1/clients/{made['id']}/rotate")
    await tenant.http.delete(f"/v1/clients/{made['id']}")
    operator = await product.operator()
    found = await operator.get(
        "/v1/admin/audit", params={"tenant_id": str(tenant.id), "object_id": made["id"]}
    )
    actions = [each["action"] for each in found.json()["data"]]
    assert actions == ["client.revoked", "client.rotated", "client.updated", "client.created"]
    assert made["client_secret"] not in found.text
