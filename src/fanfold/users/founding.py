"""Founding a tenant: whoever signs up helps himself, within a bound."""

import re
import secrets
import unicodedata
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict
from fanfold.core.identifiers import uuid7
from fanfold.tenants.models import Tenant
from fanfold.users.models import Membership
from fanfold.users.repository import UserRepository

MOST_OWNED = 3
PLAN = "free"
_LONGEST = 40
_TRIES = 5


async def found_tenant(
    session: AsyncSession, user_id: UUID, name: str, slug: str | None, actor: Actor
) -> Tenant:
    """Make a tenant on plan free whose owner is this person; give it an identity session.

    Without a slug one is made of the name. Raises `Conflict` where the slug is taken, or the person owns `MOST_OWNED`
    tenants already; one that is deleted counts until it is erased, or it would bring new units each time.
    """
    await UserRepository(session).lock_alive(user_id)
    owned = select(func.count()).where(Membership.user_id == user_id, Membership.role == "owner")
    if (await session.scalar(owned) or 0) >= MOST_OWNED:
        raise Conflict(f"A person may own {MOST_OWNED} tenants. Hand one over or delete one first.")
    tenant = await (_insert(session, name, slug) if slug else _insert_somehow(session, name))
    if tenant is None:
        raise Conflict("A tenant with this slug exists already.")
    session.add(Membership(tenant_id=tenant.id, user_id=user_id, role="owner"))
    await session.flush()
    after = {"slug": tenant.slug, "name": name, "plan": PLAN, "owner": str(user_id)}
    await audit.record(
        session,
        actor,
        tenant_id=tenant.id,
        action="tenant.created",
        object_kind="tenant",
        object_id=tenant.id,
        after=after,
    )
    return tenant


def slug_of(name: str) -> str:
    """Return a slug that reads like the name, as far as its letters have ASCII ones; else a random one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST].strip("-")
    return words or f"t-{secrets.token_hex(4)}"


async def _insert_somehow(session: AsyncSession, name: str) -> Tenant | None:
    slug = slug_of(name)
    for _ in range(_TRIES):
        if tenant := await _insert(session, name, slug):
            return tenant
        slug = f"{slug_of(name)}-{secrets.token_hex(4)}"
    return None


async def _insert(session: AsyncSession, name: str, slug: str) -> Tenant | None:
    row = {"id": uuid7(), "slug": slug, "name": name, "plan": PLAN}
    statement = insert(Tenant).values(row).on_conflict_do_nothing(index_elements=["slug"])
    return await session.scalar(statement.returning(Tenant))
