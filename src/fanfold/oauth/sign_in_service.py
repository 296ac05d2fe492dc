"""Signing in with a password: who, into which tenant, with which scopes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from fanfold.auth.principal import Scope
from fanfold.core.crypto import KeyRing
from fanfold.core.identifiers import uuid7
from fanfold.core.signing_key import SigningKey
from fanfold.core.values import value
from fanfold.oauth.authenticator import allowed_scopes
from fanfold.oauth.errors import InvalidGrant, InvalidScope
from fanfold.oauth.models import RefreshToken, SignIn
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.schemas import TokenForm
from fanfold.oauth.tokens import AccessTokens, new_refresh_token, scopes_of
from fanfold.oauth.types import Issued
from fanfold.tenants.repository import TenantRepository
from fanfold.users.models import User
from fanfold.users.totp import SecondFactor

if TYPE_CHECKING:
    from fanfold.users.manager import UserManager  # which comes when somebody signs in

MOST_SIGN_INS = 50
WRONG = "The address, the password or the code is wrong, or the address is not verified yet."


@value(kw_only=True)
class SignInService:
    """Makes sign-ins and their first tokens, on one identity session."""

    manager: "UserManager"
    sign_ins: SignInRepository
    tenants: TenantRepository
    tokens: AccessTokens
    second_factor: SecondFactor
    key_ring: KeyRing
    lifetime: timedelta

    async def with_password(self, form: TokenForm, *, user_agent: str | None) -> Issued:
        """Return tokens of the person whose address and password these are."""
        key = await self.tokens.key()
        code = form.otp
        user = await self.manager.authenticate(form, before_lock=self._count_code if code else None)
        if user is None:
            raise InvalidGrant(WRONG)
        sign_in = await self.sign_ins.add(
            SignIn(
                id=uuid7(),
                user_id=user.id,
                tenant_id=await self._tenant(user, form.tenant),
                # An empty one counts as omitted (RFC 6749, section 3.2).
                scopes=sorted(scopes_of(form.scope)) if form.scope else None,
                user_agent=user_agent[:200] if user_agent else None,
                expires_at=datetime.now(UTC) + self.lifetime,
            )
        )
        await self.sign_ins.end_beyond(user.id, most=MOST_SIGN_INS)
        allowed = await self._allowed(sign_in)
        # Last: a code that was right is not to be used up by a sign-in that is refused for something else.
        await self._check_second_factor(user, code)
        return await self._issue(sign_in, allowed, key)

    async def _count_code(self, user: User) -> None:
        if user.totp_sealed is not None:
            await self.second_factor.count_try(user.id)

    async def _check_second_factor(self, user: User, code: str | None) -> None:
        if user.totp_sealed is None:
            return
        if code is None:
            raise InvalidGrant("A code of your second factor is needed: send it as otp.")
        if not await self.second_factor.check(user, code):
            raise InvalidGrant(WRONG)

    async def _allowed(self, sign_in: SignIn) -> frozenset[Scope]:
        rights = await self.sign_ins.rights(sign_in.id)
        allowed = allowed_scopes(rights) if rights else frozenset()
        if sign_in.scopes is not None and not allowed.issuperset(map(Scope, sign_in.scopes)):
            raise InvalidScope("A scope is asked for that your role there does not have.")
        return allowed

    async def _issue(self, sign_in: SignIn, allowed: frozenset[Scope], key: SigningKey) -> Issued:
        """Return the first tokens of a sign-in."""
        refresh = new_refresh_token()
        digest = self.key_ring.digest(refresh.get_secret_value())
        await self.sign_ins.add_token(RefreshToken(digest=digest, session_id=sign_in.id))
        return self.tokens.issue(sign_in, allowed, key, refresh_token=refresh)

    async def _tenant(self, user: User, slug: str | None) -> UUID | None:
        """Return the tenant that is asked for, else the oldest membership's; an operator without a word has none."""
        memberships = await self.manager.users.memberships(user.id)
        if slug is None:
            return None if user.is_operator or not memberships else memberships[0].tenant_id
        tenant = await self.tenants.find_by_slug(slug)
        if tenant is None or tenant.id not in {each.tenant_id for each in memberships}:
            raise InvalidGrant("You do not belong to a tenant of that slug.")
        return tenant.id
