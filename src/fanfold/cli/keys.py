"""`fanfold keys`."""

import datetime as dt
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.api_keys.keys import issue
from fanfold.api_keys.models import ApiKey, OperatorKey
from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate
from fanfold.api_keys.service import ApiKeyService
from fanfold.audit import writer as audit
from fanfold.audit.types import COMMAND_LINE
from fanfold.auth.principal import Scope
from fanfold.cli.database import acting_for, find_tenant, in_database, operating
from fanfold.cli.output import Refused, show_members, show_rows
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.core.schemas import MAX_LIMIT
from fanfold.core.secret_keys import secret_keys

SHOWN_ONCE = "Keep the key now: it is not shown again."

TenantSlug = Annotated[str | None, typer.Option("--tenant", help="The slug of the tenant.")]
ForOperator = Annotated[bool, typer.Option("--operator", help="An operator's key, of no tenant.")]

commands = typer.Typer(help="Make, list and revoke API keys.")


@commands.command()
def create(
    *,
    tenant: TenantSlug = None,
    operator: ForOperator = False,
    scopes: Annotated[
        str, typer.Option(help="Comma-separated, such as process,usage:read.")
    ] = Scope.PROCESS.value,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    budget: Annotated[int | None, typer.Option(help="Units that it may spend a period.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Requests that may run at once.")] = None,
) -> None:
    """Make an API key, of a tenant or of an operator."""
    _one_of(tenant, operator=operator)
    if operator and (budget is not None or max_concurrent is not None):
        raise typer.BadParameter("An operator's key has no limits: leave out --budget and --max-concurrent.")
    settings = Settings()
    ring = KeyRing(secret_keys(settings))
    names = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    wanted = ApiKeyCreate(
        name=name, scopes=names, budget_units=budget, max_concurrent_requests=max_concurrent
    )

    async def work(database: Database) -> dict[str, Any]:
        if tenant is None:
            async with operating(database) as session:
                return await _issue_to_operator(session, ring, wanted.name)
        found, limits = await find_tenant(database, tenant)
        async with acting_for(database, found) as session:
            service = ApiKeyService(ApiKeyRepository(session, found.id), ring)
            record, issued = await service.issue(found.id, wanted, max_api_keys=limits.max_api_keys)
            return _issued(record.id, issued.key.get_secret_value(), record.scopes)

    show_members(in_database(work, settings), note=SHOWN_ONCE)


@commands.command("list")
def list_keys(*, tenant: TenantSlug = None, operator: ForOperator = False) -> None:
    """List keys, newest first, revoked ones too."""
    _one_of(tenant, operator=operator)

    async def work(database: Database) -> list[dict[str, Any]]:
        if tenant is None:
            async with operating(database) as session:
                found = await session.scalars(select(OperatorKey).order_by(OperatorKey.id.desc()))
                return [_shown(key, [Scope.OPERATOR.value]) for key in found]
        owner, _ = await find_tenant(database, tenant)
        async with acting_for(database, owner) as session:
            keys, _ = await ApiKeyRepository(session, owner.id).list(limit=MAX_LIMIT, cursor=None)
            return [_shown(key, key.scopes) | _limits(key) for key in keys]

    columns = ("id", "name", "public_id", "scopes", "revoked_at")
    show_rows(in_database(work, Settings()), columns)


@commands.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="The id that `keys list` shows.")],
    *,
    tenant: TenantSlug = None,
    operator: ForOperator = False,
) -> None:
    """Revoke a key: it is refused everywhere within 2 s, for good."""
    _one_of(tenant, operator=operator)
    settings = Settings()

    async def work(database: Database) -> dict[str, Any]:
        if tenant is None:
            async with operating(database) as session:
                await _revoke_operators(session, key_id)
        else:
            owner, _ = await find_tenant(database, tenant)
            async with acting_for(database, owner) as session:
                ring = KeyRing(secret_keys(settings))
                await ApiKeyService(ApiKeyRepository(session, owner.id), ring).revoke(key_id)
        return {"id": str(key_id), "revoked": True}

    show_members(in_database(work, settings))


def _one_of(tenant: str | None, *, operator: bool) -> None:
    if (tenant is not None) == operator:
        raise typer.BadParameter("Name a tenant with --tenant SLUG, or give --operator, one of the two.")


async def _issue_to_operator(session: AsyncSession, ring: KeyRing, name: str) -> dict[str, Any]:
    issued = issue()
    key = issued.key.get_secret_value()
    record = OperatorKey(id=uuid7(), name=name, public_id=issued.public_id, digest=ring.digest(key))
    session.add(record)
    await _record(session, "operator_key.created", record)
    return _issued(record.id, key, [Scope.OPERATOR.value])


async def _record(session: AsyncSession, action: str, key: OperatorKey) -> None:
    shown = {"name": key.name, "public_id": key.public_id}
    await audit.record(
        session, COMMAND_LINE, action=action, object_kind="operator_key", object_id=key.id, after=shown
    )


async def _revoke_operators(session: AsyncSession, key_id: UUID) -> None:
    key = await session.get(OperatorKey, key_id)
    if key is None:
        raise Refused(
            "There is no such operator's key. `fanfold keys list --operator` shows which there are."
        )
    if key.revoked_at is None:
        key.revoked_at = dt.datetime.now(dt.UTC)
        await _record(session, "operator_key.revoked", key)


def _issued(key_id: UUID, key: str, scopes: list[str]) -> dict[str, Any]:
    return {"id": str(key_id), "key": key, "scopes": scopes}


def _shown(key: ApiKey | OperatorKey, scopes: list[str]) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "name": key.name,
        "public_id": key.public_id,
        "scopes": scopes,
        "created_at": key.created_at.isoformat(),
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def _limits(key: ApiKey) -> dict[str, Any]:
    return {"budget_units": key.budget_units, "max_concurrent_requests": key.max_concurrent_requests}
