"""Who has ended the account, or was deactivated, while a token of theirs is believed for a second more."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.types import Actor
from fanfold.core.db import Database
from fanfold.core.errors import NotAuthenticated
from fanfold.core.identifiers import uuid7
from fanfold.members.acceptance import accept
from fanfold.members.invitation_mails import make_token
from fanfold.members.membership_repository import MembershipRepository
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.users.founding import found_tenant
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.models import Membership, User
from fanfold.users.own_account_service import OwnAccountService
from fanfold.users.own_totp import OwnSecondFactor
from fanfold.users.passwords import Passwords
from fanfold.users.schemas import PasswordChange, PersonUpdate
from fanfold.users.totp import SecondFactor
from fanfold.users.tries import AccountTries
from tests.fixtures.app import PASSWORD, Product
from tests.fixtures.database import connect

ACTOR = Actor(kind="user")


async def test_they_found_nothing(product: Product):
    person = await product.person(is_active=False)
    async with product.app.state.database.identity_session() as session:
        with pytest.raises(NotAuthenticated):
            await found_tenant(session, person.id, "a tenant of nobody's", None, ACTOR)


async def test_they_join_nothing(product: Product):
    tenant, person = await product.tenant(), await product.person()
    body = {"email": person.email, "role": "developer"}
    made = (await tenant.http.post("/v1/tenant/invitations", json=body)).json()
    tokens = MailedTokens(product.app.state.key_ring)
    token = await make_token(tokens, tenant.id, UUID(made["id"]), lifetime_s=60)
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(update(User).where(User.id == person.id).values(is_active=False))
    async with product.app.state.database.identity_session() as session:
        with pytest.raises(NotAuthenticated):
            await accept(session, tokens, token, person.id, ACTOR)


def _account(product: Product, session: AsyncSession, user_id: UUID) -> OwnAccountService:
    tries = AccountTries(product.app.state.rate_limit_store, product.app.state.settings.identity)
    passwords, address = product.app.state.passwords, str(uuid7())
    return OwnAccountService(
        session=session, passwords=passwords, tries=tries, user_id=user_id, actor=ACTOR, address=address
    )


def _second_factor(product: Product, account: OwnAccountService) -> OwnSecondFactor:
    return OwnSecondFactor(
        account=account, factor=SecondFactor(account.users, product.app.state.key_ring, MemoryStore())
    )


CURRENT = SecretStr(PASSWORD)
CHANGES: dict[str, Callable[[OwnAccountService, OwnSecondFactor], Awaitable[object]]] = {
    "name": lambda account, _: account.change(PersonUpdate(name="艾达")),
    "address": lambda account, _: account.change(
        PersonUpdate(email="new@example.com", current_password=CURRENT)
    ),
    "password": lambda account, _: account.change_password(
        PasswordChange(current_password=CURRENT, new_password=SecretStr("zwölf blaue Boote")), session_id=None
    ),
    "second factor": lambda _, factor: factor.enrol(PASSWORD),
    "its first code": lambda _, factor: factor.confirm("123456"),
    "its end": lambda _, factor: factor.remove(PASSWORD, "123456"),
}
_WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


@pytest.mark.parametrize("name", CHANGES)
async def test_they_change_nothing_of_what_is_left(product: Product, name: str):
    person = await product.person(is_active=False)
    async with product.app.state.database.identity_session() as session:
        account = _account(product, session, person.id)
        with pytest.raises(NotAuthenticated):
            await CHANGES[name](account, _second_factor(product, account))


@pytest.mark.parametrize("name", CHANGES)
async def test_nor_where_the_account_ends_at_the_very_moment(product: Product, name: str):
    person, database = await product.person(), product.app.state.database
    ended = "update fanfold.users set is_active = false, hashed_password = '' where id = $1"
    ending = await connect(product.database.superuser_url)
    try:
        async with database.identity_session() as session:
            account = _account(product, session, person.id)
            async with ending.transaction():
                await ending.execute(ended, person.id)
                change = asyncio.ensure_future(CHANGES[name](account, _second_factor(product, account)))
                async with asyncio.timeout(60):
                    while not await ending.fetchval(_WAITING):
                        await asyncio.sleep(0.01)
            with pytest.raises(NotAuthenticated):
                await change
        row = await ending.fetchrow("select * from fanfold.users where id = $1", person.id)
        assert (row["name"], row["hashed_password"], row["totp_wanted_sealed"]) == ("", "", None)
    finally:
        await ending.close()


class _Slow(Passwords):
    """Hashes a new password for so long that the account is deactivated meanwhile."""

    def __init__(self, database: Database, user_id: UUID) -> None:
        super().__init__(threads=1, queue=1)
        self._database, self._user_id = database, user_id

    async def chosen(self, password: str, *, known: Sequence[str], member: str = "password") -> str:
        async with self._database.identity_session() as session, session.begin():
            await session.execute(update(User).where(User.id == self._user_id).values(is_active=False))
        return await super().chosen(password, known=known, member=member)


async def test_nor_where_it_ends_while_the_new_password_is_hashed(product: Product):
    person, database = await product.person(), product.app.state.database
    slow = _Slow(database, person.id)
    async with database.identity_session() as session:
        account = replace(_account(product, session, person.id), passwords=slow)
        with pytest.raises(NotAuthenticated):
            await CHANGES["password"](account, _second_factor(product, account))
    slow.close()


async def test_they_are_shown_nothing(product: Product):
    person = await product.person(is_active=False)
    async with product.app.state.database.identity_session() as session:
        with pytest.raises(NotAuthenticated):
            await _account(product, session, person.id).get()


async def test_who_leaves_while_the_list_is_read_is_not_in_it(product: Product):
    tenant, elsewhere = await product.tenant(), await product.person()
    gone = Membership(tenant_id=tenant.id, user_id=elsewhere.id, role="viewer")
    async with product.app.state.database.session(tenant.id) as session, session.begin():
        assert await MembershipRepository(session, tenant.id)._named([gone]) == []
