"""Signing in with a password, and what the token opens."""

from typing import Any

import pytest

from fanfold.auth.principal import Role
from fanfold.core.jwt import key_id
from tests.fixtures.app import PASSWORD, Product


class TestToken:
    async def test_a_person_signs_in_to_the_oldest_tenant_and_processes(self, product: Product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        person = await product.signed_in(tenant, Role.DEVELOPER)
        assert person.tokens["token_type"] == "bearer"
        assert person.tokens["expires_in"] == 600
        assert person.tokens["scope"] == "jobs process upstreams:write usage:read"
        assert (await person.http.get("/v1/me")).json()["email"] == person.email
        answer = await person.http.post("/v1/process", json={"text": "你好，世界 👋🏽"})
        assert answer.status_code == 200, answer.text
        assert (await person.http.get("/v1/usage")).json()["used"] == 1
        assert (await person.http.post("/v1/api-keys", json={"name": "x"})).status_code == 403

    @pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"username": "nobody@example.com"}])
    async def test_who_is_wrong_is_not_told_what_is(self, product: Product, wrong):
        person = await product.person()
        form = {"username": person.email, "password": PASSWORD, **wrong}
        answer = await person.http.post("/v1/auth/token", data=form)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_grant"
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("member", ["is_active", "is_verified"])
    async def test_who_is_inactive_or_not_verified_is_refused_as_a_wrong_password_is(
        self, product: Product, member: str
    ):
        not_so: dict[str, Any] = {member: False}
        person, other = await product.person(**not_so), await product.person()
        right = await person.http.post(
            "/v1/auth/token", data={"username": person.email, "password": PASSWORD}
        )
        wrong = await other.http.post("/v1/auth/token", data={"username": other.email, "password": "wrong"})
        assert (right.status_code, right.json()) == (400, wrong.json())

    async def test_a_tenant_of_others_is_refused_as_one_that_is_not_there(self, product: Product):
        mine, others = await product.tenant(), await product.tenant()
        person = await product.person(mine)
        form = {"username": person.email, "password": PASSWORD}
        answers = [
            await person.http.post("/v1/auth/token", data=form | {"tenant": slug})
            for slug in (others.slug, "no-such-tenant")
        ]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert answers[0].json() == answers[1].json()
        await person.sign_in(tenant=mine.slug)

    async def test_a_scope_that_the_role_lacks_is_refused(self, product: Product):
        person = await product.person(await product.tenant(), Role.VIEWER)
        form = {"username": person.email, "password": PASSWORD}
        refused = await person.http.post("/v1/auth/token", data=form | {"scope": "usage:read process"})
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
        assert (await person.sign_in(scope="usage:read"))["scope"] == "usage:read"

    async def test_who_belongs_to_no_tenant_has_only_what_is_a_person_s(self, product: Product):
        person = await product.signed_in()
        assert person.tokens["scope"] == ""
        assert (await person.http.get("/v1/me")).status_code == 200
        refused = await person.http.get("/v1/upstreams")
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")

    async def test_an_api_key_is_no_person(self, product: Product):
        tenant = await product.tenant()
        assert (await tenant.http.get("/v1/me")).status_code == 403

    async def test_its_header_names_key_and_type(self, product: Product):
        person = await product.signed_in()
        assert key_id(person.tokens["access_token"])
