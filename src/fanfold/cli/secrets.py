"""`fanfold secrets`."""

from typing import Any

import typer
from sqlalchemy import select, text

from fanfold.cli.database import acting_for, in_database, operating
from fanfold.cli.output import Refused, show_members
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.secret_keys import are_kept_in_file, new_key, secret_keys
from fanfold.core.secret_keys import rotate as rotate_file
from fanfold.tenants.models import Tenant
from fanfold.upstreams.mapping import bound_to
from fanfold.upstreams.repository import UpstreamRepository

OTHERS = text(
    """
    select count(*) from pg_stat_activity
     where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
       and backend_type = 'client backend'
    """
)
IN_USE = (
    "A server or another command uses this database, and would not know the new key: stop it first. To rotate without "
    "an outage set FANFOLD_SECRET_KEYS on all servers (newest first), restart them one by one, then run "
    "`fanfold secrets reseal`."
)

commands = typer.Typer(
    help="Replace the secret keys, newest first. Older ones stay: issued API keys rest on them."
)


@commands.command()
def rotate() -> None:
    """Make a new secret key the newest one, and seal every upstream's credential with it."""
    settings = Settings()
    if not are_kept_in_file(settings):
        _show_new_value(settings)
        return

    async def work(database: Database) -> dict[str, Any]:
        async with database.begin() as connection:
            if (await connection.execute(OTHERS)).scalar_one():
                raise Refused(IN_USE)
        ring = rotate_file(settings)
        return {"keys": len(ring), "resealed": await _reseal(database, KeyRing(ring))}

    show_members(in_database(work, settings))


@commands.command()
def reseal() -> None:
    """Seal every upstream's credential with the newest key."""
    settings = Settings()
    ring = KeyRing(secret_keys(settings))

    async def work(database: Database) -> dict[str, Any]:
        return {"resealed": await _reseal(database, ring)}

    show_members(in_database(work, settings))


def _show_new_value(settings: Settings) -> None:
    ring = [new_key(), *(key.get_secret_value() for key in settings.security.secret_keys)]
    note = "Set FANFOLD_SECRET_KEYS to this on every server, restart them, then run `fanfold secrets reseal`."
    show_members({"FANFOLD_SECRET_KEYS": ",".join(ring)}, note=note)


async def _reseal(database: Database, ring: KeyRing) -> int:
    async with operating(database) as session:
        tenants = list(await session.scalars(select(Tenant)))
    return sum([await _reseal_tenants(database, tenant, ring) for tenant in tenants])


async def _reseal_tenants(database: Database, tenant: Tenant, ring: KeyRing) -> int:
    async with acting_for(database, tenant) as session:
        upstreams = UpstreamRepository(session, tenant.id)
        await upstreams.lock()
        sealed = [record for record in await upstreams.all() if record.credential_sealed]
        for record in sealed:
            credential = ring.unseal(record.credential_sealed or b"", bound_to=bound_to(record))
            record.credential_sealed = ring.seal(credential, bound_to=bound_to(record))
        return len(sealed)
