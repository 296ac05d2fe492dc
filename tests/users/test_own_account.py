"""What people change of themselves, over HTTP."""

import asyncio

import httpx
import pytest

from tests.fixtures.app import PASSWORD, Person, Product
from tests.fixtures.database import connect
from tests.fixtures.promises import EFFECTIVE_WITHIN_S
from tests.users.mailbox import changed_at, new_address, token_of

NEW = "zwölf blaue Boote 十二"


async def change(person: Person, **members: str) -> httpx.Response:
    return await person.http.patch("/v1/me", json=members)


async def change_password(person: Person, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    return await person.http.post("/v1/me/password", json={"current_password": current, "new_password": new})


async def verify(product: Product, token: str) -> httpx.Response:
    return await product.stranger().post("/v1/auth/verify", json={"token": token})


async def sign_in(product: Product, email: str, password: str) -> httpx.Response:
    return await product.stranger().post("/v1/auth/token", data={"username": email, "password": password})


class TestName:
    async def test_changes_at_once_and_leaves_the_rest(self, product: Product):
        person = await product.signed_in()
        answer = await change(person, name="艾达 Lovelace 👩🏽‍💻")
        assert (answer.status_code, answer.json()["name"]) == (200, "艾达 Lovelace 👩🏽‍💻")
        assert (await change(person)).json() == answer.json()
        assert answer.json()["email"] == person.email

    @pytest.mark.parametrize(
        "member", ["is_operator", "is_verified", "is_superuser", "role", "hashed_password", "id"]
    )
    async def test_is_what_may_be_changed_and_rights_are_not(self, product: Product, member):
        person = await product.signed_in()
        answer = await person.http.patch("/v1/me", json={"name": "x", member: True})
        assert answer.status_code == 422
        assert (await person.http.get("/v1/me")).json()["is_operator"] is False


class TestAddress:
    async def test_changes_once_its_reader_says_so_and_the_old_one_is_told(self, product: Product):
        person, new = await product.signed_in(), new_address()
        answer = await change(person, email=new, current_password=PASSWORD)
        assert (answer.status_code, answer.json()["email"]) == (200, person.email)
        (told,), (asked,) = await product.mails(person.email), await product.mails(new)
        assert told["Subject"] == "The address of your Fanfold account is to change"
        assert (await sign_in(product, new, PASSWORD)).status_code == 400
        for _ in range(2):
            assert (await verify(product, token_of(asked))).status_code == 204
        assert (await person.http.get("/v1/me")).json()["email"] == new
        assert (await sign_in(product, new, PASSWORD)).status_code == 200
        assert (await sign_in(product, person.email, PASSWORD)).status_code == 400

    @pytest.mark.parametrize("password", [{}, {"current_password": ""}, {"current_password": "wrong"}])
    async def test_needs_the_present_password(self, product: Product, password):
        person, new = await product.signed_in(), new_address()
        answer = await change(person, email=new, **password)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "current_password"])
        assert await product.mails(new, at_least=0) == []

    async def test_changes_to_other_capitals_of_the_same_one(self, product: Product):
        person = await product.signed_in()
        capitals = person.email.partition("@")[0].upper() + "@example.com"
        await change(person, email=capitals, current_password=PASSWORD)
        subjects = [mail["Subject"] for mail in await product.mails(person.email, at_least=1)]
        assert "You have an account at Fanfold already" not in subjects
        assert (await verify(product, token_of((await product.mails(capitals))[0]))).status_code == 204
        assert (await person.http.get("/v1/me")).json()["email"] == capitals

    async def test_a_token_from_before_another_change_is_void(self, product: Product):
        person, first, second = await product.signed_in(), new_address(), new_address()
        for each in (first, second):
            await change(person, email=each, current_password=PASSWORD)
        tokens = [token_of((await product.mails(each))[0]) for each in (first, second)]
        assert (await verify(product, tokens[1])).status_code == 204
        assert (await verify(product, tokens[0])).status_code == 422
        assert (await person.http.get("/v1/me")).json()["email"] == second

    async def test_a_token_stays_void_when_the_old_address_comes_back(self, product: Product):
        person, first = await product.signed_in(), new_address()
        tokens = []
        for number, each in enumerate((first, person.email)):
            await change(person, email=each, current_password=PASSWORD)
            mails = await product.mails(
                each, at_least=1 + number
            )  # the old address was told of the change too
            tokens.append(token_of(mails[-1]))
            assert (await verify(product, tokens[-1])).status_code == 204
        assert [(await verify(product, token)).status_code for token in tokens] == [422, 204]
        assert (await person.http.get("/v1/me")).json()["email"] == person.email

    async def test_a_token_is_void_whoever_changed_the_address_meanwhile(self, product: Product):
        person, new = await product.signed_in(), new_address()
        await change(person, email=new, current_password=PASSWORD)
        token = token_of((await product.mails(new))[0])
        by_hand = "update fanfold.users set email = $2, email_key = $2 where id = $1"
        connection = await connect(product.database.superuser_url)
        await connection.execute(by_hand, person.id, new_address())
        await connection.close()
        assert (await verify(product, token)).status_code == 422

    async def test_a_new_password_makes_the_change_void(self, product: Product):
        person, new = await product.signed_in(), new_address()
        await change(person, email=new, current_password=PASSWORD)
        token = token_of((await product.mails(new))[0])
        assert (await change_password(person)).status_code == 204
        assert (await verify(product, token)).status_code == 422

    async def test_that_is_another_s_is_not_given_away_and_that_reader_is_told(self, product: Product):
        person, other = await product.signed_in(), await product.person()
        free = await change(person, email=new_address(), current_password=PASSWORD)
        taken = await change(person, email=other.email, current_password=PASSWORD)
        assert (free.status_code, free.json()) == (taken.status_code, taken.json())
        (mail,) = await product.mails(other.email)
        assert mail["Subject"] == "You have an account at Fanfold already"

    async def test_that_is_taken_before_it_is_verified_stays_the_other_s(self, product: Product):
        person, new = await product.signed_in(), new_address()
        await change(person, email=new, current_password=PASSWORD)
        token = token_of((await product.mails(new))[0])
        await product.person(email=new, email_key=new)
        refused = await verify(product, token)
        assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "token"])
        assert (await person.http.get("/v1/me")).json()["email"] == person.email


