"""What is old of the log goes; and what a process leaves behind when it stops or dies."""

import asyncio

import pytest
from pydantic import SecretStr

from fanfold.core.crypto import KeyRing
from fanfold.webhooks.upkeep import WebhookUpkeep
from tests.webhooks.desk import Desk


async def test_what_is_thirty_days_old_goes_with_its_attempts(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    await desk.tell(tenant)
    await desk.deliver()
    desk.clock.forward(days=29)
    upkeep = WebhookUpkeep(desk.database, clock=desk.clock)
    assert await upkeep.work() == 0
    await desk.tell(tenant)
    desk.clock.forward(days=1, minutes=1)
    assert await upkeep.work() == 1
    [left] = await desk.deliveries(tenant)
    assert left.status == "pending"
    assert upkeep.pending == 1
    async with desk.superuser() as connection:
        assert await connection.fetchval("select count(*) from fanfold.webhook_attempts") == 0


async def test_of_each_tenant_the_oldest_that_ended_go_beyond_the_bound(desk: Desk):
    tenant, other = await desk.tenant(), await desk.tenant()
    for each in (tenant, other):
        await desk.webhook(each)
    for _ in range(6):
        await desk.tell(tenant)
    await desk.tell(other)
    await desk.deliver()
    last = await desk.tell(tenant)  # waits: it is never among those that go
    newest = {row.id for row in (await desk.deliveries(tenant))[2:]}
    assert await WebhookUpkeep(desk.database, kept=4).work() == 2
    assert {row.id for row in await desk.deliveries(tenant)} == newest
    assert last in {row.event_id for row in await desk.deliveries(tenant)}
    assert len(await desk.deliveries(other)) == 1


@pytest.mark.parametrize(("days", "kept"), [(31, 10_000), (0, 0)])
async def test_a_purge_takes_no_more_at_a_time_than_it_is_told(desk: Desk, days: int, kept: int):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    for _ in range(3):
        await desk.tell(tenant)
    await desk.deliver()
    purge = "select fanfold.webhook_purge(now() + make_interval(days => $1), 30, $2, 2)"
    async with desk.superuser() as connection:
        assert [await connection.fetchval(purge, days, kept) for _ in range(3)] == [2, 1, 0]


async def test_one_process_purges_at_a_time(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    await desk.tell(tenant)
    desk.clock.forward(days=31)
    upkeep = WebhookUpkeep(desk.database, clock=desk.clock)
    async with desk.superuser() as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtextextended('fanfold.webhook_purge', 0))")
        assert await upkeep.work() == 0
    assert await upkeep.work() == 1


async def test_a_stop_gives_back_what_has_no_answer_yet(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "hang")
    await desk.tell(tenant)
    deliverer = desk.deliverer()
    running = asyncio.create_task(deliverer.run())
    async with asyncio.timeout(60):
        while not desk.receiver.received:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    row = await desk.delivery(tenant)
    assert (row.status, row.attempts, row.leased_until) == ("pending", 0, None)
    assert deliverer.running == 0


async def test_a_stop_lets_those_end_that_end_soon(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "slow?ms=400")
    await desk.tell(tenant)
    running = asyncio.create_task(desk.deliverer().run())
    async with asyncio.timeout(60):
        while not desk.receiver.received:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await desk.delivery(tenant)).status == "delivered"


async def test_the_lease_of_a_process_that_died_ends_by_itself(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "hang")
    event_id = await desk.tell(tenant)
    dying = desk.deliverer()
    await dying.round()
    await desk.change("update fanfold.webhooks set url = $1", desk.receiver.url("ok"))
    other = await desk.deliver()
    assert other.told["delivered"] == 0
    desk.clock.forward(seconds=61)
    await desk.deliver(other)
    assert other.told["delivered"] == 1
    for task in list(dying._running):
        task.cancel()
    await dying.settle()
    row = await desk.delivery(tenant)  # who lost the lease ends nothing
    assert (row.status, row.event_id, row.attempts) == ("delivered", event_id, 1)


async def test_a_stop_gives_back_no_lease_that_was_lost(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "hang")
    await desk.tell(tenant)
    stopping = desk.deliverer()
    await stopping.round()
    await desk.change("update fanfold.webhook_deliveries set claims = claims + 1")  # another has it now
    for task in list(stopping._running):
        task.cancel()
    await stopping.settle()
    assert (await desk.delivery(tenant)).leased_until is not None


async def test_what_a_lost_lease_sent_is_in_the_log_and_ends_nothing(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "slow?ms=10000")
    await desk.tell(tenant)
    slow = desk.deliverer()
    await slow.round()
    await desk.change("update fanfold.webhook_deliveries set claims = claims + 1")
    desk.receiver.mend()
    await slow.settle()
    row = await desk.delivery(tenant)
    assert (row.status, row.attempts, row.status_code) == ("pending", 1, 200)
    assert row.leased_until is not None


async def test_a_secret_that_does_not_open_is_no_failure_of_the_receiver(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant)
    await desk.tell(tenant)
    right = desk.key_ring
    desk.key_ring = KeyRing([SecretStr("another-secret-of-the-tests-long-enough-to-be-taken")])
    await desk.deliver()
    row = await desk.delivery(tenant)
    assert (row.status, row.attempts, row.leased_until) == ("pending", 0, None)
    assert (await desk.seen(webhook)).failing_since is None
    desk.key_ring = right
    await desk.deliver()
    assert (await desk.delivery(tenant)).status == "pending"  # a minute later
    desk.clock.forward(seconds=61)
    await desk.deliver()
    assert (await desk.delivery(tenant)).status == "delivered"


async def test_a_deleted_webhook_s_last_attempt_ends_in_nothing(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "slow?ms=10000")
    await desk.tell(tenant)
    deliverer = desk.deliverer()
    await deliverer.round()
    await desk.change("delete from fanfold.webhooks")
    desk.receiver.mend()
    await deliverer.settle()
    assert deliverer.told == {"delivered": 0, "failed": 0, "dead": 0}
    assert await desk.deliveries(tenant) == []
