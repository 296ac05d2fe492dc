"""Refreshing a sign-in: each refresh token is used once, and one that is used again ends its whole family."""

from base64 import urlsafe_b64encode
from datetime import datetime, timedelta

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.auth.principal import Scope
from fanfold.core.crypto import KeyRing
from fanfold.core.telemetry.logging import get_logger
from fanfold.oauth.authenticator import allowed_scopes
from fanfold.oauth.errors import InvalidGrant, InvalidScope
from fanfold.oauth.models import RefreshToken, SignIn
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.tokens import REFRESH_PREFIX, AccessTokens, scopes_of
from fanfold.oauth.types import Issued

# A client whose answer was lost asks again with the token that it has (RFC 9700, section 4.14.2).
GRACE = timedelta(seconds=20)
OVER = "The refresh token is unknown, used or over. Sign in again."

_log = get_logger("fanfold.oauth")


class RefreshService:
    """Rotates refresh tokens, on one identity session; a family is locked by its sign-in's row."""

    def __init__(
        self, session: AsyncSession, tokens: AccessTokens, key_ring: KeyRing, *, request_id: str
    ) -> None:
        self._session, self._sign_ins = session, SignInRepository(session)
        self._tokens, self._key_ring, self._request_id = tokens, key_ring, request_id

    async def refresh(self, shown: str, *, scope: str | None) -> Issued | None:
        """Return new tokens of the sign-in; `scope` narrows the access token.

        Raises `InvalidGrant`; None where the token was used before: its family has ended, which is to be committed.
        """
        key = await self._tokens.key()
        token = await self._sign_ins.find_token(self._key_ring.digests(shown))
        sign_in = await self._sign_ins.lock(token.session_id) if token else None
        if token is None or sign_in is None:
            raise InvalidGrant(OVER)
        await self._session.refresh(token)
        now = await self._sign_ins.now()
        rights = await self._rights(sign_in, now)
        successor = await self._successor(token, shown, now)
        if successor is None:
            await self._end_family(sign_in)
            return None
        allowed = _narrowed(rights, scope)
        sign_in.last_used_at = now
        return self._tokens.issue(sign_in, allowed, key, refresh_token=successor)

    async def _rights(self, sign_in: SignIn, now: datetime) -> frozenset[Scope]:
        rights = await self._sign_ins.rights(sign_in.id)
        if sign_in.revoked_at is not None or sign_in.expires_at <= now or rights is None:
            raise InvalidGrant(OVER)
        return allowed_scopes(rights)

    async def _successor(self, token: RefreshToken, shown: str, now: datetime) -> SecretStr | None:
        """Return the token that follows, made now or within the grace; None where this one was used before."""
        followers = self._made_of(shown)
        if token.used_at is None:
            digest = self._key_ring.digest(followers[0].get_secret_value())
            await self._sign_ins.replace_token(token, digest, at=now)
            return followers[0]
        for made in followers:
            known = await self._sign_ins.find_token(self._key_ring.digests(made.get_secret_value()))
            if known is not None and known.used_at is None and now - token.used_at <= GRACE:
                return made
        return None

    def _made_of(self, shown: str) -> list[SecretStr]:
        """Return what follows a token, by every secret key, newest first: nobody else can tell, and nothing is kept."""
        return [
            SecretStr(REFRESH_PREFIX + urlsafe_b64encode(digest).decode().rstrip("="))
            for digest in self._key_ring.digests(f"refresh:{shown}")
        ]

    async def _end_family(self, sign_in: SignIn) -> None:
        await self._sign_ins.end(id=sign_in.id)
        _log.warning("A refresh token was used twice: its sign-in is ended.")
        await audit.record(
            self._session,
            Actor(kind="stranger", request_id=self._request_id),
            tenant_id=sign_in.tenant_id or audit.NO_TENANT,
            action="session.refresh_token_reused",
            object_kind="session",
            object_id=sign_in.id,
        )


def _narrowed(allowed: frozenset[Scope], scope: str | None) -> frozenset[Scope]:
    if not scope:  # an empty one counts as omitted (RFC 6749, section 3.2)
        return allowed
    asked = scopes_of(scope)
    if not asked <= allowed:
        raise InvalidScope("A scope is asked for that the sign-in does not have.")
    return asked