class TestPassword:
    async def test_changes_and_ends_every_other_sign_in(self, product: Product):
        person = await product.signed_in()
        other = Person(person.id, person.email, product.stranger())
        await other.sign_in()
        since = await changed_at(product, person)
        answer = await change_password(person)
        assert (answer.status_code, answer.content) == (204, b"")
        assert await changed_at(product, person) > since
        async with asyncio.timeout(EFFECTIVE_WITHIN_S):
            while (await other.http.get("/v1/me")).status_code != 401:
                await asyncio.sleep(0.1)
        assert (await person.http.get("/v1/me")).status_code == 200
        assert (await sign_in(product, person.email, NEW)).status_code == 200
        assert (await sign_in(product, person.email, PASSWORD)).status_code == 400

    async def test_of_two_changes_at_once_one_wins(self, product: Product):
        person = await product.signed_in()
        both = ["the first of them is this", "the second of them is that"]
        answers = await asyncio.gather(*(change_password(person, new=each) for each in both))
        assert sorted(answer.status_code for answer in answers) == [204, 422]

    async def test_a_wrong_present_one_is_refused_and_counted_by_account_and_address(self, product: Product):
        person = await product.signed_in()
        answers = [await change_password(person, current="wrong") for _ in range(16)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:9] == [422] * 9
        assert statuses[-1] == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[0].json()["errors"][0]["loc"] == ["body", "current_password"]
        elsewhere = Person(person.id, person.email, product.stranger())
        await elsewhere.sign_in()  # nobody locks somebody out from another address
        assert (await change_password(elsewhere)).status_code == 204

    @pytest.mark.parametrize("new", ["password1", "{email}", "Ada Lovelace"])
    async def test_one_that_is_easy_to_guess_for_this_person_is_refused(self, product: Product, new):
        person = await product.signed_in(name="Ada Lovelace")
        answer = await change_password(person, new=new.format(email=person.email))
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "new_password"])
        assert answer.json()["errors"][0]["msg"].startswith("Too easy to guess.")
