"""The client credentials grant (RFC 6749, section 4.4): a token for a machine, resting on its client."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_plus
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.auth.principal import Scope
from fanfold.core.crypto import KeyRing
from fanfold.core.identifiers import uuid7
from fanfold.core.values import value
from fanfold.oauth.authenticator import allowed_scopes
from fanfold.oauth.clients import is_well_formed
from fanfold.oauth.errors import InvalidClient, InvalidRequest, InvalidScope
from fanfold.oauth.models import OAuthClient, SignIn
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.tokens import AccessTokens, scopes_of
from fanfold.oauth.types import Issued

WRONG = "The client is unknown, its secret is wrong, or it is revoked."
# Of many that ask at once few write: who asks all the time must not wait for itself.
_APART = timedelta(minutes=1)
_BASIC = {"WWW-Authenticate": 'Basic realm="fanfold"'}


@value
class ClientCredentials:
    """What a client says of itself; `by_basic`: in the Authorization header and not in the form."""

    client_id: str
    secret: SecretStr
    by_basic: bool = False

    def refusal(self) -> InvalidClient:
        """Return the refusal, with the scheme that was used (RFC 6749, section 5.2)."""
        return InvalidClient(WRONG, headers=_BASIC if self.by_basic else {})


def client_credentials(
    authorization: str | None, client_id: str | None, secret: str | None
) -> ClientCredentials | None:
    """Return who the client says it is, by HTTP Basic or by the form; None where it says nothing.

    Raises `InvalidRequest` for both at once, `InvalidClient` for a header that cannot be read.
    """
    if authorization is None or not authorization.lower().startswith("basic "):
        return ClientCredentials(client_id, SecretStr(secret or "")) if client_id else None
    if secret is not None:
        raise InvalidRequest("Send the client's secret by HTTP Basic or in the form, not both.")
    try:
        plain = base64.b64decode(authorization[6:].strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidClient(WRONG, headers=_BASIC) from None
    name, _, password = plain.partition(":")
    return ClientCredentials(unquote_plus(name), SecretStr(unquote_plus(password)), by_basic=True)


class ClientGrant:
    """Gives tokens to machine clients, on one identity session."""

    def __init__(self, session: AsyncSession, tokens: AccessTokens, key_ring: KeyRing) -> None:
        self._session, self._sign_ins = session, SignInRepository(session)
        self._tokens, self._key_ring = tokens, key_ring

    async def find(self, shown: ClientCredentials) -> OAuthClient:
        """Return the client whose id and secret these are; a secret without its checksum reaches no query."""
        try:
            client_id = UUID(shown.client_id)
        except ValueError:
            raise shown.refusal() from None
        secret = shown.secret.get_secret_value()
        if not is_well_formed(secret):
            raise shown.refusal()
        found = select(OAuthClient).where(
            OAuthClient.digest.in_(self._key_ring.digests(secret)), OAuthClient.revoked_at.is_(None)
        )
        client = await self._session.scalar(found)
        if client is None or client.id != client_id:
            raise shown.refusal()
        return client

    async def give(self, shown: ClientCredentials, *, scope: str | None) -> Issued:
        """Return an access token; there is no refresh token, the credentials are at hand."""
        key = await self._tokens.key()
        client = await self.find(shown)
        asked = scopes_of(scope) if scope else frozenset(map(Scope, client.scopes))
        if not asked <= set(map(Scope, client.scopes)):
            raise InvalidScope("A scope is asked for that the client does not have.")
        sign_in = await self._sign_ins.add(
            SignIn(
                id=uuid7(),
                client_id=client.id,
                tenant_id=client.tenant_id,
                scopes=sorted(asked),
                expires_at=datetime.now(UTC) + timedelta(seconds=self._tokens.lifetime_s),
            )
        )
        if client.last_used_at is None or datetime.now(UTC) - client.last_used_at > _APART:
            used = update(OAuthClient).where(
                OAuthClient.tenant_id == client.tenant_id, OAuthClient.id == client.id
            )
            await self._session.execute(used.values(last_used_at=func.now()))
        rights = await self._sign_ins.rights(sign_in.id)
        allowed = allowed_scopes(rights) if rights else frozenset()
        return self._tokens.issue(sign_in, allowed, key)
