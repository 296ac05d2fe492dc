"""`/v1/admin/users` over HTTP. The dangers: a hash or a secret shown, an operator made, a sign-in that goes on."""

import asyncio
import secrets

import pytest
from sqlalchemy import update

from fanfold.auth.principal import Role
from fanfold.core.identifiers import uuid7
from fanfold.users.models import User
from tests.fixtures.app import PASSWORD, PASSWORD_HASH
from tests.fixtures.audited import actions

USERS = "/v1/admin/users"
# A principal is true for a second from the start of its load.
FORGOTTEN_S = 1.1


async def second_factor(product, user_id):
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(update(User).where(User.id == user_id).values(totp_sealed=b"a sealed secret"))


class TestReading:
    async def test_one_is_shown_with_their_tenants_and_without_a_secret(self, product):
        operator, tenant, other = await product.operator(), await product.tenant(), await product.tenant()
        person = await product.person(tenant, Role.VIEWER, name="埃达 🙂")
        await second_factor(product, person.id)
        answer = await operator.get(f"{USERS}/{person.id}")
        shown = answer.json()
        assert (shown["email"], shown["name"], shown["has_second_factor"]) == (person.email, "埃达 🙂", True)
        [membership] = shown["memberships"]
        assert (membership["slug"], membership["role"]) == (tenant.slug, "viewer")
        assert other.slug not in answer.text
        assert PASSWORD_HASH not in answer.text
        assert not {"hashed_password", "totp_sealed", "password"} & shown.keys()
        assert (await operator.get(f"{USERS}/{uuid7()}")).status_code == 404

    async def test_search_finds_part_of_an_address_or_a_name_and_percent_is_a_letter(self, product):
        operator, mark = await product.operator(), secrets.token_hex(6)
        named = await product.person(name=f"Über 100% {mark.upper()}")
        addressed = await product.person(email=f"{mark}@example.com", email_key=f"{mark}@example.com")

        async def found(search: str) -> list[str]:
            answer = await operator.get(USERS, params={"search": search})
            return [each["id"] for each in answer.json()["data"]]

        assert await found(mark) == [str(addressed.id), str(named.id)]
        assert await found(f"100% {mark}") == [str(named.id)]
        assert await found(f"%{mark[:4]}%{mark[4:]}") == []
        assert await found(f"{mark[:-1]}_") == []

    async def test_each_filter_filters(self, product):
        operator, mark = await product.operator(), secrets.token_hex(6)
        for number, members in enumerate(
            [{"is_active": False}, {"is_verified": False}, {"is_operator": True}]
        ):
            await product.person(name=f"{mark} {number}", **members)
        for name, count in [("is_active", 2), ("is_verified", 2), ("is_operator", 1)]:
            for value in (True, False):
                params = {"search": mark, name: str(value).lower()}
                data = (await operator.get(USERS, params=params)).json()["data"]
                assert len(data) == (count if value else 3 - count), name
                assert {each[name] for each in data} == {value}

    async def test_pages_are_newest_first_and_stable_while_people_come(self, product):
        operator, mark = await product.operator(), secrets.token_hex(6)
        made = [str((await product.person(name=f"{mark} {n}")).id) for n in range(5)]
        seen, params = [], {"search": mark, "limit": 2}
        while True:
            page = (await operator.get(USERS, params=params)).json()
            seen += [each["id"] for each in page["data"]]
            await product.person(name=f"{mark} later")
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert seen == made[::-1]

    async def test_a_tenant_sees_none(self, product):
        tenant = await product.tenant()
        assert (await tenant.http.get(USERS)).status_code == 403


class TestChanging:
    async def test_deactivated_they_are_signed_out_everywhere_and_cannot_sign_in(self, product):
        operator, person = await product.operator(), await product.signed_in(await product.tenant())
        assert (await person.http.get("/v1/me")).status_code == 200
        answer = await operator.patch(f"{USERS}/{person.id}", json={"is_active": False})
        assert (answer.status_code, answer.json()["is_active"]) == (200, False)
        await asyncio.sleep(FORGOTTEN_S)
        assert (await person.http.get("/v1/me")).status_code == 401
        form = {"username": person.email, "password": PASSWORD}
        assert (await product.stranger().post("/v1/auth/token", data=form)).status_code == 400
        await operator.patch(f"{USERS}/{person.id}", json={"is_active": True})
        assert (await person.http.get("/v1/me")).status_code == 401
        await person.sign_in()
        assert (await person.http.get("/v1/me")).status_code == 200
        assert await actions(product, person.id) == ["user.deactivated", "user.activated"]

    async def test_their_sign_ins_end_and_nobody_else_s(self, product):
        operator, person, other = [await product.operator(), *[await product.signed_in() for _ in range(2)]]
        assert (await operator.post(f"{USERS}/{person.id}/end-sessions")).status_code == 204
        await asyncio.sleep(FORGOTTEN_S)
        assert (await person.http.get("/v1/me")).status_code == 401
        assert (await other.http.get("/v1/me")).status_code == 200

    @pytest.mark.parametrize("members", [
        {"is_operator": True}, {"is_operator": False}, {"is_superuser": True}, {"is_verified": True},
        {"email": "a@example.com"}, {"hashed_password": "x"}, {"password": "x"}, {"totp_sealed": None},
    ])  # fmt: skip
    async def test_nothing_else_is_written(self, product, members):
        operator, person = await product.operator(), await product.person()
        refused = await operator.patch(f"{USERS}/{person.id}", json={"is_active": True, **members})
        assert refused.status_code == 422
        shown = (await operator.get(f"{USERS}/{person.id}")).json()
        assert (shown["is_operator"], shown["email"]) == (False, person.email)

    async def test_a_lost_second_factor_is_taken_away_but_no_operator_s(self, product):
        operator, person = await product.operator(), await product.signed_in()
        other = await product.person(is_operator=True)
        for each in (person, other):
            await second_factor(product, each.id)
        assert (await operator.delete(f"{USERS}/{person.id}/totp")).status_code == 204
        assert not (await operator.get(f"{USERS}/{person.id}")).json()["has_second_factor"]
        await asyncio.sleep(FORGOTTEN_S)
        assert (await person.http.get("/v1/me")).status_code == 401
        assert (await operator.delete(f"{USERS}/{other.id}/totp")).status_code == 409
        assert (await operator.get(f"{USERS}/{other.id}")).json()["has_second_factor"]

    async def test_what_changes_nothing_leaves_no_line(self, product):
        operator, person = await product.operator(), await product.person()
        assert (await operator.patch(f"{USERS}/{person.id}", json={"is_active": True})).status_code == 200
        assert (await operator.delete(f"{USERS}/{person.id}/totp")).status_code == 204
        assert await actions(product, person.id) == []
