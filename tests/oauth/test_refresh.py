"""Refresh tokens: used once, the same again within the grace, and the end of the family beyond it."""

import asyncio
from datetime import datetime, timedelta

import pytest
from jose import jwt
from sqlalchemy import func, select, text, update

from fanfold.auth.principal import Role
from fanfold.core.crypto import KeyRing
from fanfold.oauth.models import RefreshToken, SignIn
from fanfold.oauth.refresh_service import GRACE
from tests.fixtures.app import SECRET, Person, Product, product_settings, running_product
from tests.fixtures.promises import EFFECTIVE_WITHIN_S
from tests.oauth.test_rights_now import change


async def _refresh(product: Product, token: str, **form: str):
    stranger = product.stranger()
    return await stranger.post(
        "/v1/auth/token", data={"grant_type": "refresh_token", "refresh_token": token, **form}
    )


async def _pass(product: Product, by: timedelta) -> None:
    """Let what was used have been used earlier."""
    statement = update(RefreshToken).where(RefreshToken.used_at.is_not(None))
    await change(product, statement.values(used_at=RefreshToken.used_at - by))


async def _live_leaves(product: Product, person: Person) -> int:
    live = (
        select(func.count())
        .select_from(RefreshToken)
        .join(SignIn, SignIn.id == RefreshToken.session_id)
        .where(SignIn.user_id == person.id, SignIn.revoked_at.is_(None), RefreshToken.used_at.is_(None))
    )
    async with product.app.state.database.identity_session() as session:
        return await session.scalar(live) or 0


async def _is_in(product: Product, access_token: str) -> bool:
    answer = await product.stranger().get("/v1/me", headers={"Authorization": f"Bearer {access_token}"})
    return answer.status_code == 200


