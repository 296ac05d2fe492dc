"""Where fastapi-users as shipped falls short, and that each is mended here; other points: see the tests beside this.

Existence by code and time: test_registration; parallel registers: the same; the old password and old sign-ins:
test_own_account; hashing on the loop: test_passwords; tokens, logout and refresh: tests/oauth.
"""

import pytest
from fastapi_users.jwt import generate_jwt

from fanfold.core.crypto import KeyRing
from fanfold.users.mailed_tokens import PURPOSE, MailedTokens
from tests.fixtures.app import SECRET, Product
from tests.users.mailbox import new_address


class TestMailedTokens:
    @pytest.mark.parametrize("lifetime_s", [0, -1])
    async def test_a_lifetime_of_nothing_is_not_for_ever(self, lifetime_s):
        with pytest.raises(ValueError, match="a second or more"):
            await MailedTokens(KeyRing([SECRET])).make("use", lifetime_s=lifetime_s)

    async def test_one_without_an_end_is_none(self):
        ring = KeyRing([SECRET])
        endless = generate_jwt({"sub": "x", "aud": "use"}, ring.derived(PURPOSE)[0])
        assert await MailedTokens(ring).read("use", endless) is None
        ending = (await MailedTokens(ring).make("use", lifetime_s=60, sub="x")).get_secret_value()
        assert await MailedTokens(ring).read("use", ending) is not None
        assert await MailedTokens(ring).read("another use", ending) is None


class TestPasswords:
    @pytest.mark.parametrize("password", ["", "x" * 129, "x" * 5_000_000], ids=len)
    async def test_that_are_empty_or_enormous_are_refused(self, product: Product, password):
        body = {"email": new_address(), "password": password}
        answer = await product.stranger().post("/v1/auth/register", json=body)
        assert (answer.status_code, len(answer.content) < 4096) == (422, True)

    @pytest.mark.parametrize("half", ["\\ud800", "\\u0000"])
    async def test_that_are_no_text_are_refused(self, product: Product, half):
        content = f'{{"email": "a@example.com", "password": "eight or more {half}"}}'
        headers = {"Content-Type": "application/json"}
        answer = await product.stranger().post("/v1/auth/register", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")

    @pytest.mark.parametrize("password", ["%00", "%ED%A0%80", "%FF"])
    async def test_that_are_no_text_are_refused_in_a_form_too(self, product: Product, password):
        content = f"username=a%40example.com&password=eight{password}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await product.stranger().post("/v1/auth/token", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")

    async def test_are_not_in_the_refusal_of_a_body_that_lacks_something(self, product: Product):
        body = {"password": "canary seven green kites"}
        answer = await product.stranger().post("/v1/auth/register", json=body)
        assert answer.status_code == 422
        assert "canary" not in answer.text


async def test_a_401_says_how_to_sign_in(product: Product):
    answer = await product.stranger().get("/v1/me")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
