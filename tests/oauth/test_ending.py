"""How tokens end: revoked, logged out, seen in the list of sign-ins; and what is said of them to whom."""

import asyncio
from typing import Any

import pytest

from fanfold.oauth.sign_in_service import MOST_SIGN_INS
from tests.fixtures.app import Person, Product
from tests.fixtures.promises import EFFECTIVE_WITHIN_S


async def _is_out(person: Person) -> None:
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await person.http.get("/v1/me")).status_code != 401:
            await asyncio.sleep(0.05)


async def _refreshes(product: Product, person: Person) -> int:
    form = {"grant_type": "refresh_token", "refresh_token": person.tokens["refresh_token"]}
    return (await product.stranger().post("/v1/auth/token", data=form)).status_code


class TestRevoke:
    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    async def test_ends_the_sign_in_of_either_token(self, product: Product, kind: str):
        person = await product.signed_in()
        assert (await person.http.get("/v1/me")).status_code == 200
        answer = await product.stranger().post("/v1/auth/revoke", data={"token": person.tokens[kind]})
        assert answer.status_code == 200
        await _is_out(person)
        assert await _refreshes(product, person) == 400

    async def test_of_an_access_token_holds_here_at_once(self, product: Product):
        person = await product.signed_in()
        assert (await person.http.get("/v1/me")).status_code == 200
        await product.stranger().post("/v1/auth/revoke", data={"token": person.tokens["access_token"]})
        assert (await person.http.get("/v1/me")).status_code == 401

    async def test_takes_the_token_and_not_what_it_says(self, product: Product):
        person = await product.signed_in()
        head, payload, signature = person.tokens["access_token"].split(".")
        forged = f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        for token in (forged, f"{head}.{payload}.", person.tokens["refresh_token"][:-1] + "~"):
            answer = await product.stranger().post("/v1/auth/revoke", data={"token": token})
            assert answer.status_code == 200
        await asyncio.sleep(1.1)  # past what this process has cached
        assert (await person.http.get("/v1/me")).status_code == 200
        assert await _refreshes(product, person) == 200

    @pytest.mark.parametrize("token", ["x", "ff_refresh_x", "a.b.c", "你好"])
    async def test_what_is_no_token_is_no_error(self, product: Product, token: str):
        answer = await product.stranger().post("/v1/auth/revoke", data={"token": token})
        assert answer.status_code == 200

    async def test_without_one_it_is(self, product: Product):
        answer = await product.stranger().post("/v1/auth/revoke", data={"x": "y"})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


class TestIntrospect:
    async def _asked(self, client, token: str) -> dict[str, Any]:
        answer = await client.post("/v1/auth/introspect", data={"token": token})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def test_says_to_the_own_tenant_what_a_token_is(self, product: Product):
        tenant = await product.tenant()
        person = await product.signed_in(tenant)
        for client in (tenant.http, person.http, await product.operator()):
            found = await self._asked(client, person.tokens["access_token"])
            assert found["active"] is True
            assert (found["sub"], found["tid"]) == (str(person.id), str(tenant.id))
            assert "tenant:write" in found["scope"]
            refresh = await self._asked(client, person.tokens["refresh_token"])
            assert (refresh["active"], refresh["token_type"]) == (True, "refresh_token")

    async def test_says_nothing_to_others_and_of_what_is_over(self, product: Product):
        tenant, other = await product.tenant(), await product.tenant()
        person = await product.signed_in(tenant)
        for token in (person.tokens["access_token"], person.tokens["refresh_token"]):
            assert await self._asked(other.http, token) == {"active": False}
        for token in ("x", "ff_refresh_x", person.tokens["access_token"][:-4] + "AAAA"):
            assert await self._asked(tenant.http, token) == {"active": False}
        await person.http.post("/v1/auth/logout")
        for token in (person.tokens["access_token"], person.tokens["refresh_token"]):
            assert await self._asked(tenant.http, token) == {"active": False}

    async def test_says_to_whoever_has_no_tenant_what_is_their_own_alone(self, product: Product):
        person, other = await product.signed_in(), await product.signed_in()
        for token in (person.tokens["access_token"], person.tokens["refresh_token"]):
            assert (await self._asked(person.http, token))["active"] is True
            assert await self._asked(other.http, token) == {"active": False}

    async def test_a_refresh_token_that_was_used_is_not_active(self, product: Product):
        person = await product.signed_in()
        assert await _refreshes(product, person) == 200
        assert await self._asked(person.http, person.tokens["refresh_token"]) == {"active": False}

    async def test_a_stranger_may_not_ask(self, product: Product):
        answer = await product.stranger().post("/v1/auth/introspect", data={"token": "x"})
        assert answer.status_code == 401


class TestLogout:
    async def test_really_ends_it_here_at_once(self, product: Product):
        person = await product.signed_in()
        assert (await person.http.get("/v1/me")).status_code == 200
        assert (await person.http.post("/v1/auth/logout")).status_code == 204
        assert (await person.http.get("/v1/me")).status_code == 401
        assert await _refreshes(product, person) == 400

    async def test_ends_no_other(self, product: Product):
        person = await product.signed_in()
        first = dict(person.tokens)
        await person.sign_in()
        await person.http.post("/v1/auth/logout")
        answer = await product.stranger().get(
            "/v1/me", headers={"Authorization": f"Bearer {first['access_token']}"}
        )
        assert answer.status_code == 200


class TestSessions:
    async def test_are_listed_and_ended_one_by_one_or_all_others(self, product: Product):
        person = await product.signed_in()
        for _ in range(3):
            await person.sign_in()
        listed = (await person.http.get("/v1/me/sessions")).json()["data"]
        assert [each["is_current"] for each in listed].count(True) == 1
        assert len(listed) == 4
        other = next(each for each in listed if not each["is_current"])
        assert (await person.http.delete(f"/v1/me/sessions/{other['id']}")).status_code == 204
        assert len((await person.http.get("/v1/me/sessions")).json()["data"]) == 3
        assert (await person.http.delete("/v1/me/sessions")).status_code == 204
        left = (await person.http.get("/v1/me/sessions")).json()["data"]
        assert [each["is_current"] for each in left] == [True]

    async def test_another_s_is_none(self, product: Product):
        person, other = await product.signed_in(), await product.signed_in()
        theirs = (await other.http.get("/v1/me/sessions")).json()["data"][0]["id"]
        assert (await person.http.delete(f"/v1/me/sessions/{theirs}")).status_code == 404
        assert (await other.http.get("/v1/me")).status_code == 200

    async def test_there_are_so_many_and_the_one_used_least_lately_goes(self, product: Product):
        person = await product.signed_in()
        first = person.tokens["access_token"]
        for _ in range(MOST_SIGN_INS):
            person.http = product.stranger()
            await person.sign_in()
        assert len((await person.http.get("/v1/me/sessions")).json()["data"]) == MOST_SIGN_INS
        answer = await product.stranger().get("/v1/me", headers={"Authorization": f"Bearer {first}"})
        assert answer.status_code == 401
