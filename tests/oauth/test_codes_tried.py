"""Tries of the second factor's codes: only of who knows the password, and counted before anybody holds the row."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.types import Actor
from fanfold.core.errors import ValidationFailed
from fanfold.oauth.errors import InvalidGrant
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.schemas import TokenForm
from fanfold.oauth.sign_in_service import SignInService
from fanfold.ratelimit.base import Bucket, Decision
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.tenants.repository import TenantRepository
from fanfold.users.manager import UserManager
from fanfold.users.own_account_service import OwnAccountService
from fanfold.users.own_totp import OwnSecondFactor
from fanfold.users.repository import UserRepository
from fanfold.users.totp import TRIES_BURST, SecondFactor
from fanfold.users.tries import AccountTries
from tests.fixtures.app import PASSWORD, Person, Product
from tests.oauth.test_guessing import with_second_factor


class Looking(MemoryStore):
    """Notes at each try of a code whether somebody holds the person's row."""

    def __init__(self, product: Product, user_id: UUID) -> None:
        super().__init__()
        self.free: list[bool] = []
        self._database, self._user_id = product.app.state.database, user_id

    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        locked = "select id from fanfold.users where id = :id for update skip locked"
        if buckets[0].name == "totp":
            async with self._database.identity_session() as session:
                found = await session.execute(text(locked), {"id": self._user_id})
                self.free.append(found.one_or_none() is not None)
        return await super().take(buckets)


Trying = Callable[[Product, AsyncSession, Person, Looking], Awaitable[Any]]


async def _sign_in(product: Product, session: AsyncSession, person: Person, store: Looking) -> Any:
    state, users = product.app.state, UserRepository(session)
    service = SignInService(
        manager=UserManager(users, state.passwords),
        sign_ins=SignInRepository(session),
        tenants=TenantRepository(session),
        tokens=state.access_tokens,
        second_factor=SecondFactor(users, state.key_ring, store),
        key_ring=state.key_ring,
        lifetime=timedelta(days=1),
    )
    form = TokenForm(username=person.email, password=PASSWORD, otp="1")
    return await service.with_password(form, user_agent=None)


def _own(product: Product, session: AsyncSession, person: Person, store: Looking) -> OwnSecondFactor:
    state = product.app.state
    account = OwnAccountService(
        session=session,
        passwords=state.passwords,
        tries=AccountTries(store, state.settings.identity),
        user_id=person.id,
        actor=Actor(kind="user", id=person.id),
        address="2001:db8::/64",
    )
    return OwnSecondFactor(account=account, factor=SecondFactor(account.users, state.key_ring, store))


async def _remove(product: Product, session: AsyncSession, person: Person, store: Looking) -> Any:
    return await _own(product, session, person, store).remove(PASSWORD, "1")


async def _confirm(product: Product, session: AsyncSession, person: Person, store: Looking) -> Any:
    wanted = "update fanfold.users set totp_wanted_sealed = totp_sealed, totp_sealed = null where id = :id"
    await session.execute(text(wanted), {"id": person.id})
    await session.commit()
    return await _own(product, session, person, store).confirm("1")


@pytest.mark.parametrize("trying", [_sign_in, _remove, _confirm])
async def test_a_try_is_counted_once_while_nobody_holds_the_row(product: Product, trying: Trying):
    person = await product.person()
    await with_second_factor(product, person)
    store = Looking(product, person.id)
    async with product.app.state.database.identity_session() as session:
        with pytest.raises((InvalidGrant, ValidationFailed)):
            await trying(product, session, person, store)
    assert store.free == [True]


async def _ask(product: Product, person: Person, code: str, password: str = PASSWORD) -> int:
    form = {"username": person.email, "password": password, "otp": code}
    return (await product.stranger().post("/v1/auth/token", data=form)).status_code


async def test_of_twenty_at_once_as_many_are_looked_at_as_may_be(product: Product):
    person = await product.person()
    await with_second_factor(product, person)
    answers = await asyncio.gather(*(_ask(product, person, "1") for _ in range(20)))
    assert Counter(answers) == {400: TRIES_BURST, 429: 20 - TRIES_BURST}


async def test_who_has_not_the_password_uses_up_no_try(product: Product):
    person = await product.person()
    codes = await with_second_factor(product, person)
    for _ in range(TRIES_BURST + 1):
        assert await _ask(product, person, "1", "wrong") == 400
    await person.sign_in(otp=codes.now())
    signed_in = [
        await person.http.request(
            "DELETE", "/v1/me/totp", json={"current_password": "wrong", "code": "123456"}
        )
        for _ in range(TRIES_BURST + 1)
    ]
    assert {answer.status_code for answer in signed_in} == {422}
    assert await _ask(product, person, "1") == 400
