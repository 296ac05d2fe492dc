"""Registering and verifying, over HTTP: whoever has no account learns nothing of who has one."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.fixtures.app import PASSWORD, Product, product_settings, running_product
from tests.fixtures.database import connect
from tests.users.mailbox import new_address, token_of

GOOD = "sieben grüne Drachen 七只"


def body(email: str, **members: str) -> dict[str, str]:
    return {"email": email, "password": GOOD, **members}


async def register(product: Product, email: str, **members: str) -> httpx.Response:
    return await product.stranger().post("/v1/auth/register", json=body(email, **members))


async def verify(product: Product, token: str) -> httpx.Response:
    return await product.stranger().post("/v1/auth/verify", json={"token": token})


async def sign_in(product: Product, email: str, password: str = GOOD) -> httpx.Response:
    form = {"username": email, "password": password}
    return await product.stranger().post("/v1/auth/token", data=form)


async def row_of(product: Product, email: str) -> Any:
    connection = await connect(product.database.superuser_url)
    try:
        return await connection.fetchrow("select * from fanfold.users where email_key = $1", email.lower())
    finally:
        await connection.close()


async def test_a_stranger_registers_verifies_and_owns_a_tenant(product: Product):
    email = new_address()
    answer = await register(product, email, tenant_name="Ада's 工作室 Café")
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    assert (await sign_in(product, email)).status_code == 400
    (mail,) = await product.mails(email)
    token = token_of(mail)
    for _ in range(2):
        done = await verify(product, token)
        assert (done.status_code, done.content) == (204, b"")
    signed_in = await sign_in(product, email)
    assert signed_in.status_code == 200, signed_in.text
    http = product.http(signed_in.json()["access_token"])
    (tenant,) = (await http.get("/v1/me/tenants")).json()["data"]
    assert (tenant["name"], tenant["role"]) == ("Ада's 工作室 Café", "owner")
    assert tenant["slug"].startswith("s-cafe")
    assert (await http.get("/v1/tenant/limits")).json()["monthly_units"] == 1_000


async def test_the_audit_log_says_that_an_address_was_proven(product: Product):
    email = new_address()
    await register(product, email)
    await verify(product, token_of((await product.mails(email))[0]))
    user = await row_of(product, email)
    connection = await connect(product.database.superuser_url)
    found = await connection.fetch(
        "select action, actor_kind, actor_id, request_id from fanfold.audit_events where object_id = $1",
        str(user["id"]),
    )
    await connection.close()
    assert [(row["action"], row["actor_kind"], row["actor_id"]) for row in found] == [
        ("user.verified", "user", user["id"])
    ]
    assert found[0]["request_id"]


class TestKnownAndUnknown:
    async def test_have_the_same_answer(self, product: Product):
        known, unknown = (await product.person()).email, new_address()
        answers = [await register(product, each) for each in (known, known.upper(), unknown)]
        assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
        names = [sorted(answer.headers) for answer in answers]
        assert names[0] == names[1] == names[2]

    async def test_the_known_one_is_told_by_mail_and_keeps_its_password(self, product: Product):
        person = await product.person()
        await register(product, person.email)
        (mail,) = await product.mails(person.email)
        assert mail["Subject"] == "You have an account at Fanfold already"
        assert (await sign_in(product, person.email)).status_code == 400
        assert (await sign_in(product, person.email, PASSWORD)).status_code == 200

    async def test_an_inactive_person_gets_no_mail_and_no_account(self, product: Product):
        person, other = await product.person(is_active=False), new_address()
        for email in (person.email, other):
            assert (await register(product, email)).status_code == 202
            assert (
                await product.stranger().post("/v1/auth/forgot-password", json={"email": email})
            ).status_code == 202
        await product.mails(other, at_least=2)
        assert await product.mails(person.email, at_least=0) == []


class TestOneAddress:
    @pytest.mark.parametrize("at_once", [8, 50])
    async def test_registered_by_many_at_once_is_one_account(self, product: Product, figures, at_once):
        email = new_address()
        answers = await asyncio.gather(*(register(product, email) for _ in range(at_once)))
        assert {answer.status_code for answer in answers} == {202}
        connection = await connect(product.database.superuser_url)
        rows = await connection.fetchval("select count(*) from fanfold.users where email_key = $1", email)
        await connection.close()
        assert rows == 1
        figures(f"register: {at_once} at once of one address: {rows} row, {at_once} x 202, 0 5xx")

    async def test_gets_few_mails_however_many_ask_from_however_many_addresses(self, product: Product):
        email, other = new_address(), new_address()
        for _ in range(9):
            assert (await register(product, email)).status_code == 202
        await register(product, other)
        await product.mails(other)
        assert 1 <= len(await product.mails(email, at_least=5)) <= 6

    async def test_registered_twice_has_nobody_s_password_until_its_reader_sets_one(self, product: Product):
        # A stranger registers with somebody's address and waits for its owner to confirm the stranger's password.
        email, strangers = new_address(), "a stranger's own long password"
        await register(product, email, password=strangers, tenant_name="A stranger's")
        (first,) = await product.mails(email)
        await register(product, email, tenant_name="The owner's")
        second = (await product.mails(email, at_least=2))[1]
        assert second["Subject"] == "Finish your registration at Fanfold"
        void = await verify(product, token_of(first))
        assert (void.status_code, void.json()["errors"][0]["loc"]) == (422, ["body", "token"])
        wanted = {"token": token_of(second), "password": "nur ich kenne dieses"}
        done = await product.stranger().post("/v1/auth/reset-password", json=wanted)
        assert done.status_code == 204, done.text
        for password in (strangers, GOOD):
            assert (await sign_in(product, email, password)).status_code == 400
        signed_in = await sign_in(product, email, wanted["password"])
        assert signed_in.status_code == 200
        http = product.http(signed_in.json()["access_token"])
        assert (await http.get("/v1/me/tenants")).json()["data"] == []

    async def test_registered_twice_by_its_owner_founds_the_tenant_that_was_wanted_both_times(
        self, product: Product
    ):
        email = new_address()
        for _ in range(2):
            await register(product, email, tenant_name="Mine 我的")
        token = token_of((await product.mails(email, at_least=2))[1])
        wanted = {"token": token, "password": GOOD}
        assert (await product.stranger().post("/v1/auth/reset-password", json=wanted)).status_code == 204
        http = product.http((await sign_in(product, email)).json()["access_token"])
        assert [each["name"] for each in (await http.get("/v1/me/tenants")).json()["data"]] == ["Mine 我的"]

    @pytest.mark.parametrize("email", ["аda@example.com", "ada@localhost", "ada@example.com,eve@example.com"])
    async def test_that_only_looks_like_one_is_refused(self, product: Product, email: str):
        answer = await register(product, email)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "email"])


class TestPasswords:
    @pytest.mark.parametrize(("length", "status"), [(7, 422), (8, 202), (128, 202), (129, 422)])
    async def test_have_8_to_128_characters(self, product: Product, length: int, status: int):
        password = ("龙ж7Ω🐉qß~" * 17)[:length]
        answer = await register(product, new_address(), password=password)
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["errors"][0]["loc"] == ["body", "password"]
            assert answer.json()["errors"][0]["type"].startswith(("too_", "string_too_"))

    @pytest.mark.parametrize("password", ["password1", "{email}", "Lovelace"])
    async def test_that_are_common_or_one_s_own_are_refused(self, product: Product, password: str):
        email = new_address()
        answer = await register(product, email, password=password.format(email=email), tenant_name="Lovelace")
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "password"])
        assert await row_of(product, email) is None


class TestTokens:
    @pytest.mark.parametrize("token", ["x", "eyJhbGciOiJub25lIn0.e30.", "令牌👋", "a" * 2000])
    async def test_that_are_none_are_refused_and_not_repeated(self, product: Product, token):
        answer = await verify(product, token)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation")
        assert answer.json()["errors"][0]["loc"] == ["body", "token"]
        assert token not in answer.text or token == "x"

    async def test_of_one_use_are_of_no_other(self, product: Product):
        email = new_address()
        await register(product, email)
        token = token_of((await product.mails(email))[0])
        wanted = {"token": token, "password": GOOD}
        assert (await product.stranger().post("/v1/auth/reset-password", json=wanted)).status_code == 422
        as_access = await product.http(token).get("/v1/me")
        assert as_access.status_code == 401

    async def test_asked_for_again_works_as_well(self, product: Product):
        email = new_address()
        await register(product, email)
        await product.mails(email)
        answer = await product.stranger().post("/v1/auth/request-verify", json={"email": email})
        assert answer.status_code == 202
        second = (await product.mails(email, at_least=2))[1]
        assert (await verify(product, token_of(second))).status_code == 204

    async def test_are_not_sent_to_whom_there_is_nothing_to_verify(self, product: Product):
        person, other = await product.person(), new_address()
        await register(product, other)
        for email in (person.email, new_address(), other):
            answer = await product.stranger().post("/v1/auth/request-verify", json={"email": email})
            assert answer.status_code == 202
        await product.mails(other, at_least=2)
        assert await product.mails(person.email, at_least=0) == []


class TestRegistration:
    async def _product(self, database_urls, mails, registration: str) -> Any:
        settings = product_settings(database_urls, mail=mails)
        identity = settings.identity.model_copy(update={"registration": registration})
        return running_product(database_urls, settings.model_copy(update={"identity": identity}))

    async def test_closed_is_closed_to_everybody(self, database_urls, mails):
        async with await self._product(database_urls, mails, "closed") as product:
            person = await product.person()
            for email in (person.email, new_address()):
                answer = await register(product, email)
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")
                assert await row_of(product, new_address()) is None

    async def test_by_invitation_is_for_the_invited(self, database_urls, mails):
        async with await self._product(database_urls, mails, "invite") as product:
            tenant, invited, other = await product.tenant(), new_address(), new_address()
            await self._invite(product, tenant.id, invited)
            answers = [await register(product, each, tenant_name="Mine") for each in (invited, other)]
            assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
            (mail,) = await product.mails(invited)
            assert await row_of(product, other) is None
            assert (await verify(product, token_of(mail))).status_code == 204
            token = (await sign_in(product, invited)).json()["access_token"]
            assert (await product.http(token).get("/v1/me/tenants")).json()["data"] == []

    async def test_an_invitation_that_is_over_is_none(self, database_urls, mails):
        async with await self._product(database_urls, mails, "invite") as product:
            tenant, late = await product.tenant(), new_address()
            await self._invite(product, tenant.id, late, days=-1)
            assert (await register(product, late)).status_code == 202
            assert await row_of(product, late) is None

    async def _invite(self, product: Product, tenant_id: Any, email: str, *, days: int = 1) -> None:
        connection = await connect(product.database.superuser_url)
        await connection.execute(
            "insert into fanfold.invitations (tenant_id, id, email, email_key, role, expires_at)"
            " values ($1, gen_random_uuid(), $2, $2, 'viewer', now() + make_interval(days => $3))",
            tenant_id, email, days,
        )  # fmt: skip
        await connection.close()


class TestLimits:
    @pytest.mark.parametrize("path", ["register", "forgot-password"])
    async def test_an_address_asks_so_often_and_another_is_not_held_up(self, product: Product, path):
        stranger, statuses = product.stranger(), []
        for _ in range(11):
            wanted = body(new_address()) if path == "register" else {"email": new_address()}
            statuses.append((await stranger.post(f"/v1/auth/{path}", json=wanted)).status_code)
        assert statuses == [202] * 10 + [429]
        other = await product.stranger().post("/v1/auth/forgot-password", json={"email": new_address()})
        assert other.status_code == 202

    @pytest.mark.parametrize("path", ["request-verify", "verify", "reset-password"])
    async def test_tries_are_counted_by_account_and_address(self, product: Product, path):
        await self._count(product, path)

    async def test_tries_of_a_forgotten_password_are_counted_so_too(self, database_urls, mails):
        settings = product_settings(database_urls, mail=mails)
        identity = settings.identity.model_copy(update={"forgot_password_rate": "1000/minute"})
        changed = settings.model_copy(update={"identity": identity})
        async with running_product(database_urls, changed) as product:
            await self._count(product, "forgot-password")

    async def _count(self, product: Product, path: str) -> None:
        stranger, email = product.stranger(), new_address()
        by_mail = {"token": "x", "password": GOOD} if path == "reset-password" else {"token": "x"}
        wanted = {"email": email} if path in {"request-verify", "forgot-password"} else by_mail
        answers = [await stranger.post(f"/v1/auth/{path}", json=wanted) for _ in range(12)]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses[:9]) == {202 if "email" in wanted else 422}
        assert statuses[-1] == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        elsewhere = await product.stranger().post("/v1/auth/request-verify", json={"email": email})
        assert elsewhere.status_code == 202
