"""A forgotten password, over HTTP."""

import asyncio

import httpx
import pytest

from tests.fixtures.app import PASSWORD, Person, Product
from tests.fixtures.database import connect
from tests.fixtures.promises import EFFECTIVE_WITHIN_S
from tests.users.mailbox import changed_at, new_address, token_of

NEW = "zwölf blaue Boote 十二 👋🏽"


async def forget(product: Product, email: str) -> httpx.Response:
    return await product.stranger().post("/v1/auth/forgot-password", json={"email": email})


async def reset(product: Product, token: str, password: str = NEW) -> httpx.Response:
    wanted = {"token": token, "password": password}
    return await product.stranger().post("/v1/auth/reset-password", json=wanted)


async def sign_in(product: Product, person: Person, password: str) -> httpx.Response:
    form = {"username": person.email, "password": password}
    return await product.stranger().post("/v1/auth/token", data=form)


@pytest.fixture
async def person(product: Product) -> Person:
    return await product.signed_in()


async def test_a_mail_s_token_sets_a_new_password_once_and_ends_every_sign_in(
    product: Product, person: Person
):
    assert (await forget(product, person.email.upper())).status_code == 202
    (mail,) = await product.mails(person.email)  # to the address as it is kept, not as it was typed
    token = token_of(mail)
    since = await changed_at(product, person)
    done = await reset(product, token)
    assert (done.status_code, done.content) == (204, b"")
    assert await changed_at(product, person) > since
    assert (await sign_in(product, person, PASSWORD)).status_code == 400
    assert (await sign_in(product, person, NEW)).status_code == 200
    again = await reset(product, token, "another one that is long")
    assert (again.status_code, again.json()["errors"][0]["loc"]) == (422, ["body", "token"])
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await person.http.get("/v1/me")).status_code != 401:
            await asyncio.sleep(0.1)


async def test_of_two_at_once_one_wins(product: Product, person: Person):
    await forget(product, person.email)
    token = token_of((await product.mails(person.email))[0])
    passwords = ["the first of them is this", "the second of them is that"]
    answers = await asyncio.gather(*(reset(product, token, each) for each in passwords))
    assert sorted(answer.status_code for answer in answers) == [204, 422]
    winner = passwords[[answer.status_code for answer in answers].index(204)]
    statuses = {each: (await sign_in(product, person, each)).status_code for each in passwords}
    assert statuses == {each: 200 if each == winner else 400 for each in passwords}


async def test_one_that_comes_while_another_is_written_waits_and_is_refused(product: Product, person: Person):
    await forget(product, person.email)
    token = token_of((await product.mails(person.email))[0])
    connection = await connect(product.database.superuser_url)
    of_locks = "datname = current_database() and wait_event_type = 'Lock'"
    waits = f"select exists(select from pg_stat_activity where {of_locks})"
    try:
        async with connection.transaction():
            other = "update fanfold.users set hashed_password = 'another', credentials_changed_at = now() where id = $1"
            await connection.execute(other, person.id)
            late = asyncio.create_task(reset(product, token))
            async with asyncio.timeout(60):
                while not await connection.fetchval(waits):
                    await asyncio.sleep(0.02)
                    await connection.execute("select pg_stat_clear_snapshot()")
        assert (await late).status_code == 422
        kept = await connection.fetchval("select hashed_password from fanfold.users where id = $1", person.id)
        assert kept == "another"
    finally:
        await connection.close()


async def test_it_proves_the_address_too(product: Product):
    person = await product.person(is_verified=False)
    await forget(product, person.email)
    assert (await reset(product, token_of((await product.mails(person.email))[0]))).status_code == 204
    assert (await sign_in(product, person, NEW)).status_code == 200


async def test_every_address_has_the_same_answer_and_one_row_of_the_outbox(product: Product, person: Person):
    answers = [await forget(product, each) for each in (person.email, new_address(), "Ada@bücher.example")]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}


async def test_who_is_inactive_can_neither_ask_nor_use_what_was_asked_before(
    product: Product, person: Person
):
    await forget(product, person.email)
    token = token_of((await product.mails(person.email))[0])
    connection = await connect(product.database.superuser_url)
    await connection.execute("update fanfold.users set is_active = false where id = $1", person.id)
    await connection.close()
    assert (await reset(product, token)).status_code == 422


async def test_an_address_of_before_sets_no_password(product: Product, person: Person):
    # Whoever reads the old mailbox must not get in with what was sent there.
    await forget(product, person.email)
    token, new = token_of((await product.mails(person.email))[0]), new_address()
    await person.http.patch("/v1/me", json={"email": new, "current_password": PASSWORD})
    proof = {"token": token_of((await product.mails(new))[0])}
    assert (await product.stranger().post("/v1/auth/verify", json=proof)).status_code == 204
    refused = await reset(product, token)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "token"])
    await forget(product, new)
    assert (await reset(product, token_of((await product.mails(new, at_least=2))[1]))).status_code == 204


@pytest.mark.parametrize("path", ["request-verify", "register"])
async def test_a_stranger_who_asks_for_other_mails_keeps_nobody_from_a_new_password(
    product: Product, person: Person, path: str
):
    wanted = {"email": person.email} | ({"password": NEW} if path == "register" else {})
    for _ in range(7):
        assert (await product.stranger().post(f"/v1/auth/{path}", json=wanted)).status_code == 202
    await forget(product, person.email)
    subjects = [
        mail["Subject"] for mail in await product.mails(person.email, at_least=6 if path == "register" else 1)
    ]
    assert subjects[-1] == "A new password for Fanfold"


async def test_the_address_is_no_password(product: Product):
    person = await product.person()
    await forget(product, person.email)
    refused = await reset(product, token_of((await product.mails(person.email))[0]), person.email)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "password"])


@pytest.mark.parametrize("password", ["", "kurz?", "password123", "x" * 129, "aaaaaaaaaaaaaaaa"])
async def test_a_poor_password_is_refused_and_the_token_still_works(
    product: Product, person: Person, password
):
    await forget(product, person.email)
    token = token_of((await product.mails(person.email))[0])
    refused = await reset(product, token, password)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "password"]
    assert not password or password not in refused.text
    assert (await reset(product, token)).status_code == 204
