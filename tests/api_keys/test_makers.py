"""Whose keys they are: the tenant's, whoever made them, and never wider than whoever made them."""

from sqlalchemy import delete

from fanfold.auth.principal import Role
from fanfold.users.models import Membership


async def test_a_key_outlives_the_membership_of_the_person_who_made_it(product):
    tenant = await product.tenant()
    person = await product.signed_in(tenant, Role.ADMIN)
    made = (await person.http.post("/v1/api-keys", json={"name": "x", "scopes": ["usage:read"]})).json()
    assert made["created_by"] == str(person.id)
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(delete(Membership).where(Membership.user_id == person.id))
    assert (await product.http(made["key"]).get("/v1/usage")).status_code == 200
    shown = (await tenant.http.get(f"/v1/api-keys/{made['id']}")).json()
    assert shown["created_by"] == str(person.id)


async def test_what_a_key_makes_names_no_person(product):
    tenant = await product.tenant()
    made = await tenant.http.post("/v1/api-keys", json={"name": "x"})
    assert made.json()["created_by"] is None


async def test_a_developer_makes_none_and_an_admin_no_operator_s(product):
    tenant = await product.tenant()
    developer = await product.signed_in(tenant, Role.DEVELOPER)
    refused = await developer.http.post("/v1/api-keys", json={"name": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")
    admin = await product.signed_in(tenant, Role.ADMIN)
    answer = await admin.http.post("/v1/api-keys", json={"name": "x", "scopes": ["operator"]})
    assert answer.status_code == 422


async def test_an_admin_who_asked_for_less_grants_no_more(product):
    tenant = await product.tenant()
    admin = await product.person(tenant, Role.ADMIN)
    await admin.sign_in(scope="keys:write usage:read")
    body = {"name": "x", "scopes": ["usage:read"]}
    assert (await admin.http.post("/v1/api-keys", json=body)).status_code == 201
    refused = await admin.http.post("/v1/api-keys", json=body | {"scopes": ["process"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-exceeds-grantor")
