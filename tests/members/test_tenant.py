"""A tenant as its members see, rename and delete it."""

import asyncio

import pytest

from fanfold.auth.principal import Role
from tests.fixtures.app import Product
from tests.fixtures.audited import of_tenant
from tests.fixtures.promises import EFFECTIVE_WITHIN_S
from tests.members.test_members import refused


async def test_a_tenant_is_shown_and_renamed(product: Product):
    tenant = await product.tenant()
    admin = await product.signed_in(tenant, Role.ADMIN)
    before = (await admin.http.get("/v1/tenant")).json()
    assert (
        before.items()
        >= {"id": str(tenant.id), "slug": tenant.slug, "plan": "pro", "status": "active"}.items()
    )
    renamed = await admin.http.patch("/v1/tenant", json={"name": "织云科技 🐟"})
    assert renamed.json() == before | {"name": "织云科技 🐟"}
    assert (await admin.http.get("/v1/tenant")).json() == renamed.json()
    assert (await admin.http.patch("/v1/tenant", json={})).json() == renamed.json()
    row = (await of_tenant(product, tenant.id, "tenant"))[-1]
    assert (row.action, row.before, row.after) == (
        "tenant.updated", {"name": before["name"]}, {"name": "织云科技 🐟"}
    )  # fmt: skip


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
async def test_who_has_no_right_renames_nothing(product: Product, role: Role):
    person = await product.signed_in(await product.tenant(), role)
    assert (await person.http.get("/v1/tenant")).status_code == 200
    assert (await person.http.patch("/v1/tenant", json={"name": "x"})).status_code == 403


async def test_a_plan_is_not_the_tenant_s_to_choose(product: Product):
    tenant = await product.tenant()
    assert (await tenant.http.patch("/v1/tenant", json={"plan": "scale"})).status_code == 422


async def test_a_deleted_tenant_is_refused_within_two_seconds_until_an_operator_resumes_it(product: Product):
    tenant, operator = await product.tenant(), await product.operator()
    owner = await product.signed_in(tenant)
    deleted = await owner.http.delete("/v1/tenant", params={"confirm": tenant.slug})
    assert deleted.status_code == 204, deleted.text
    await refused(owner, "/v1/tenant", status=403, code="tenant-suspended")
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (answer := await tenant.http.get("/v1/usage")).status_code == 200:
            await asyncio.sleep(0.1)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant-suspended")
    assert "deleted" in answer.json()["detail"]
    mine = (await owner.http.get("/v1/me/tenants")).json()["data"]
    assert [each["status"] for each in mine] == ["deleted"]
    again = await owner.http.delete("/v1/tenant", params={"confirm": tenant.slug})
    assert again.status_code == 204
    assert (await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")).status_code == 409
    assert (await operator.post(f"/v1/admin/tenants/{tenant.id}/resume")).json()["status"] == "active"
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await tenant.http.get("/v1/usage")).status_code != 200:
            await asyncio.sleep(0.1)
    assert [row.action for row in await of_tenant(product, tenant.id, "tenant")].count("tenant.deleted") == 1


@pytest.mark.parametrize("query", [{}, {"confirm": ""}, {"confirm": "another"}])
async def test_nothing_is_deleted_without_the_slug(product: Product, query):
    tenant = await product.tenant()
    owner = await product.signed_in(tenant)
    answer = await owner.http.delete("/v1/tenant", params=query)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "confirm"])
    assert (await tenant.http.get("/v1/tenant")).json()["status"] == "active"


async def test_only_a_signed_in_owner_deletes(product: Product):
    tenant = await product.tenant()
    owner = await product.person(tenant)
    await owner.sign_in(scope="members:write")
    admin, nobody = await product.signed_in(tenant, Role.ADMIN), await product.signed_in()
    for http in (tenant.http, owner.http, admin.http, nobody.http):
        answer = await http.delete("/v1/tenant", params={"confirm": tenant.slug})
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")
    assert (await tenant.http.get("/v1/tenant")).json()["status"] == "active"


async def test_a_suspended_tenant_is_not_the_owner_s_to_delete(product: Product):
    tenant, operator = await product.tenant(), await product.operator()
    owner = await product.person(tenant)
    await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")
    await owner.sign_in()
    answer = await owner.http.delete("/v1/tenant", params={"confirm": tenant.slug})
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant-suspended")