async def test_it_gives_new_tokens_with_the_rights_of_now(product: Product):
    tenant = await product.tenant()
    person = await product.signed_in(tenant, Role.VIEWER)
    assert person.tokens["scope"] == "usage:read"
    await change(
        product, text(f"update fanfold.memberships set role = 'developer' where user_id = '{person.id}'")
    )
    answer = await _refresh(product, person.tokens["refresh_token"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["scope"] == "jobs process upstreams:write usage:read"
    assert answer.json()["refresh_token"] != person.tokens["refresh_token"]
    assert answer.headers["cache-control"] == "no-store"
    assert await _is_in(product, answer.json()["access_token"])
    empty = await _refresh(
        product, answer.json()["refresh_token"], scope=""
    )  # counts as omitted: RFC 6749, 3.2
    assert empty.json()["scope"] == answer.json()["scope"]
    narrow = await _refresh(product, empty.json()["refresh_token"], scope="process")
    assert narrow.json()["scope"] == "process"
    machine = product.http(narrow.json()["access_token"])
    wanted = {"slug": "one", "kind": "http_json", "url": "https://one.example/"}
    assert (await machine.post("/v1/upstreams", json=wanted)).status_code == 403
    wide = await _refresh(product, narrow.json()["refresh_token"], scope="tenant:write")
    assert (wide.status_code, wide.json()["error"]) == (400, "invalid_scope")


async def test_20_at_once_leave_one_live_leaf(product: Product, figures):
    person = await product.signed_in()
    shown = person.tokens["refresh_token"]
    answers = await asyncio.gather(*(_refresh(product, shown) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    leaves = await _live_leaves(product, person)
    assert leaves == 1
    figures(f"refresh: 20 at once, {len(answers)} answered 200 with one successor, {leaves} live leaf")


async def test_the_same_successor_is_given_for_20_seconds(product: Product):
    person = await product.signed_in()
    shown = person.tokens["refresh_token"]
    first = (await _refresh(product, shown)).json()
    await _pass(product, timedelta(seconds=15))
    again = await _refresh(product, shown)
    assert (again.status_code, again.json()["refresh_token"]) == (200, first["refresh_token"])
    await _pass(product, timedelta(seconds=10))
    assert (await _refresh(product, shown)).status_code == 400
    assert await _live_leaves(product, person) == 0


@pytest.mark.parametrize("is_thief_first", [True, False])
async def test_a_stolen_token_ends_the_family_of_both(product: Product, is_thief_first: bool):
    person = await product.signed_in()
    first = (await _refresh(product, person.tokens["refresh_token"])).json()
    if is_thief_first:  # and has gone on with what it got
        first = (await _refresh(product, first["refresh_token"])).json()
    await _pass(product, GRACE + timedelta(seconds=1))
    again = await _refresh(product, person.tokens["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await _refresh(product, first["refresh_token"])).status_code == 400
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while await _is_in(product, first["access_token"]):
            await asyncio.sleep(0.05)
    assert await _live_leaves(product, person) == 0
    async with product.app.state.database.operator_session() as session:
        found = await session.scalar(
            text("select count(*) from fanfold.audit_events where action = 'session.refresh_token_reused'")
        )
    assert found


async def test_within_the_grace_a_successor_that_was_used_is_no_excuse(product: Product):
    person = await product.signed_in()
    first = (await _refresh(product, person.tokens["refresh_token"])).json()
    assert (await _refresh(product, first["refresh_token"])).status_code == 200
    assert (await _refresh(product, person.tokens["refresh_token"])).status_code == 400
    assert await _live_leaves(product, person) == 0


async def _end_in(product: Product, person: Person, seconds: int) -> None:
    ends = func.now() + timedelta(seconds=seconds)
    await change(product, update(SignIn).where(SignIn.user_id == person.id).values(expires_at=ends))


async def _end(product: Product, person: Person) -> datetime:
    async with product.app.state.database.identity_session() as session:
        ends: datetime = await session.scalar(select(SignIn.expires_at).where(SignIn.user_id == person.id))
    return ends


async def test_no_refresh_moves_the_end_of_a_sign_in(product: Product):
    person = await product.signed_in()
    await _end_in(product, person, 60)
    before = await _end(product, person)
    answer = await _refresh(product, person.tokens["refresh_token"])
    assert answer.status_code == 200
    assert await _end(product, person) == before
    await _end_in(product, person, 0)
    assert (await _refresh(product, answer.json()["refresh_token"])).status_code == 400


async def test_no_access_token_outlives_its_sign_in(product: Product):
    person = await product.signed_in()
    await _end_in(product, person, 60)
    answer = (await _refresh(product, person.tokens["refresh_token"])).json()
    claims = jwt.get_unverified_claims(answer["access_token"])
    assert 0 < answer["expires_in"] <= 60
    assert claims["exp"] == claims["iat"] + answer["expires_in"]
    assert await _is_in(product, person.tokens["access_token"])
    await _end_in(product, person, 0)
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while await _is_in(product, person.tokens["access_token"]):  # its own end is 10 minutes away
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "statement",
    [
        "update fanfold.users set is_active = false where id = '{}'",
        "delete from fanfold.memberships where user_id = '{}'",
        "update fanfold.sessions set revoked_at = now() where user_id = '{}'",
    ],
)
async def test_who_may_no_longer_is_refused(product: Product, statement: str):
    person = await product.signed_in(await product.tenant())
    await change(product, text(statement.format(person.id)))
    answer = await _refresh(product, person.tokens["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("token", ["x", "ff_refresh_" + "A" * 43, "你好"])
async def test_what_nobody_was_given_is_refused(product: Product, token: str):
    answer = await _refresh(product, token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_the_database_itself_keeps_a_family_to_one_live_leaf(product: Product):
    await product.signed_in()
    indexes = "select indexdef from pg_indexes where indexname = 'refresh_tokens_live_idx'"
    async with product.app.state.database.identity_session() as session:
        found = await session.scalar(text(indexes))
    assert "UNIQUE" in found
    assert "used_at IS NULL" in found


async def test_it_goes_on_across_a_new_secret_key(own_database):
    async with running_product(own_database, product_settings(own_database)) as product:
        person = await product.signed_in()
    settings = product_settings(own_database)
    newer = type(SECRET)("another secret of the tests, put before the one there was")
    ring = settings.security.model_copy(update={"secret_keys": [newer, SECRET]})
    async with running_product(own_database, settings.model_copy(update={"security": ring})) as product:
        first = await _refresh(product, person.tokens["refresh_token"])
        assert first.status_code == 200, first.text
        again = await _refresh(product, person.tokens["refresh_token"])
        assert again.json()["refresh_token"] == first.json()["refresh_token"]
        assert KeyRing([newer, SECRET]).digest("x") != KeyRing([SECRET]).digest("x")
