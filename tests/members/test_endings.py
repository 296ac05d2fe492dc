"""Who has ended the account, or was deactivated, while a token of theirs is believed for a second more."""

from uuid import UUID

import pytest
from sqlalchemy import update

from fanfold.audit.types import Actor
from fanfold.core.errors import NotAuthenticated
from fanfold.members.acceptance import accept
from fanfold.members.invitation_mails import make_token
from fanfold.members.membership_repository import MembershipRepository
from fanfold.users.founding import found_tenant
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.models import Membership, User
from tests.fixtures.app import Product

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
    token = make_token(tokens, tenant.id, UUID(made["id"]), lifetime_s=60)
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(update(User).where(User.id == person.id).values(is_active=False))
    async with product.app.state.database.identity_session() as session:
        with pytest.raises(NotAuthenticated):
            await accept(session, tokens, token, person.id, ACTOR)


async def test_who_leaves_while_the_list_is_read_is_not_in_it(product: Product):
    tenant, elsewhere = await product.tenant(), await product.person()
    gone = Membership(tenant_id=tenant.id, user_id=elsewhere.id, role="viewer")
    async with product.app.state.database.session(tenant.id) as session, session.begin():
        assert await MembershipRepository(session, tenant.id)._named([gone]) == []
