"""Statements and programs run on a test's database."""

import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from fanfold.core.blocking import run_blocking
from fanfold.core.embedded_postgres import SUPERUSER
from fanfold.core.postgres_programs import find_programs
from tests.fixtures.database import TestDatabase, connect


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    async def ask() -> list[tuple[Any, ...]]:
        connection = await connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return run_blocking(ask())


def execute(url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_blocking(run())


def schema_of(database: TestDatabase) -> str:
    """Everything that pg_dump writes down: tables, constraints, indexes, policies, functions, owners, grants."""
    url = make_url(database.superuser_url)
    program = str(find_programs(Path.cwd()).folder / "pg_dump")
    where = ["-h", str(url.query["host"]), "-p", "5432", "-U", SUPERUSER, database.name]
    return run_program(program, "--schema-only", "--restrict-key=same", *where)


def run_program(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        env=env,
    )
    return done.stdout
