"""Signing in with a password: who, into which tenant, with which scopes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from fanfold.auth.principal import Scope
from fanfold.core.crypto import KeyRing
from fanfold.core.identifiers import uuid7
from fanfold.oauth.authenticator import allowed_scopes
from fanfold.oauth.errors import InvalidGrant, InvalidScope
from fanfold.oauth.models import RefreshToken, SignIn
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.schemas import TokenForm
from fanfold.oauth.tokens import AccessTokens, new_refresh_token
from fanfold.oauth.types import Issued
from fanfold.tenants.repository import TenantRepository
from fanfold.users.manager import UserManager
from fanfold.users.models import User
from fanfold.users.totp import SecondFactor

CODE_NEEDED = "A code of your second factor is needed: send it as otp."
WRONG = "The address, the password or the code is wrong, or the address is not verified yet."


class SignInService:
    """Makes sign-ins and their first tokens, on one identity session."""

    def __init__(  # noqa: PLR0913, PLR0917 (what it depends on)
        self,
        manager: UserManager,
        second_factor: SecondFactor,
        sign_ins: SignInRepository,
        tenants: TenantRepository,
        tokens: AccessTokens,
        key_ring: KeyRing,
        refresh_days: int,
    ) -> None:
        self._manager, self._sign_ins, self._tenants = manager, sign_ins, tenants
        self._second_factor = second_factor
        self._tokens, self._key_ring = tokens, key_ring
        self._lifetime = timedelta(days=refresh_days)

    async def with_password(self, form: TokenForm, *, user_agent: str | None) -> Issued:
        """Return tokens of the person whose address and password these are."""
        user = await self._manager.authenticate(form)
        if user is None:
            raise InvalidGrant(WRONG)
        await self._check_second_factor(user, form.otp)
        sign_in = await self._sign_ins.add(
            SignIn(
                id=uuid7(),
                user_id=user.id,
                tenant_id=await self._tenant(user, form.tenant),
                scopes=sorted(scopes_of(form.scope))
                if form.scope
                else None,  # empty: omitted (RFC 6749, 3.2)
                user_agent=user_agent[:200] if user_agent else None,
                expires_at=datetime.now(UTC) + self._lifetime,
            )
        )
        return await self.issue(sign_in)

    async def issue(self, sign_in: SignIn) -> Issued:
        """Return the first tokens of a sign-in."""
        refresh = new_refresh_token()
        digest = self._key_ring.digest(refresh.get_secret_value())
        await self._sign_ins.add_token(RefreshToken(digest=digest, session_id=sign_in.id))
        allowed = allowed_scopes(dict(await self._sign_ins.rights(sign_in.id)))
        if sign_in.scopes is not None and not allowed.issuperset(map(Scope, sign_in.scopes)):
            raise InvalidScope("A scope is asked for that your role there does not have.")
        return Issued(
            access_token=await self._tokens.mint(sign_in, allowed),
            expires_in=self._tokens.lifetime_s,
            scope=" ".join(sorted(allowed)),
            refresh_token=refresh,
        )

    async def _check_second_factor(self, user: User, code: str | None) -> None:
        """Refuse whoever has a second factor and does not show it; asked for only once the password was right."""
        if user.totp_sealed is None:
            return
        if not code:
            raise InvalidGrant(CODE_NEEDED)
        if not await self._second_factor.check(user, code):
            raise InvalidGrant(WRONG)

    async def _tenant(self, user: User, slug: str | None) -> UUID | None:
        """Return the tenant that is asked for, else the oldest membership's; an operator without a word has none."""
        memberships = await self._manager.users.memberships(user.id)
        if slug is None:
            return None if user.is_operator or not memberships else memberships[0].tenant_id
        tenant = await self._tenants.find_by_slug(slug)
        if tenant is None or tenant.id not in {each.tenant_id for each in memberships}:
            raise InvalidGrant("You do not belong to a tenant of that slug.")
        return tenant.id


def scopes_of(scope: str) -> frozenset[Scope]:
    """Return the scopes of a space-separated list; raises `InvalidScope`."""
    known = {each.value for each in Scope}
    asked = set(scope.split())
    if not asked <= known:
        raise InvalidScope(f"Known scopes: {' '.join(sorted(known))}.")
    return frozenset(map(Scope, asked))
