"""Guessing passwords: tries are counted by account and address, and by address; a second factor is asked for."""

import time
from uuid import UUID

import httpx
import pyotp
from sqlalchemy import update

from fanfold.oauth.repository import SignInRepository
from fanfold.users.models import User
from fanfold.users.totp import STEP_S, TRIES_BURST, new_enrolment, seal_secret
from tests.fixtures.app import PASSWORD, Person, Product, product_settings, running_product
from tests.fixtures.database import TestDatabase


async def with_second_factor(product: Product, person: Person) -> pyotp.TOTP:
    secret = new_enrolment(person.email).secret
    sealed = seal_secret(product.app.state.key_ring, person.id, secret)
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(update(User).where(User.id == UUID(str(person.id))).values(totp_sealed=sealed))
    return pyotp.TOTP(secret.get_secret_value())


async def _tries(
    product: Product, email: str, *, most: int, http: httpx.AsyncClient | None = None
) -> list[int]:
    http, statuses = http or product.stranger(), []
    for _ in range(most):
        answer = await http.post("/v1/auth/token", data={"username": email, "password": "wrong"})
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert answer.json()["error"] == "temporarily_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
            return statuses
    return statuses


async def _sign_ins(product: Product, person: Person) -> int:
    async with product.app.state.database.identity_session() as session:
        return len(await SignInRepository(session).living(UUID(str(person.id))))


class TestTries:
    async def test_end_for_one_address_and_nobody_is_locked_out(self, product: Product):
        person = await product.person()
        statuses = await _tries(product, person.email, most=20)
        assert statuses[-1] == 429
        assert set(statuses[:-1]) == {400}
        await person.sign_in()  # from another address

    async def test_of_one_account_leave_others_to_the_same_address(self, product: Product):
        person, other = await product.person(), await product.person()
        statuses = await _tries(product, person.email, most=20, http=other.http)
        assert statuses[-1] == 429
        await other.sign_in()

    async def test_end_as_soon_for_an_account_that_is_not_there(self, product: Product):
        statuses = await _tries(product, "nobody-at-all@example.com", most=20)
        assert statuses[-1] == 429
        assert 10 <= len(statuses) - 1 <= 15  # a try more for each six seconds that they take

    async def test_of_one_address_are_limited_whatever_they_try(self, database_urls: TestDatabase):
        settings = product_settings(database_urls)
        strict = settings.identity.model_copy(update={"login_rate": "2/hour"})
        settings = settings.model_copy(update={"identity": strict})
        async with running_product(database_urls, settings) as product:
            http = product.stranger()
            forms = [{"username": f"n{number}@example.com", "password": "wrong"} for number in range(3)]
            answers = [await http.post("/v1/auth/token", data=form) for form in forms]
        assert [answer.status_code for answer in answers] == [400, 400, 429]
        assert answers[2].json()["error"] == "temporarily_unavailable"


class TestSecondFactor:
    async def test_is_asked_for_only_when_the_password_was_right(self, product: Product):
        person = await product.person()
        await with_second_factor(product, person)
        form = {"username": person.email, "password": PASSWORD}
        asked = await person.http.post("/v1/auth/token", data=form)
        assert (asked.status_code, asked.json()["error"]) == (400, "invalid_grant")
        assert "second factor" in asked.json()["error_description"]
        assert await _sign_ins(product, person) == 0  # what is refused leaves nothing, and ends nobody's
        silent = await person.http.post("/v1/auth/token", data=form | {"password": "wrong", "otp": "000000"})
        assert "second factor" not in silent.json()["error_description"]

    async def test_a_code_signs_in_once(self, product: Product):
        person = await product.person()
        codes = await with_second_factor(product, person)
        code = codes.generate_otp(int(time.time()) // STEP_S)
        form = {"username": person.email, "password": PASSWORD}
        wrong = await person.http.post("/v1/auth/token", data=form | {"otp": "12345"})
        assert wrong.status_code == 400
        await person.sign_in(otp=code)
        del person.http.headers["Authorization"]
        assert (await person.http.post("/v1/auth/token", data=form | {"otp": code})).status_code == 400

    async def test_a_code_is_not_used_up_by_a_sign_in_that_is_refused_for_something_else(
        self, product: Product
    ):
        person = await product.person()
        codes = await with_second_factor(product, person)
        code = codes.generate_otp(int(time.time()) // STEP_S)
        form = {"username": person.email, "password": PASSWORD, "otp": code}
        elsewhere = await person.http.post("/v1/auth/token", data=form | {"tenant": "no-such-tenant"})
        assert "slug" in elsewhere.json()["error_description"]
        await person.sign_in(otp=code)

    async def test_a_right_code_says_nothing_of_a_wrong_password_and_stays_unused(self, product: Product):
        person, other = await product.person(), await product.person()
        codes = await with_second_factor(product, person)
        code = codes.generate_otp(int(time.time()) // STEP_S)
        answers = [
            await each.http.post(
                "/v1/auth/token", data={"username": each.email, "password": "wrong", "otp": code}
            )
            for each in (person, other)
            for _ in range(TRIES_BURST + 1)  # nor does it count as a try of the code
        ]
        assert {(answer.status_code, answer.content) for answer in answers} == {(400, answers[0].content)}
        await person.sign_in(otp=code)

    async def test_too_many_codes_are_refused_and_leave_no_sign_in(self, product: Product):
        person = await product.person()
        codes = await with_second_factor(product, person)
        right = {codes.generate_otp(int(time.time()) // STEP_S + offset) for offset in (-1, 0, 1, 2)}
        wrong = next(code for code in ("000000", "000001", "000002", "000003", "000004") if code not in right)
        form = {"username": person.email, "password": PASSWORD, "otp": wrong}
        answers = [await person.http.post("/v1/auth/token", data=form) for _ in range(TRIES_BURST + 1)]
        assert [answer.status_code for answer in answers] == [400] * TRIES_BURST + [429]
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert await _sign_ins(product, person) == 0
