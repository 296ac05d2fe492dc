"""A database session is bound to one tenant for one transaction: never to the one before it."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from uuid import UUID

import pytest
from asyncpg import InsufficientPrivilegeError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from tests.adversarial.routes import object_ids
from tests.adversarial.rows import tables_of_tenants, with_a_row_in_every_table
from tests.fixtures.database import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECTIONS = 4
# The serving role writes here and reads nothing, not even its own.
UNREADABLE = frozenset({"outbox", "sessions"})
_FOREIGN_KEY = """
insert into fanfold.api_keys (tenant_id, id, name, public_id, digest, scopes)
values (:other, gen_random_uuid(), 'x', 'x', 'x', '{process}')
"""
_STATE = text("select coalesce(current_setting('app.tenant_id', true), ''), current_user, pg_backend_pid()")
_SEEN = text("select array_agg(distinct tenant_id) from fanfold.upstreams")


async def test_without_a_tenant_no_row_and_with_one_its_own_alone_in_every_table(arena):
    owner, other = await with_a_row_in_every_table(arena), await with_a_row_in_every_table(arena)
    app = await connect(arena.database.app_url)
    try:
        tables = await tables_of_tenants(app)
        assert len(tables) >= 6
        for table, column in tables.items():
            if table in UNREADABLE:
                with pytest.raises(InsufficientPrivilegeError):
                    await app.fetch(f"select from fanfold.{table}")
                continue
            seen = f"select distinct {column} as tenant from fanfold.{table}"
            for nobody in ("", str(uuid7())):
                await app.execute("select set_config('app.tenant_id', $1, false)", nobody)
                assert await app.fetch(seen) == [], table
            for tenant in (owner, other):
                await app.execute("select set_config('app.tenant_id', $1, false)", str(tenant.id))
                assert [row["tenant"] for row in await app.fetch(seen)] == [tenant.id], table
    finally:
        await app.close()


async def test_a_row_of_another_tenant_is_neither_written_nor_moved_there(arena):
    owner, other = await arena.tenant(), await arena.tenant()
    ids = await object_ids(arena, owner)
    await object_ids(arena, other)
    database: Database = arena.app.state.database
    for statement in (
        "update fanfold.upstreams set tenant_id = :other",
        _FOREIGN_KEY,
    ):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with database.session(owner.id) as session, session.begin():
                await session.execute(text(statement), {"other": other.id})
    for statement in (
        "update fanfold.upstreams set slug = 'x' where id = :id",
        "delete from fanfold.upstreams where id = :id",
    ):
        async with database.session(other.id) as session, session.begin():
            returning = text(f"{statement} returning id")
            touched = (await session.execute(returning, {"id": UUID(ids["upstream_id"])})).all()
        assert touched == []


async def _use(database: Database, tenants: list[UUID], number: int, seen: Counter[str]) -> None:
    """One request's worth of database, ended in one of many ways."""
    choose = random.Random(number)
    tenant = choose.choice([*tenants, None])
    is_operator = choose.random() < 0.1
    ending = choose.choice(
        ["well", "well", "error", "rollback", "cancelled within a statement", "commit and go on"]
    )
    opened = database.operator_session() if is_operator else database.session(tenant)
    async with opened as session:
        rows = (await session.execute(_SEEN)).scalar_one()
        if not is_operator and set(rows or ()) != ({tenant} if tenant else set()):
            seen["wrong rows"] += 1
        match ending:
            case "error":
                await session.execute(text("select 1 / 0"))
            case "rollback":
                await session.rollback()
            case "cancelled within a statement":
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await session.execute(text("select pg_sleep(30)"))
            case "commit and go on":
                await session.commit()
                bound = (await session.execute(_STATE)).one()[0]
                if bound != str("" if is_operator else tenant or ""):
                    seen["lost tenant"] += 1
                await session.commit()
            case _:
                await session.commit()
    seen[ending] += 1


async def _used(database: Database, tenants: list[UUID], number: int, seen: Counter[str]) -> None:
    choose = random.Random(-number)
    task = asyncio.create_task(_use(database, tenants, number, seen))
    if (
        choose.random() < 0.2
    ):  # cancelled anywhere: while it waits for a connection, within a statement, at its end
        await asyncio.sleep(choose.random() * 0.05)
        task.cancel()
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, asyncio.CancelledError):
        seen["cancelled"] += 1
    elif isinstance(outcome, DBAPIError):
        seen["error"] += 1
    elif outcome is not None:
        raise outcome


async def _look_at_all(database: Database, seen: Counter[str]) -> None:
    """Hold every connection of the pool at once and read what is left on it."""
    async with asyncio.TaskGroup() as group:
        together = asyncio.Barrier(CONNECTIONS)

        async def look() -> None:
            async with database.engine.connect() as connection:
                bound, role, _ = (await connection.execute(_STATE)).one()
                async with asyncio.timeout(60):
                    await together.wait()
            seen["looked"] += 1
            if bound or role != "fanfold_app":
                seen["left bound"] += 1

        for _ in range(CONNECTIONS):
            group.create_task(look())


@pytest.mark.proof
async def test_no_connection_keeps_a_tenant_whatever_became_of_its_request(arena, full, capsys):
    tenants = []
    for _ in range(5):
        tenant = await arena.tenant()
        await tenant.upstream("https://one.example/")
        tenants.append(tenant.id)
    tasks, at_once = (3_000 if full else 300), 50
    seen: Counter[str] = Counter()
    async with Database(arena.database.app_url, pool_size=CONNECTIONS, pool_timeout_s=60) as database:
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with gate:
                await _used(database, tenants, number, seen)

        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(one(number))
        await _look_at_all(database, seen)
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # QueuePool has it
    with capsys.disabled():
        print(f"\nsessions: {tasks} tasks on {CONNECTIONS} connections: {dict(seen)}")
    assert seen["looked"] == CONNECTIONS
    assert (seen["wrong rows"], seen["lost tenant"], seen["left bound"]) == (0, 0, 0)
    assert (
        min(seen[how] for how in ("well", "error", "rollback", "cancelled", "cancelled within a statement"))
        > 0
    )
