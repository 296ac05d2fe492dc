"""What an endpoint may ask for: the principal, its tenant, its quota, a session bound to it."""

import datetime as dt
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.types import Actor
from fanfold.auth.principal import Principal, PrincipalTenant, Scope
from fanfold.auth.requirements import Require, RequireCredential, RequirePerson
from fanfold.core.db import Database
from fanfold.core.errors import NotAuthenticated
from fanfold.core.values import value
from fanfold.idempotency.header import IdempotencyKeyHeader
from fanfold.idempotency.route import begin_once
from fanfold.tenants.periods import Period, first_day, period_end, utc_now

CurrentPrincipal = Annotated[Principal, Require()]
OperatorPrincipal = Annotated[Principal, Require(Scope.OPERATOR)]
CurrentPerson = Annotated[Principal, RequirePerson()]
AnyPrincipal = Annotated[Principal, RequireCredential()]


async def _tenant(principal: CurrentPrincipal) -> PrincipalTenant:
    if principal.tenant is None:
        raise NotAuthenticated("This belongs to a tenant.")
    return principal.tenant


CurrentTenant = Annotated[PrincipalTenant, Depends(_tenant)]


async def _actor(request: Request) -> Actor:
    state = request.scope["state"]
    principal: Principal | None = state.get("principal")
    request_id: str = state["server_id"]
    if principal is None:
        return Actor(kind="stranger", request_id=request_id)
    return Actor(kind=principal.kind.value, id=principal.id, request_id=request_id)


# Who is written into the audit log.
CurrentActor = Annotated[Actor, Depends(_actor)]


@value(kw_only=True)
class Quota:
    """The present period of a tenant's plan: a day, a week or a month, UTC."""

    tenant_id: UUID
    period: Period
    period_start: dt.date
    period_end: dt.datetime


def quota_of(tenant: PrincipalTenant) -> Quota:
    """Return the present period of a tenant: a socket may outlive one."""
    return _quota_on(tenant.id, tenant.period, utc_now().date())


def quota_of_principal(principal: Principal) -> Quota:
    """Return the present period of a principal's tenant, looked up once for the second that the principal is kept."""
    quota: Quota | None = principal.made.get(Quota)
    if quota is None or quota.period_end <= utc_now():
        assert principal.tenant is not None  # noqa: S101 (who asks for it has a tenant)
        quota = principal.made[Quota] = quota_of(principal.tenant)
    return quota


@lru_cache(maxsize=1_024)
def _quota_on(tenant_id: UUID, period: Period, day: dt.date) -> Quota:
    start = first_day(day, period)
    return Quota(tenant_id=tenant_id, period=period, period_start=start, period_end=period_end(start, period))


async def _quota(tenant: CurrentTenant) -> Quota:
    return quota_of(tenant)


CurrentQuota = Annotated[Quota, Depends(_quota)]


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(_database)]


async def _session(database: DatabaseDep, tenant: CurrentTenant) -> AsyncIterator[AsyncSession]:
    async with database.session(tenant.id) as session, session.begin():
        yield session


async def _operator_session(
    database: DatabaseDep, _operator: OperatorPrincipal
) -> AsyncIterator[AsyncSession]:
    async with database.operator_session() as session, session.begin():
        yield session


async def _identity_session(database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    # Not one `begin` around all: who verifies a password lets the connection go meanwhile.
    async with database.identity_session() as session:
        yield session
        await session.commit()


# scope="function": committed before the answer is sent, so that a client reads what it has written.
DbSession = Annotated[AsyncSession, Depends(_session, scope="function")]
OperatorDbSession = Annotated[AsyncSession, Depends(_operator_session, scope="function")]
# Of people and sign-ins, before there is a tenant: says nothing of who asks.
IdentityDbSession = Annotated[AsyncSession, Depends(_identity_session, scope="function")]


async def _once(
    request: Request, session: DbSession, principal: CurrentPrincipal, key: IdempotencyKeyHeader = None
) -> None:
    if key is not None and principal.tenant is not None:
        tenant_id, asker = principal.tenant.id, principal.id
        await begin_once(request, session, tenant_id=tenant_id, asker=asker, key=key)


async def _operator_once(
    request: Request,
    session: OperatorDbSession,
    operator: OperatorPrincipal,
    key: IdempotencyKeyHeader = None,
) -> None:
    if key is not None:  # an operator has no tenant: its keys are kept under its own credential's id
        await begin_once(request, session, tenant_id=operator.id, asker=operator.id, key=key)


async def _person_once(
    request: Request, session: IdentityDbSession, person: CurrentPerson, key: IdempotencyKeyHeader = None
) -> None:
    if key is not None:  # a person may have no tenant yet
        await begin_once(request, session, tenant_id=person.id, asker=person.id, key=key)


# Asked for by every endpoint that creates, after its own session: a repeated request is answered without the endpoint.
Once = Annotated[None, Depends(_once)]
OperatorOnce = Annotated[None, Depends(_operator_once)]
PersonOnce = Annotated[None, Depends(_person_once)]
