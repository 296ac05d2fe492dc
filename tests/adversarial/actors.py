"""Everybody who may knock: each kind of credential, with what it may do written out here, not asked of the product."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyotp
from pydantic import SecretStr

from fanfold.auth.principal import TENANT_SCOPES, Role, Scope
from fanfold.core.identifiers import uuid7
from fanfold.oauth.models import OAuthClient, SignIn
from fanfold.users.models import User
from fanfold.users.totp import seal_secret
from tests.adversarial.routes import Party
from tests.fixtures.app import Person, Product, TenantClient

# The contract's own words.
VIEWER = frozenset({"usage:read"})
DEVELOPER = VIEWER | {"process", "jobs", "upstreams:write"}
ADMIN = DEVELOPER | {"keys:write", "webhooks:write", "members:write", "tenant:write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks: a credential, and what the contract lets it do. `lacks` is the scope that a key was made without."""

    name: str
    credential: str | None
    scopes: frozenset[str] = frozenset()
    is_person: bool = False
    has_tenant: bool = True
    is_suspended: bool = False
    is_of_another: bool = False
    lacks: str | None = field(default=None)


async def invite_actors(product: Product, party: Party) -> list[Actor]:
    """Return them all; those without another tenant's belong to the party's."""
    suspended = await product.tenant()
    actors = [
        Actor(name="anonymous", credential=None),
        Actor(name="garbage", credential="ff_live_garbage"),
        *[await _member(product, party.tenant, role, scopes) for role, scopes in _ROLES.items()],
        await _other_owner(product),
        await _homeless(product),
        await _operator(product),
        Actor(
            name="operator key", credential=_sent(party.operator.headers["authorization"]), scopes=_OPERATOR
        ),
        Actor(
            name="key with all", credential=await product.key(party.tenant.id, TENANT_SCOPES), scopes=ADMIN
        ),
        *[await _key_without(product, party.tenant, scope) for scope in sorted(ADMIN)],
        await _client(product, party.tenant, ADMIN),
        await _client(product, party.tenant, frozenset({"process"})),
        Actor(name="key of a suspended tenant", credential=suspended.key, scopes=ADMIN, is_suspended=True),
        await _suspended_owner(product, suspended),
    ]
    answer = await party.operator.post(f"/v1/admin/tenants/{suspended.id}/suspend")
    assert answer.status_code == 200, answer.text
    return actors


_ROLES = {Role.OWNER: ADMIN, Role.ADMIN: ADMIN, Role.DEVELOPER: DEVELOPER, Role.VIEWER: VIEWER}
_OPERATOR = frozenset({"operator"})


def _sent(header: str) -> str:
    return header.removeprefix("Bearer ")


def _token(person: Person) -> str:
    return str(person.tokens["access_token"])


async def _member(product: Product, tenant: TenantClient, role: Role, scopes: frozenset[str]) -> Actor:
    person = await product.signed_in(tenant, role)
    return Actor(name=role.value, credential=_token(person), scopes=scopes, is_person=True)


async def _other_owner(product: Product) -> Actor:
    person = await product.signed_in(await product.tenant())
    name = "owner of another tenant"
    return Actor(name=name, credential=_token(person), scopes=ADMIN, is_person=True, is_of_another=True)


async def _homeless(product: Product) -> Actor:
    person = await product.signed_in()
    return Actor(name="person without a tenant", credential=_token(person), is_person=True, has_tenant=False)


async def _suspended_owner(product: Product, tenant: TenantClient) -> Actor:
    member = await _member(product, tenant, Role.OWNER, ADMIN)
    name = "owner of a suspended tenant"
    return Actor(name=name, credential=member.credential, scopes=ADMIN, is_person=True, is_suspended=True)


async def _operator(product: Product) -> Actor:
    """Sign in with a second factor: nobody is an operator without one."""
    secret = pyotp.random_base32()
    person = await product.person(is_operator=True)
    async with product.app.state.database.identity_session() as session, session.begin():
        user = await session.get(User, person.id)
        user.totp_sealed = seal_secret(product.app.state.key_ring, person.id, SecretStr(secret))
    await person.sign_in(otp=pyotp.TOTP(secret).now())
    return Actor(
        name="operator", credential=_token(person), scopes=_OPERATOR, is_person=True, has_tenant=False
    )


async def _key_without(product: Product, tenant: TenantClient, scope: str) -> Actor:
    key = await product.key(tenant.id, TENANT_SCOPES - {Scope(scope)})
    return Actor(name="key without the scope", credential=key, scopes=ADMIN - {scope}, lacks=scope)


async def _client(product: Product, tenant: TenantClient, scopes: frozenset[str]) -> Actor:
    """Make a machine client and its grant, as the token endpoint would if it was wrong: it is an operator's too."""
    wished = sorted({*scopes, "operator"})
    state, now = product.app.state, datetime.now(UTC)
    client = OAuthClient(
        tenant_id=tenant.id, id=uuid7(), name="robot", digest=uuid7().bytes, scopes=sorted(scopes)
    )
    grant = SignIn(
        id=uuid7(),
        client_id=client.id,
        tenant_id=tenant.id,
        scopes=wished,
        expires_at=now + timedelta(hours=1),
    )
    async with state.database.session(tenant.id) as session, session.begin():
        session.add(client)
    async with state.database.identity_session() as session, session.begin():
        session.add(grant)
    issued = state.access_tokens.issue(grant, map(Scope, wished), await state.access_tokens.key())
    name = "OAuth client" if scopes == ADMIN else "OAuth client without the scope"
    return Actor(name=name, credential=issued.access_token.get_secret_value(), scopes=scopes)
