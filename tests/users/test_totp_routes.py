"""`/v1/me/totp` over HTTP."""

import asyncio
import time

import pyotp
import pytest

from fanfold.users.totp import STEP_S, TRIES_BURST
from tests.fixtures.app import PASSWORD, Person, Product
from tests.fixtures.audited import actions

PATH = "/v1/me/totp"


def code_of(secret: str, offset: int = 0) -> str:
    return pyotp.TOTP(secret).generate_otp(int(time.time()) // STEP_S + offset)


async def ask(person: Person, password: str = PASSWORD):
    return await person.http.post(PATH, json={"current_password": password})


async def remove(person: Person, code: str, password: str = PASSWORD):
    return await person.http.request("DELETE", PATH, json={"current_password": password, "code": code})


async def _amid_a_step() -> None:
    """Wait for the next step where the present one is nearly over: a code of the step before holds no longer then."""
    left_s = STEP_S - time.time() % STEP_S
    if left_s < 5:
        await asyncio.sleep(left_s)


async def on(person: Person) -> str:
    secret: str = (await ask(person)).json()["secret"]
    await _amid_a_step()
    # The step before: the present one and the one after it are left for what comes.
    confirmed = await person.http.post(f"{PATH}/confirm", json={"code": code_of(secret, -1)})
    assert confirmed.status_code == 204, confirmed.text
    return secret


async def test_it_is_shown_once_confirmed_and_taken_away(product: Product):
    person = await product.signed_in()
    answer = await ask(person)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    shown = answer.json()
    assert pyotp.parse_uri(shown["uri"]).secret == shown["secret"]
    secret = await on(person)
    assert secret != shown["secret"]
    assert (await ask(person)).status_code == 409
    assert (await remove(person, code_of(secret))).status_code == 204
    assert (await ask(person)).status_code == 200
    assert await actions(product, person.id) == ["user.second_factor_added", "user.second_factor_removed"]


async def test_a_wrong_password_or_code_is_told_by_its_member(product: Product):
    person = await product.signed_in()
    refused = await ask(person, "wrong")
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "current_password"])
    secret = await on(person)
    wrong = "000000" if code_of(secret) != "000000" else "000001"
    refused = await remove(person, wrong)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "code"])
    refused = await remove(person, code_of(secret), "wrong")
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "current_password"])
    assert (await remove(person, code_of(secret))).status_code == 204


async def test_guesses_are_counted(product: Product):
    person = await product.signed_in()
    await ask(person)
    answers = [
        await person.http.post(f"{PATH}/confirm", json={"code": f"{guess:06}"})
        for guess in range(TRIES_BURST + 1)
    ]
    assert [answer.status_code for answer in answers] == [422] * TRIES_BURST + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_an_operator_keeps_it(product: Product):
    person = await product.signed_in(is_operator=True)
    for answer in (await ask(person), await remove(person, "123456")):
        assert answer.status_code == 409
        assert "fanfold operators" in answer.json()["detail"]


@pytest.mark.parametrize("code", ["", "12345", "１２３４５６", "1234567", " 12345", None, 123456])
async def test_what_is_no_code_is_refused_uncounted(product: Product, code):
    person = await product.signed_in()
    for _ in range(2):
        answer = await person.http.post(f"{PATH}/confirm", json={"code": code})
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "code"])


async def test_a_key_has_none(product: Product):
    tenant = await product.tenant()
    assert (await tenant.http.post(PATH, json={"current_password": PASSWORD})).status_code == 403
