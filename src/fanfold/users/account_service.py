"""Accounts of people who have not signed in: registering, verifying an address, a forgotten password."""

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict, InsufficientScope
from fanfold.core.values import value
from fanfold.outbox import writer as outbox
from fanfold.users.account_mails import REGISTERED, RESET, VERIFY
from fanfold.users.addresses import address_key
from fanfold.users.errors import token_over
from fanfold.users.founding import found_tenant
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.models import User
from fanfold.users.passwords import Passwords
from fanfold.users.repository import UserRepository
from fanfold.users.schemas import PasswordReset, Registration
from fanfold.users.tries import AccountTries

_ASK_VERIFY = "Ask for another one with POST /v1/auth/request-verify."
_ASK_RESET = "Ask for another one with POST /v1/auth/forgot-password."


@value(kw_only=True)
class AccountService:
    """On one identity session, which waits for no hash: whatever takes long comes before its first statement."""

    session: AsyncSession
    passwords: Passwords
    tokens: MailedTokens
    tries: AccountTries
    registration: Literal["open", "invite", "closed"]
    request_id: str | None

    @property
    def users(self) -> UserRepository:
        """People, on this session."""
        return UserRepository(self.session)

    async def register(self, wanted: Registration) -> None:
        """Take a registration: the same work, whether the address is known or not; a 403 where nobody may."""
        if self.registration == "closed":
            raise InsufficientScope("Nobody registers here: the operator of this server makes accounts.")
        password = wanted.password.get_secret_value()
        hashed = await self.passwords.chosen(password, known=[wanted.email, wanted.tenant_name or ""])
        if self.registration == "open" or await self.users.is_invited(wanted.email):
            await self.users.register(wanted.email, hashed, wanted.tenant_name)
        await self.ask_for_mail(REGISTERED, wanted.email)

    async def ask_for_mail(self, topic: str, email: str) -> None:
        """Write one row of the outbox, whether there is an account or not: its handler finds out."""
        key = address_key(email)
        if await self.tries.may_mail(topic, key):
            await outbox.add(self.session, outbox.NO_TENANT, topic, {"email_key": key})

    async def verify(self, token: str) -> None:
        """Take an address as proven, the first or a new one, and found the tenant that was wanted.

        A 422 where the token is over, or the account has another address or password by now. Twice does no harm.
        """
        claims = await self.tokens.read(VERIFY, token)
        user = await self._named(claims)
        if claims is None or user is None:
            raise token_over(_ASK_VERIFY)
        email = str(claims["email"])
        if user.is_verified and user.email == email:
            return
        if not self._is_as_then(user, claims):
            raise token_over(_ASK_VERIFY)
        if email != user.email:
            await self._move(user, email)
        await self._confirm(user)

    async def reset(self, wanted: PasswordReset) -> None:
        """Set a new password by a mailed token, which works once; ends every sign-in, and proves the address."""
        claims = await self.tokens.read(RESET, wanted.token.get_secret_value())
        if claims is None:
            raise token_over(_ASK_RESET)
        hashed = await self.passwords.chosen(wanted.password.get_secret_value(), known=[str(claims["was"])])
        user = await self._named(claims)
        if user is None or not self._is_as_then(user, claims):
            raise token_over(_ASK_RESET)
        await self.users.update(user, {"hashed_password": hashed, "credentials_changed_at": func.now()})
        await self.users.end_sign_ins(user.id)
        await self._record("user.password_reset", user)
        if not user.is_verified:
            await self._confirm(user)

    async def _named(self, claims: dict[str, Any] | None) -> User | None:
        """Return whose token this is, locked, if the account is active."""
        user = await self.users.lock(UUID(str(claims["sub"]))) if claims else None
        return user if user is not None and user.is_active else None

    def _is_as_then(self, user: User, claims: dict[str, Any]) -> bool:
        """Whether neither address nor password changed; a mail to an address of before lets nobody in."""
        # An address may come back (A, B, A), which the fingerprint tells.
        return bool(user.email == claims["was"]) and self.tokens.is_fingerprint(claims["credentials"], user)

    async def _move(self, user: User, email: str) -> None:
        try:
            moved = {"email": email, "email_key": address_key(email), "credentials_changed_at": func.now()}
            await self.users.update(user, moved)
        except IntegrityError:  # somebody registered with it meanwhile
            raise token_over("The address belongs to another account by now.") from None
        await self._record("user.address_changed", user)

    async def _confirm(self, user: User) -> None:
        if user.is_verified:
            return
        name = user.wanted_tenant
        await self.users.update(user, {"is_verified": True, "wanted_tenant": None})
        await self._record("user.verified", user)
        if name is None or self.registration != "open":
            return
        try:
            await found_tenant(self.session, user.id, name, None, self._actor(user))
        except Conflict:  # owns as many as one may; the address is verified all the same
            return

    async def _record(self, action: str, user: User) -> None:
        actor = self._actor(user)
        await audit.record(self.session, actor, action=action, object_kind="user", object_id=user.id)

    def _actor(self, user: User) -> Actor:
        # A mailed token proves who this is as a sign-in does.
        return Actor(kind="user", id=user.id, request_id=self.request_id)
