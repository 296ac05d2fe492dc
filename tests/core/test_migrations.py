"""Migrations: roles with exactly the rights they must have, one at a time, up and down and up again."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import command
from fanfold.core import migrations, revisions
from fanfold.core.blocking import run_blocking
from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres
from fanfold.core.migrations import MigrationRefused, migrate
from fanfold.core.roles import APP, IDENTITY, OPERATOR, SYSTEM
from tests.core.asking import execute, rows, run_program, schema_of
from tests.fixtures.database import TestDatabase, connect

MEMBERSHIPS = """
SELECT r.rolname, m.rolname, bool_or(a.inherit_option), bool_or(a.set_option)
  FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
 WHERE r.rolname LIKE 'fanfold%' AND (m.rolname LIKE 'fanfold%') GROUP BY 1, 2
"""
STORED_PASSWORD = f"SELECT rolpassword, xmin::text FROM pg_authid WHERE rolname = '{APP}'"
RIGHTS_ON_DATABASE = """
SELECT coalesce(g.rolname, 'public'), a.privilege_type
  FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee
 WHERE d.datname = current_database() AND g.rolname IS DISTINCT FROM 'fanfold_owner'
"""
# The transaction that last wrote each row which a migration could touch.
WRITTEN_BY = f"""
SELECT 'class', c.oid::text, c.xmin::text FROM pg_class c WHERE c.relnamespace = 'fanfold'::regnamespace
UNION ALL SELECT 'schema', n.oid::text, n.xmin::text FROM pg_namespace n
UNION ALL SELECT 'function', p.oid::text, p.xmin::text FROM pg_proc p WHERE p.pronamespace = 'fanfold'::regnamespace
UNION ALL SELECT 'database', d.oid::text, d.xmin::text FROM pg_database d WHERE d.datname = current_database()
UNION ALL SELECT 'role', r.oid::text, r.xmin::text FROM pg_authid r WHERE rolname IN ('{APP}', '{SYSTEM}', '{OPERATOR}')
UNION ALL SELECT 'revision', v.version_num, v.xmin::text FROM fanfold.alembic_version v
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own, on which no role of the product exists yet."""
    with EmbeddedPostgres(tmp_path / "data", fsync="off", full_page_writes="off") as server:
        yield server


class TestRoles:
    def test_attributes_are_exactly_these(self, database_urls: TestDatabase) -> None:
        found = rows(
            database_urls.superuser_url,
            "SELECT rolname, rolcanlogin, rolcreaterole, rolsuper OR rolbypassrls OR rolcreatedb OR rolreplication "
            "FROM pg_roles WHERE rolname LIKE 'fanfold%'",
        )

        assert sorted(found) == [
            (APP, True, False, False),
            (IDENTITY, False, False, False),
            (OPERATOR, False, False, False),
            (OWNER, True, True, False),
            (SYSTEM, False, False, False),
        ]

    def test_memberships_let_roles_be_set_but_inherit_nothing(self, database_urls: TestDatabase) -> None:
        found = {row[:2]: row[2:] for row in rows(database_urls.superuser_url, MEMBERSHIPS)}

        assert found[OPERATOR, APP] == (False, True)
        assert found[SYSTEM, OWNER] == (False, True)
        assert (SYSTEM, APP) not in found
        assert not any(inherits for inherits, _may_set in found.values())

    def test_the_public_has_no_right_on_the_database(self, database_urls: TestDatabase) -> None:
        assert rows(database_urls.superuser_url, RIGHTS_ON_DATABASE) == [(APP, "CONNECT")]
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="temporary"):
            execute(database_urls.app_url, "CREATE TEMPORARY TABLE plans ()")

    def test_the_app_becomes_the_operator_and_nobody_else(self, database_urls: TestDatabase) -> None:
        execute(database_urls.app_url, f"SET ROLE {OPERATOR}")
        for role in (SYSTEM, OWNER, SUPERUSER):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                execute(database_urls.app_url, f"SET ROLE {role}")

    def test_an_owner_to_whom_new_roles_grant_themselves_inherits_nothing(
        self, cluster: EmbeddedPostgres
    ) -> None:
        execute(cluster.url(user=SUPERUSER), f"ALTER ROLE {OWNER} SET createrole_self_grant = 'set, inherit'")

        migrate(cluster.url(user=OWNER))

        found = {row[:2]: row[2:] for row in rows(cluster.url(user=SUPERUSER), MEMBERSHIPS)}
        assert found[SYSTEM, OWNER] == (False, True)

    def test_rights_that_are_too_wide_are_found(self, cluster: EmbeddedPostgres) -> None:
        migrate(cluster.url(user=OWNER))
        execute(
            cluster.url(user=SUPERUSER),
            f"ALTER ROLE {APP} BYPASSRLS CREATEDB",
            f"GRANT {SYSTEM} TO {APP}",
            f"GRANT {OPERATOR} TO {APP} WITH INHERIT TRUE",
            "GRANT TEMPORARY ON DATABASE fanfold TO PUBLIC",
        )

        with pytest.raises(MigrationRefused) as refusal:
            migrate(cluster.url(user=OWNER))

        assert "NOBYPASSRLS" in str(refusal.value)
        run_as_told(cluster, refusal.value)
        migrate(cluster.url(user=OWNER))
        found = {row[:2]: row[2:] for row in rows(cluster.url(user=SUPERUSER), MEMBERSHIPS)}
        assert (SYSTEM, APP) not in found
        assert found[OPERATOR, APP] == (False, True)
        assert rows(cluster.url(user=SUPERUSER), RIGHTS_ON_DATABASE) == [(APP, "CONNECT")]


def run_as_told(cluster: EmbeddedPostgres, refusal: MigrationRefused, database: str = "fanfold") -> None:
    """Do what the message says, as an administrator would."""
    told = re.findall(r"^    (.*);$", str(refusal), flags=re.MULTILINE)
    assert told
    execute(cluster.url(user=SUPERUSER, database=database), *told)


class TestLogin:
    def test_an_owner_that_may_not_make_roles_is_told_the_sql(self, cluster: EmbeddedPostgres) -> None:
        execute(cluster.url(user=SUPERUSER), "CREATE ROLE weak LOGIN", 'CREATE DATABASE "weak 店" OWNER weak')
        weak = cluster.url(user="weak", database="weak 店")

        with pytest.raises(MigrationRefused) as refusal:
            migrate(weak, app_url="postgresql://server:secret-password@nowhere/")

        assert "CREATE ROLE fanfold_system NOLOGIN;" in str(refusal.value)
        assert "secret-password" not in str(refusal.value)
        run_as_told(cluster, refusal.value, database="weak 店")
        migrate(weak, app_url="postgresql://server:secret-password@nowhere/")
        assert revisions.status(weak).is_at_head
        assert rows(cluster.url(user="server", database="weak 店"), "SELECT count(*) FROM fanfold.plans") == [
            (3,)
        ]

    @pytest.mark.parametrize("password", ["plain-Password'1", "密码 é", "x\u00ady\u1680z"])
    def test_a_missing_login_is_made_with_its_password(
        self, cluster: EmbeddedPostgres, password: str
    ) -> None:
        app_url = make_url("postgresql+asyncpg://").set(username="Serving Login", password=password)
        migrate(cluster.url(user=OWNER), app_url=app_url.render_as_string(hide_password=False))
        demand_passwords(cluster)

        async def log_in(word: str) -> bool:
            host = make_url(cluster.url(user=OWNER)).query["host"]
            connection = await asyncpg.connect(
                host=str(host), port=5432, user="Serving Login", password=word, database="fanfold"
            )
            try:
                return bool(await connection.fetchval(f"SELECT pg_has_role('{OPERATOR}', 'usage')"))
            finally:
                await connection.close()

        assert (
            run_blocking(log_in(password)) is False
        )  # a member of fanfold_app that inherits no operator's right
        with pytest.raises(asyncpg.InvalidPasswordError):
            run_blocking(log_in(password + "!"))

    def test_an_owner_who_is_a_guest_in_the_database_is_not_locked_out(
        self, cluster: EmbeddedPostgres
    ) -> None:
        execute(
            cluster.url(user=SUPERUSER),
            "CREATE ROLE guest LOGIN",
            "CREATE DATABASE shared",
            "GRANT CREATE ON DATABASE shared TO guest",
        )
        guest = cluster.url(user="guest", database="shared")

        with pytest.raises(MigrationRefused) as refusal:
            migrate(guest)
        run_as_told(cluster, refusal.value, database="shared")
        migrate(guest)

        assert revisions.status(guest).is_at_head

    def test_a_superuser_may_migrate(self, cluster: EmbeddedPostgres) -> None:
        for _again in range(2):
            migrate(cluster.url(user=SUPERUSER), app_url=cluster.url(user="server"))

        assert rows(cluster.url(user="server"), "SELECT count(*) FROM fanfold.plans") == [(3,)]

    @pytest.mark.parametrize("name", [OWNER, SYSTEM, OPERATOR])
    def test_a_login_that_is_no_one_elses_is_demanded(self, fresh_database: TestDatabase, name: str) -> None:
        with pytest.raises(MigrationRefused, match="login of its own"):
            migrate(fresh_database.owner_url, app_url=f"postgresql://{name}@nowhere/")


class TestPassword:
    """The password of the serving login, on a server that demands one."""

    def test_a_login_made_without_one_gets_the_one_of_its_address(self, cluster: EmbeddedPostgres) -> None:
        migrate(cluster.url(user=OWNER))
        demand_passwords(cluster)
        app_url = with_password(cluster, "密码 pw")
        with pytest.raises(asyncpg.InvalidPasswordError):
            rows(app_url, "SELECT 1")

        migrate(cluster.url(user=OWNER), app_url=app_url)

        assert rows(app_url, "SELECT count(*) FROM fanfold.plans") == [(3,)]

    def test_one_that_works_is_not_changed(self, cluster: EmbeddedPostgres) -> None:
        app_url = with_password(cluster, "pw")
        demand_passwords(cluster)
        migrate(cluster.url(user=OWNER), app_url=app_url)
        [before] = rows(cluster.url(user=SUPERUSER), STORED_PASSWORD)

        migrate(cluster.url(user=OWNER), app_url=app_url)
        migrate(cluster.url(user=OWNER))
        migrate(cluster.url(user=OWNER), app_url=cluster.url(user=APP))
        elsewhere = make_url(with_password(cluster, "other")).update_query_dict({"host": "/nowhere"})
        migrate(cluster.url(user=OWNER), app_url=elsewhere.render_as_string(hide_password=False))

        assert rows(cluster.url(user=SUPERUSER), STORED_PASSWORD) == [before]
        assert before[0].startswith("SCRAM-SHA-256$")

    def test_an_owner_that_may_not_is_told_the_sql(self, cluster: EmbeddedPostgres) -> None:
        migrate(cluster.url(user=OWNER))
        demand_passwords(cluster)
        execute(cluster.url(user=SUPERUSER), f"ALTER ROLE {OWNER} NOCREATEROLE")
        app_url = with_password(cluster, "very-secret")

        with pytest.raises(MigrationRefused) as refusal:
            migrate(cluster.url(user=OWNER), app_url=app_url)

        assert "ALTER ROLE fanfold_app LOGIN PASSWORD '...';" in str(refusal.value)
        assert "very-secret" not in str(refusal.value)
        execute(cluster.url(user=SUPERUSER), f"ALTER ROLE {APP} LOGIN PASSWORD 'very-secret'")
        migrate(cluster.url(user=OWNER), app_url=app_url)
        assert rows(app_url, "SELECT count(*) FROM fanfold.plans") == [(3,)]


def with_password(cluster: EmbeddedPostgres, password: str) -> str:
    address = make_url(cluster.url(user=APP)).set(password=password)
    return address.render_as_string(hide_password=False)


def demand_passwords(cluster: EmbeddedPostgres) -> None:
    rules = f'local all {SUPERUSER},{OWNER} trust\nlocal all "Serving Login",{APP} scram-sha-256\n'
    (cluster.data_dir / "postgres" / "pg_hba.conf").write_text(rules)
    assert rows(cluster.url(user=SUPERUSER), "SELECT pg_reload_conf()") == [(True,)]


class TestMigrate:
    def test_a_second_time_writes_nothing(self, fresh_database: TestDatabase) -> None:
        migrate(fresh_database.owner_url, app_url=fresh_database.app_url)
        before = sorted(rows(fresh_database.superuser_url, WRITTEN_BY))

        migrate(fresh_database.owner_url, app_url=fresh_database.app_url)

        assert len(before) > 20
        assert sorted(rows(fresh_database.superuser_url, WRITTEN_BY)) == before

    def test_four_at_once_on_one_database_all_succeed(self, fresh_database: TestDatabase) -> None:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(migrate, [fresh_database.owner_url] * 4))

        assert revisions.status(fresh_database.owner_url).is_at_head

    def test_four_databases_of_a_new_cluster_at_once_all_succeed(self, cluster: EmbeddedPostgres) -> None:
        names = [f"database_{number}" for number in range(4)]
        execute(cluster.url(user=SUPERUSER), *(f"CREATE DATABASE {name} OWNER {OWNER}" for name in names))
        urls = [cluster.url(user=OWNER, database=name) for name in names]

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(migrate, urls))

        assert all(revisions.status(url).is_at_head for url in urls)

    def test_four_processes_at_once_all_succeed(self, fresh_database: TestDatabase) -> None:
        script = "import sys; from fanfold.core.migrations import migrate; migrate(sys.argv[1])"
        command = [sys.executable, "-c", script, fresh_database.owner_url]
        processes = [subprocess.Popen(command) for _ in range(4)]

        assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
        assert revisions.status(fresh_database.owner_url).is_at_head

    async def test_it_works_beside_a_running_loop(self, fresh_database: TestDatabase) -> None:
        migrate(fresh_database.owner_url)
        assert revisions.current(fresh_database.owner_url) == revisions.head()

    def test_it_waits_for_another_migration_only_so_long(self, fresh_database: TestDatabase) -> None:
        async def migrate_while_locked() -> None:
            connection = await connect(fresh_database.owner_url)
            try:
                await connection.execute(f"SELECT pg_advisory_lock({migrations._LOCK})")
                migrate(fresh_database.owner_url, lock_timeout_s=0.3)
            finally:
                await connection.close()

        with pytest.raises(MigrationRefused, match="Another migration"):
            run_blocking(migrate_while_locked())

    async def test_an_old_postgres_is_refused(self) -> None:
        class OldServer:
            async def execute(self, _statement: object) -> "OldServer":
                return self

            def scalar_one(self) -> int:
                return 150_013

        with pytest.raises(MigrationRefused, match="version 15; fanfold needs 16"):
            await migrations._check_version(OldServer())  # type: ignore[arg-type]  # a fake connection

    def test_addresses_may_be_spelt_as_elsewhere(self, fresh_database: TestDatabase) -> None:
        plain = fresh_database.owner_url.replace("postgresql+asyncpg:", "postgres:") + "&sslmode=prefer"
        migrate(plain)
        assert revisions.status(plain).is_at_head


class TestRevision:
    async def test_the_serving_role_can_tell_which_revision_is_there(
        self, fresh_database: TestDatabase
    ) -> None:
        migrate(fresh_database.owner_url)  # Roles are of the whole server: they stay.
        migrations.downgrade(fresh_database.owner_url, "base")
        assert await revision_for_app(fresh_database) is None
        migrate(fresh_database.owner_url)
        assert await revision_for_app(fresh_database) == revisions.head()
        migrations.downgrade(fresh_database.owner_url, "base")
        assert await revision_for_app(fresh_database) is None
        assert revisions.status(fresh_database.owner_url) == revisions.Status(None, revisions.head())

    def test_up_down_up_gives_an_equal_schema(self, fresh_database: TestDatabase) -> None:
        migrate(fresh_database.owner_url)
        first = schema_of(fresh_database)
        assert "FORCE ROW LEVEL SECURITY" in first
        migrations.downgrade(fresh_database.owner_url, "base")
        assert "CREATE FUNCTION" not in schema_of(fresh_database)
        assert "CREATE POLICY" not in schema_of(fresh_database)

        migrate(fresh_database.owner_url)

        assert schema_of(fresh_database) == first

    def test_one_step_down_gives_what_was_there_before_it(self, fresh_database: TestDatabase) -> None:
        owner = fresh_database.owner_url
        run_blocking(migrations._run(owner, None, 300.0, lambda config: command.upgrade(config, "head-1")))
        before = schema_of(fresh_database)
        migrate(owner)
        assert schema_of(fresh_database) != before

        migrations.downgrade(owner, "-1")

        assert schema_of(fresh_database) == before

    def test_models_are_what_the_migrations_make(self, fresh_database: TestDatabase) -> None:
        migrate(fresh_database.owner_url)
        migrations.check(fresh_database.owner_url)

    def test_the_shell_migrates_the_embedded_database(self, tmp_path: Path) -> None:
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("FANFOLD_", "DATABASE"))
        }
        environment["FANFOLD_DATA_DIR"] = str(tmp_path / "data")
        run_program(sys.executable, "-m", "alembic", "upgrade", "head", env=environment)
        current = run_program(sys.executable, "-m", "alembic", "current", env=environment)
        assert current.split() == [revisions.head(), "(head)"]


async def revision_for_app(database: TestDatabase) -> str | None:
    engine = create_async_engine(database.app_url)
    try:
        async with engine.connect() as connection:
            return await revisions.current_revision(connection)
    finally:
        await engine.dispose()
