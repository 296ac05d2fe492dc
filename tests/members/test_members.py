"""Members: who may change whom, and that a tenant keeps an owner."""

import asyncio

import pytest

from fanfold.auth.principal import Role
from fanfold.core.identifiers import uuid7
from tests.fixtures.app import Person, Product, TenantClient
from tests.fixtures.audited import of_tenant
from tests.fixtures.promises import EFFECTIVE_WITHIN_S


async def refused(person: Person, path: str, *, status: int, code: str) -> None:
    """Wait until the person is refused, which must not take more than two seconds."""
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (answer := await person.http.get(path)).is_success:
            await asyncio.sleep(0.1)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def _url(person: Person) -> str:
    return f"/v1/tenant/members/{person.id}"


async def test_members_are_listed_by_page_with_names_of_any_script(product: Product):
    tenant = await product.tenant()
    people = [await product.person(tenant, role, name=f"李雷 {role} 🐟") for role in Role]
    await product.person(await product.tenant(), name="elsewhere")
    seen, cursor = [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await tenant.http.get("/v1/tenant/members", params=query)).json()
        seen += page["data"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [(row["user_id"], row["email"], row["role"]) for row in seen] == [
        (str(person.id), person.email, role) for person, role in zip(people, Role, strict=True)
    ][::-1]
    assert seen[0]["name"] == "李雷 viewer 🐟"


async def test_a_role_is_changed_and_holds_within_two_seconds(product: Product):
    tenant = await product.tenant()
    owner, other = await product.signed_in(tenant), await product.signed_in(tenant, Role.ADMIN)
    changed = await owner.http.patch(_url(other), json={"role": "viewer"})
    assert (changed.status_code, changed.json()["role"]) == (200, "viewer")
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await other.http.patch("/v1/tenant", json={})).status_code != 403:
            await asyncio.sleep(0.1)
    [row] = await of_tenant(product, tenant.id, "member")
    assert (row.action, row.actor_id, row.object_id) == ("member.changed", owner.id, str(other.id))
    assert (row.before, row.after) == ({"role": "admin"}, {"role": "viewer"})


async def test_a_removed_member_is_refused_within_two_seconds(product: Product):
    tenant = await product.tenant()
    owner, other = await product.signed_in(tenant), await product.signed_in(tenant, Role.DEVELOPER)
    assert (await other.http.get("/v1/tenant")).status_code == 200
    assert (await owner.http.delete(_url(other))).status_code == 204
    await refused(other, "/v1/tenant", status=401, code="not-authenticated")
    assert [row.action for row in await of_tenant(product, tenant.id, "member")] == ["member.removed"]
    assert (await owner.http.delete(_url(other))).status_code == 404


ADMINS = ["admin", "key"]


async def _admin(product: Product, tenant: TenantClient, kind: str):
    return tenant.http if kind == "key" else (await product.signed_in(tenant, Role.ADMIN)).http


