"""The dangers in the database itself: two who are given the last slot at once, and a lease that rises from the dead."""

import asyncio
from uuid import uuid4

from tests.ratelimit.concurrency.conftest import Table, holder

EXCHANGE = "select fanfold.concurrency_exchange($1, $2, $3, $4, $5, $6)"


async def test_who_comes_second_waits_for_the_first_and_sees_what_it_took(table: Table):
    one, two = await table.connect(), await table.connect()
    key = holder(1).key
    first = one.transaction()
    await first.start()
    assert await one.fetchval(EXCHANGE, uuid4(), [key], [1], [0], [1], 10.0) == [1]
    second = asyncio.create_task(two.fetchval(EXCHANGE, uuid4(), [key], [1], [0], [1], 10.0))
    waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    while not second.done() and not await table.execute(waits):
        await asyncio.sleep(0.01)
    await first.commit()
    assert await second == [0]
    for connection in (one, two):
        await connection.close()


async def test_batches_in_any_order_never_wait_for_each_other_in_a_circle(table: Table):
    keys = [holder(1).key for _ in range(30)]
    connections = [await table.connect() for _ in range(4)]

    async def exchange(connection, ordered: list[str]) -> None:
        ones = [1] * len(ordered)
        for _ in range(40):
            await connection.fetchval(EXCHANGE, uuid4(), ordered, ones, [0] * len(ordered), ones, 10.0)

    async with asyncio.TaskGroup() as group:
        for number, connection in enumerate(connections):
            group.create_task(exchange(connection, keys[::-1] if number % 2 else keys))
    held = "select sum(held) from fanfold.concurrency_leases where key = any ($1)"
    assert await table.execute(held, keys) == len(keys)
    for connection in connections:
        await connection.close()


async def test_a_lease_that_has_ended_is_not_renewed(table: Table):
    app, process, ended, live = await table.connect(), uuid4(), holder(1).key, holder(1).key
    for key, until_s in ((ended, -1.0), (live, 60.0)):
        await table.execute(
            "insert into fanfold.concurrency_leases values ($1, $2, 1, now() + make_interval(secs => $3))",
            key, process, until_s,
        )  # fmt: skip
    renewed = await app.fetchval("select fanfold.concurrency_renew($1, $2, $3)", process, [ended, live], 10.0)
    assert renewed == [live]
    still = "select expires_at < now() from fanfold.concurrency_leases where key = $1"
    assert await table.execute(still, ended)
    await app.close()
