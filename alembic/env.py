"""Runs migrations: over the connection that `fanfold.core.migrations` gives, or from the shell over the settings."""

from logging.config import fileConfig

from sqlalchemy import Connection, text

from alembic import context
from fanfold.core.blocking import run_blocking
from fanfold.core.config import DatabaseSettings
from fanfold.core.database_urls import DatabaseUrls, database_urls
from fanfold.core.db import SCHEMA
from fanfold.core.migrations import MigrationRefused, prepared
from fanfold.tables import metadata

PARTITIONS = text(
    "SELECT relname FROM pg_class WHERE relispartition AND relnamespace = to_regnamespace(:schema)"
)
VERSION_READERS = text(
    """
    SELECT rolname FROM pg_roles
     WHERE rolname IN ('fanfold_app', 'fanfold_operator') AND to_regclass('fanfold.alembic_version') IS NOT NULL
       AND NOT has_table_privilege(rolname, to_regclass('fanfold.alembic_version'), 'SELECT')
    """
)


def run(connection: Connection) -> None:
    if connection.scalar(text("SELECT to_regnamespace(:schema)"), {"schema": SCHEMA}) is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    partitions = set(connection.scalars(PARTITIONS, {"schema": SCHEMA}))
    connection.commit()

    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        """Partitions are made by a function, and the queue's tables are pgqueuer's: neither are of our models."""
        is_of_others = kind == "table" and (name in partitions or str(name).startswith("pgqueuer"))
        return name == SCHEMA if kind == "schema" else not is_of_others

    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=include_name,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    for role in connection.scalars(VERSION_READERS).all():  # so that a server can tell whether it fits
        connection.execute(text(f"GRANT SELECT ON {SCHEMA}.alembic_version TO {role}"))
    connection.commit()


async def run_from_shell(urls: DatabaseUrls) -> None:
    if urls.owner is None:
        message = "Set FANFOLD_OWNER_DATABASE_URL: the serving login of FANFOLD_DATABASE_URL may not migrate."
        raise MigrationRefused(message)
    async with prepared(urls.owner, urls.app) as connection:
        await connection.run_sync(run)


def main() -> None:
    if context.is_offline_mode():
        message = (
            "Migrations are not written as SQL: roles are compared with the server's. Run them on a copy."
        )
        raise MigrationRefused(message)
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run(connection)
        return
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    with database_urls(DatabaseSettings()) as urls:
        run_blocking(run_from_shell(urls))


main()