@pytest.mark.parametrize("kind", ADMINS)
async def test_an_admin_neither_makes_changes_nor_removes_an_owner(product: Product, kind: str):
    tenant = await product.tenant()
    owners, viewer = (
        [await product.person(tenant) for _ in range(2)],
        await product.person(tenant, Role.VIEWER),
    )
    http = await _admin(product, tenant, kind)
    answers = [
        await http.patch(_url(viewer), json={"role": "owner"}),
        await http.patch(_url(owners[0]), json={"role": "viewer"}),
        await http.delete(_url(owners[0])),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (403, "scope-exceeds-grantor")
    ] * 3
    assert (await http.patch(_url(viewer), json={"role": "admin"})).status_code == 200
    assert [row.action for row in await of_tenant(product, tenant.id, "member")] == ["member.changed"]


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
async def test_who_has_no_right_changes_nobody(product: Product, role: Role):
    tenant = await product.tenant()
    person, other = await product.signed_in(tenant, role), await product.person(tenant)
    for answer in (
        await person.http.patch(_url(other), json={"role": "viewer"}),
        await person.http.delete(_url(person)),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")


async def test_the_last_owner_stays_an_owner(product: Product):
    tenant = await product.tenant()
    owner = await product.signed_in(tenant)
    await product.person(tenant, Role.ADMIN)
    answers = [
        await owner.http.patch(_url(owner), json={"role": "admin"}),
        await owner.http.delete(_url(owner)),
        await owner.http.delete(f"/v1/me/tenants/{tenant.id}"),
    ]
    assert [answer.status_code for answer in answers] == [409] * 3
    assert (await owner.http.patch(_url(owner), json={"role": "owner"})).status_code == 200
    assert await of_tenant(product, tenant.id, "member") == []


async def _go(way: str, tenant: TenantClient, who: Person, other: Person) -> int:
    match way:
        case "lowers the other":
            answer = await who.http.patch(_url(other), json={"role": "viewer"})
        case "removes the other":
            answer = await who.http.delete(_url(other))
        case "steps down":
            answer = await who.http.patch(_url(who), json={"role": "viewer"})
        case _:
            answer = await who.http.delete(f"/v1/me/tenants/{tenant.id}")
    return answer.status_code


@pytest.mark.parametrize("first", ["lowers the other", "removes the other", "steps down", "leaves"])
@pytest.mark.parametrize("second", ["lowers the other", "steps down", "leaves"])
async def test_of_two_owners_who_go_at_once_one_stays(product: Product, first: str, second: str):
    tenant = await product.tenant()
    one, two = await product.signed_in(tenant), await product.signed_in(tenant)
    statuses = await asyncio.gather(_go(first, tenant, one, two), _go(second, tenant, two, one))
    assert min(statuses) in {200, 204}
    assert max(statuses) < 500
    listed = (await tenant.http.get("/v1/tenant/members")).json()["data"]
    assert [row["role"] for row in listed].count("owner") == 1, statuses


async def test_leaving_ends_the_membership_and_is_told(product: Product):
    tenant = await product.tenant()
    await product.person(tenant)
    person = await product.signed_in(tenant)
    assert (await person.http.delete(f"/v1/me/tenants/{tenant.id}")).status_code == 204
    await refused(person, "/v1/tenant", status=401, code="not-authenticated")
    [row] = await of_tenant(product, tenant.id, "member")
    assert (row.action, row.object_id) == ("member.left", str(person.id))


async def test_a_tenant_of_others_is_no_tenant_to_leave(product: Product):
    others, person = await product.tenant(), await product.signed_in()
    answers = [await person.http.delete(f"/v1/me/tenants/{each}") for each in (others.id, uuid7())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


async def test_members_of_another_tenant_are_nobody(product: Product):
    tenant, other = await product.tenant(), await product.tenant()
    stranger = await product.person(other)
    assert (await tenant.http.patch(_url(stranger), json={"role": "viewer"})).status_code == 404
    assert (await tenant.http.delete(_url(stranger))).status_code == 404


async def test_in_two_tenants_a_person_has_two_roles(product: Product):
    first, second = await product.tenant(), await product.tenant()
    person = await product.person(first, Role.VIEWER)
    owner = await product.signed_in(second)
    await product.join(person, second, Role.ADMIN)
    scopes = {}
    for tenant in (first, second):
        tokens = await person.sign_in(tenant=tenant.slug)
        scopes[tenant.slug] = tokens["scope"]
        assert (await person.http.get("/v1/tenant")).json()["slug"] == tenant.slug
    assert scopes[first.slug] == "usage:read"
    assert "members:write" in scopes[second.slug]
    mine = (await person.http.get("/v1/me/tenants")).json()["data"]
    assert {(each["slug"], each["role"]) for each in mine} == {(first.slug, "viewer"), (second.slug, "admin")}
    assert (await owner.http.get("/v1/me/tenants")).json()["data"][0]["role"] == "owner"
