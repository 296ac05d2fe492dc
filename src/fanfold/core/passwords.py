"""The serving login's password: set where the address that serves has one and the server refuses it."""

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from fanfold.core.away import NO_ANSWER
from fanfold.core.roles import Login, MigrationRefused, Step, quoted
from fanfold.core.scram import scram_verifier

_TRIAL_S = 5.0
_INSUFFICIENT_PRIVILEGE = "42501"


async def ensure_password(connection: AsyncConnection, login: Login, owner_url: str, app_url: str) -> None:
    """Let the login in with the password of `app_url`. One that is not refused is never changed.

    A login that was made without a password is refused whatever it is given, and Postgres shows nobody but a
    superuser which those are: so it is tried, at its own address, then where the owner is, which is where it would be
    changed. Needs an autocommitting connection. Raises MigrationRefused with the SQL that an administrator has to run.
    """
    if login.password is None:
        return
    own = make_url(app_url)
    beside_owner = make_url(owner_url).set(username=login.name, password=login.password)
    if await _refuses(own) and await _refuses(beside_owner):
        await _set(connection, _setting(login.name, login.password))


async def _refuses(address: URL) -> bool:
    """Tell whether a server says that this password is wrong; no answer or another trouble is not that."""
    dsn = address.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = await asyncpg.connect(dsn, timeout=_TRIAL_S)
    except asyncpg.InvalidPasswordError:
        return True
    except (*NO_ANSWER, ValueError):
        return False
    await connection.close()
    return False


async def _set(connection: AsyncConnection, step: Step) -> None:
    try:
        await connection.exec_driver_sql(step.sql)
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state != _INSUFFICIENT_PRIVILEGE:
            raise MigrationRefused(f"Postgres refused `{step.shown}` ({state}).") from None
        raise MigrationRefused(
            "The server refuses the password of FANFOLD_DATABASE_URL, and the role of FANFOLD_OWNER_DATABASE_URL may "
            "not change it. Put the right one there, or run this as an administrator, then migrate again:\n"
            f"    {step.shown};"
        ) from None


def _setting(name: str, password: str) -> Step:
    start = f"ALTER ROLE {quoted(name)} LOGIN"
    return Step(f"{start} PASSWORD '{scram_verifier(password)}'", f"{start} PASSWORD '...'")
