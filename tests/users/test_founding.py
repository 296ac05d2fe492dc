"""Founding tenants: of whom, how many, under which slug."""

import asyncio
import secrets
from collections import Counter

import pytest

from fanfold.audit.types import Actor
from fanfold.core.config import IdentitySettings
from fanfold.users.founding import found_tenant, slug_of
from fanfold.users.repository import UserRepository
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect


def _slug() -> str:
    return f"t{secrets.token_hex(6)}"


async def test_who_founds_a_tenant_owns_it_and_signs_in_to_it(product: Product):
    person, slug = await product.signed_in(), _slug()
    made = await person.http.post("/v1/tenants", json={"name": " 织云科技 🐟 ", "slug": slug})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/v1/tenant"
    assert (
        made.json().items()
        >= {"slug": slug, "name": "织云科技 🐟", "plan": "free", "status": "active"}.items()
    )
    tokens = await person.sign_in(tenant=slug)
    assert "tenant:write" in tokens["scope"]
    assert (await person.http.get("/v1/tenant/limits")).json()["monthly_units"] == 1_000
    mine = (await person.http.get("/v1/me/tenants")).json()["data"]
    assert [(each["slug"], each["role"], each["status"]) for each in mine] == [(slug, "owner", "active")]


async def test_a_slug_has_one_tenant(product: Product):
    body = {"name": "x", "slug": _slug()}
    people = [await product.signed_in() for _ in range(2)]
    answers = [await person.http.post("/v1/tenants", json=body) for person in people]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert (await people[1].http.get("/v1/me/tenants")).json()["data"] == []


async def test_a_person_owns_three_also_of_20_asked_for_at_once(product: Product):
    person = await product.signed_in()
    bodies = [{"name": "x", "slug": _slug()} for _ in range(20)]
    answers = await asyncio.gather(*(person.http.post("/v1/tenants", json=body) for body in bodies))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 17}
    async with product.app.state.database.identity_session() as session:
        assert len(await UserRepository(session).memberships(person.id)) == 3


async def test_a_repeated_request_founds_one(product: Product):
    person, body = await product.signed_in(), {"name": "x", "slug": _slug()}
    first, second = [
        await person.http.post("/v1/tenants", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert len((await person.http.get("/v1/me/tenants")).json()["data"]) == 1


async def test_pages_of_one_s_own_tenants_hold_each_once(product: Product):
    person = await product.signed_in()
    slugs = [_slug() for _ in range(3)]
    for slug in slugs:
        await person.http.post("/v1/tenants", json={"name": "x", "slug": slug})
    seen, cursor = [], None
    while True:
        query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        found = (await person.http.get("/v1/me/tenants", params=query)).json()
        seen += [each["slug"] for each in found["data"]]
        if (cursor := found["next_cursor"]) is None:
            break
    assert seen == slugs[::-1]


@pytest.mark.parametrize("registration", ["invite", "closed"])
async def test_where_registration_is_not_open_operators_make_tenants(
    database_urls: TestDatabase, registration
):
    settings = product_settings(database_urls)
    identity = IdentitySettings(jwt_algorithm="ES256", registration=registration)
    async with running_product(database_urls, settings.model_copy(update={"identity": identity})) as product:
        person = await product.signed_in()
        answer = await person.http.post("/v1/tenants", json={"name": "x", "slug": _slug()})
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")
        assert "operator" in answer.json()["detail"]


async def test_an_api_key_founds_nothing(product: Product):
    tenant = await product.tenant()
    answer = await tenant.http.post("/v1/tenants", json={"name": "x", "slug": _slug()})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme, Inc.", "acme-inc"),
        ("Café Zürich", "cafe-zurich"),
        ("  -- a --  ", "a"),
        ("织云 cloud", "cloud"),
    ],
)
def test_a_slug_reads_like_its_name(name: str, slug: str):
    assert slug_of(name) == slug


@pytest.mark.parametrize("name", ["织云科技", "🐟", "---"])
def test_a_name_without_ascii_letters_gets_a_slug_of_its_own(name: str):
    first, second = slug_of(name), slug_of(name)
    assert first.startswith("t-")
    assert first != second


async def test_of_one_name_each_gets_another_slug(product: Product):
    name = f"Acme {secrets.token_hex(4)}"
    async with product.app.state.database.identity_session() as session, session.begin():
        people = [await product.person() for _ in range(2)]
        made = [await found_tenant(session, person.id, name, None, Actor(kind="user")) for person in people]
    assert made[0].slug == slug_of(name)
    assert made[1].slug.startswith(f"{slug_of(name)}-")


async def test_it_is_in_the_audit_log(product: Product):
    person, slug = await product.signed_in(), _slug()
    made = (await person.http.post("/v1/tenants", json={"name": "织云", "slug": slug})).json()
    connection = await connect(product.database.superuser_url)
    try:
        row = await connection.fetchrow("select * from fanfold.audit_events where object_id = $1", made["id"])
    finally:
        await connection.close()
    assert (row["action"], row["actor_kind"], row["actor_id"]) == ("tenant.created", "user", person.id)
    assert '"织云"' in row["after"]
