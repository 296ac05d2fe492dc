"""What has expired is removed, by a function that the serving role may call and nobody else's rows show."""

import asyncio
import datetime as dt
from typing import Any
from uuid import UUID

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.idempotency.purge import BATCH, Purge
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import TestDatabase, connect

_KEY = """
insert into fanfold.idempotency_keys (tenant_id, route, key, body_hash, request_id, created_at)
values ($1, '/r', $2, '', $3, now() - $4::interval)
"""
_PART = """
insert into fanfold.idempotency_answers (tenant_id, request_id, part, body, created_at)
values ($1, $2, 0, 'x', now() - $3::interval)
"""
HOUR = dt.timedelta(hours=1)


async def _write(connection: Any, tenant: UUID, key: str, age: dt.timedelta) -> None:
    request = uuid7()
    await connection.execute(_KEY, tenant, key, request, age)
    await connection.execute(_PART, tenant, request, age)


async def test_what_is_older_than_25_hours_goes_of_every_tenant_and_nothing_else(own_database: TestDatabase):
    connection = await connect(own_database.superuser_url)
    tenants = [uuid7(), uuid7()]
    try:
        for tenant in tenants:
            for key, age in (("new", 0 * HOUR), ("read", 24.9 * HOUR), ("old", 25.1 * HOUR)):
                await _write(connection, tenant, key, age)
        await connection.execute(_PART, tenants[0], uuid7(), 30 * HOUR)  # of no key: its settle never came
        async with Database(own_database.app_url) as database:
            purge = Purge(database)
            assert (await purge.work(), await purge.work(), purge.done) == (5, 0, 5)
        keys = await connection.fetch("select distinct key from fanfold.idempotency_keys order by key")
        assert [row["key"] for row in keys] == ["new", "read"]
        assert await connection.fetchval("select count(*) from fanfold.idempotency_answers") == 4
    finally:
        await connection.close()


async def test_more_than_a_batch_goes_in_one_round(own_database: TestDatabase):
    connection = await connect(own_database.superuser_url)
    try:
        for number in range(BATCH + 5):
            await connection.execute(_KEY, uuid7(), str(number), uuid7(), 26 * HOUR)
        async with Database(own_database.app_url) as database:
            assert await Purge(database).work() == BATCH + 5
    finally:
        await connection.close()


async def test_a_running_server_purges(own_database: TestDatabase):
    connection = await connect(own_database.superuser_url)
    try:
        await _write(connection, uuid7(), "old", 26 * HOUR)
        async with running_product(own_database, product_settings(own_database)), asyncio.timeout(30):
            while await connection.fetchval("select count(*) from fanfold.idempotency_keys"):
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def test_a_round_that_fails_is_tried_again(own_database: TestDatabase):
    connection = await connect(own_database.superuser_url)
    name = "function fanfold.idempotency_purge(integer)"
    try:
        await connection.execute(f"revoke execute on {name} from fanfold_app")
        await _write(connection, uuid7(), "old", 26 * HOUR)
        async with Database(own_database.app_url) as database, asyncio.TaskGroup() as group:
            purge = Purge(database, every_s=0.02)
            running = group.create_task(purge.run())
            async with asyncio.timeout(30):
                while not purge.failures:
                    await asyncio.sleep(0.01)
                await connection.execute(f"grant execute on {name} to fanfold_app")
                while not purge.done:
                    await asyncio.sleep(0.01)
            running.cancel()
    finally:
        await connection.close()
