"""Signing in with a password, and what the token opens."""

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
