"""The roles that row-level security rests on, brought to exactly the rights they must have. Roles are cluster-wide."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from fanfold.core.scram import scram_verifier
from fanfold.core.values import value

APP, SYSTEM = "fanfold_app", "fanfold_system"
# What the serving role becomes for the time of a transaction: who sees all tenants, and who sees all people.
OPERATOR, IDENTITY = "fanfold_operator", "fanfold_identity"

_ROUNDS = 20
_REFUSED = {
    "42501",
    "42704",
}  # insufficient_privilege, and undefined_object: the role that was refused before
# The same step taken at once by a migration of another database of the cluster: advisory locks end at the database.
_RACED = {"42710", "23505", "40P01", "40001", "XX000"}
_UNWANTED = {
    "rolsuper": "NOSUPERUSER",
    "rolbypassrls": "NOBYPASSRLS",
    "rolcreaterole": "NOCREATEROLE",
    "rolcreatedb": "NOCREATEDB",
    "rolreplication": "NOREPLICATION",
}


class MigrationRefused(Exception):
    """The migration cannot go on; the message says what an administrator has to do."""


@value
class Login:
    """The role that serves: `fanfold_app` itself, or a login that is its member."""

    name: str = APP
    password: str | None = None


@value
class Step:
    """One thing that is missing: the SQL that makes it, and the same to be shown, without a password."""

    sql: str
    shown: str


@value
class _Found:
    """What the catalogue says of the roles, their memberships and the database."""

    owner: str
    database: str
    public_has_rights: bool
    app_connects: bool
    owner_connects: bool
    roles: Mapping[str, Mapping[str, bool]]
    grants: Sequence[tuple[str, str, str, bool, bool]]  # role, member, grantor, inherits, may set


async def ensure_roles(connection: AsyncConnection, login: Login) -> None:
    """Make roles and rights what they must be; nothing is done where they are. Needs an autocommitting connection.

    Raises MigrationRefused with the SQL that an administrator has to run, where our rights end.
    """
    for attempt in range(_ROUNDS):
        steps = list(missing_steps(await _look(connection), login))
        if not steps:
            return
        if not await _take(connection, steps):
            break
        await asyncio.sleep(0.01 * attempt)
    found = await _look(connection)
    shown = "\n".join(f"    {step.shown};" for step in missing_steps(found, login))
    raise MigrationRefused(
        f"The role of FANFOLD_OWNER_DATABASE_URL lacks the right to prepare the roles. Run this as an administrator, "
        f"connected to the same database, then migrate again:\n{shown}"
    )


def missing_steps(found: _Found, login: Login) -> Iterator[Step]:
    """Yield what is missing, in the order in which it can be made."""
    if login.name in {found.owner, SYSTEM, OPERATOR, IDENTITY}:
        raise MigrationRefused(
            "FANFOLD_DATABASE_URL must name a login of its own, not the owner's nor a role of the product: row-level "
            f"security binds no owner. Use {APP}, or any other name; it is made where it is missing."
        )
    yield from _missing_roles(found, login)
    yield from _missing_grants(found, login)
    yield from _missing_rights(found)


def _missing_roles(found: _Found, login: Login) -> Iterator[Step]:
    for name in dict.fromkeys((APP, SYSTEM, OPERATOR, IDENTITY, login.name)):
        may_log_in = name == login.name
        if name not in found.roles:
            kind = "LOGIN" if may_log_in else "NOLOGIN"
            yield _creation(name, kind, login.password if may_log_in else None)
            continue
        wrong = [word for attribute, word in _UNWANTED.items() if found.roles[name][attribute]]
        if may_log_in and not found.roles[name]["rolcanlogin"]:
            wrong.append("LOGIN")
        if name in {SYSTEM, OPERATOR, IDENTITY} and found.roles[name]["rolcanlogin"]:
            wrong.append("NOLOGIN")
        if wrong:
            yield _step(f"ALTER ROLE {quoted(name)} {' '.join(wrong)}")


def _missing_grants(found: _Found, login: Login) -> Iterator[Step]:
    # Policies look at inherited rights: who inherited one of these roles would see every tenant's rows.
    wanted = [(OPERATOR, APP, False), (IDENTITY, APP, False), (SYSTEM, found.owner, False)]
    if login.name != APP:
        wanted.append((APP, login.name, True))
    for role, member, inherits in wanted:
        options = f"WITH INHERIT {str(inherits).upper()}, SET TRUE"
        present = [grant for grant in found.grants if grant[:2] == (role, member)]
        if not any(may_set and inherit == inherits for *_, inherit, may_set in present):
            yield _step(f"GRANT {role} TO {quoted(member)} {options}")
        for *_, grantor, inherit, _may_set in present:
            if inherit and not inherits:
                yield _step(f"GRANT {role} TO {quoted(member)} {options} GRANTED BY {quoted(grantor)}")
    for role, member, grantor, *_ in found.grants:
        if role == SYSTEM and member in {APP, OPERATOR, IDENTITY, login.name}:
            yield _step(f"REVOKE {SYSTEM} FROM {quoted(member)} GRANTED BY {quoted(grantor)}")


def _missing_rights(found: _Found) -> Iterator[Step]:
    database = quoted(found.database)
    if not found.owner_connects:
        yield _step(f"GRANT CONNECT, CREATE ON DATABASE {database} TO {quoted(found.owner)}")
    if not found.app_connects:
        yield _step(f"GRANT CONNECT ON DATABASE {database} TO {APP}")
    # TEMP too: a temporary table comes first in any path that does not say otherwise.
    if found.public_has_rights:
        yield _step(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")


async def _look(connection: AsyncConnection) -> _Found:
    about = (await connection.execute(_DATABASE, {"app": APP})).mappings().one()
    roles = (await connection.execute(_ROLES)).mappings().all()
    grants = (await connection.execute(_GRANTS)).all()
    return _Found(
        **about,
        roles={row["rolname"]: {key: bool(value) for key, value in row.items()} for row in roles},
        grants=[(row[0], row[1], row[2], row[3], row[4]) for row in grants],
    )


async def _take(connection: AsyncConnection, steps: Sequence[Step]) -> bool:
    """Take each step; tell whether any was taken, here or by somebody else at the same moment."""
    moved = False
    for step in steps:
        try:
            await connection.exec_driver_sql(step.sql)
            moved = True
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state not in _REFUSED | _RACED:
                raise MigrationRefused(f"Postgres refused `{step.shown}` ({state}).") from None
            moved = moved or state in _RACED
    return moved


def _step(sql: str) -> Step:
    return Step(sql, sql)


def _creation(name: str, kind: str, password: str | None) -> Step:
    start = f"CREATE ROLE {quoted(name)} {kind}"
    if password is None:
        return _step(start)
    return Step(f"{start} PASSWORD '{scram_verifier(password)}'", f"{start} PASSWORD '...'")


def quoted(name: str) -> str:
    """Return a role's or a database's name as SQL has to write it."""
    plain = name.isascii() and name.islower() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


_DATABASE = text(
    """
    SELECT r.rolname AS owner, d.datname AS database,
           bool_or(a.grantee = 0) AS public_has_rights,
           coalesce(bool_or(g.rolname = :app AND a.privilege_type = 'CONNECT'), false) AS app_connects,
           r.rolsuper OR coalesce(
               bool_or(a.privilege_type = 'CONNECT' AND pg_has_role(r.oid, g.oid, 'usage'))
               AND bool_or(a.privilege_type = 'CREATE' AND pg_has_role(r.oid, g.oid, 'usage')), false) AS owner_connects
      FROM pg_database d
      JOIN pg_roles r ON r.rolname = current_user
     CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      LEFT JOIN pg_roles g ON g.oid = a.grantee
     WHERE d.datname = current_database()
     GROUP BY r.rolname, r.rolsuper, d.datname
    """
)
_ROLES = text(
    """
    SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles
    """
)
_GRANTS = text(
    """
    SELECT r.rolname, m.rolname, g.rolname, a.inherit_option, a.set_option
      FROM pg_auth_members a
      JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.grantor
    """
)
