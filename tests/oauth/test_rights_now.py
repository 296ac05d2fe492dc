"""A sign-in opens what its person may do now: each change holds within two seconds, and what ended stays ended."""

import asyncio
import time

from sqlalchemy import delete, update

from fanfold.auth.principal import Role
from fanfold.oauth.authenticator import TokenAuthenticator
from fanfold.users.models import Membership, User
from tests.fixtures.app import Person, Product
from tests.fixtures.promises import EFFECTIVE_WITHIN_S


async def _becomes(person: Person, path: str, status: int) -> None:
    """Wait until the person's token is answered so; fails after two seconds."""
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await person.http.get(path)).status_code != status:
            await asyncio.sleep(0.05)


async def change(product: Product, statement) -> None:
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(statement)


async def test_who_left_and_came_back_signs_in_anew(product: Product):
    tenant = await product.tenant()
    await product.person(tenant)
    person = await product.signed_in(tenant, Role.ADMIN)
    mine = (Membership.tenant_id == tenant.id, Membership.user_id == person.id)
    await change(product, delete(Membership).where(*mine))
    await _becomes(person, "/v1/me", 401)
    async with product.app.state.database.identity_session() as session, session.begin():
        session.add(Membership(tenant_id=tenant.id, user_id=person.id, role="viewer"))
    await asyncio.sleep(1.1)
    assert (await person.http.get("/v1/me")).status_code == 401
    await person.sign_in()
    assert (await person.http.get("/v1/usage")).status_code == 200


async def test_a_lower_role_counts_for_the_token_that_was_given_before(product: Product):
    tenant = await product.tenant()
    person = await product.signed_in(tenant, Role.DEVELOPER)
    assert (await person.http.get("/v1/usage")).status_code == 200
    wanted = {"slug": "one", "kind": "http_json", "url": "https://one.example/"}
    await change(
        product, update(Membership).where(Membership.user_id == person.id).values(role=Role.VIEWER.value)
    )
    async with asyncio.timeout(EFFECTIVE_WITHIN_S):
        while (await person.http.post("/v1/upstreams", json=wanted)).status_code != 403:
            await asyncio.sleep(0.05)


async def test_who_is_deactivated_is_out(product: Product):
    person = await product.signed_in()
    await change(product, update(User).where(User.id == person.id).values(is_active=False))
    await _becomes(person, "/v1/me", 401)


async def test_a_token_that_is_over_is_refused_though_it_was_judged_just_now(product: Product):
    state, clock = product.app.state, [time.time()]
    issuer = state.settings.server.own_url
    judge = TokenAuthenticator(state.database, state.signing_keys, issuer=issuer, now=lambda: clock[0])
    token = (await product.signed_in()).tokens["access_token"]
    clock[0] = time.time()
    assert await judge.authenticate(token) is not None
    clock[0] += 600
    assert await judge.authenticate(token) is None
