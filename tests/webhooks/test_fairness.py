"""Who is sent to at once, over all processes: one that hangs holds up nobody else."""

import asyncio
from collections import Counter
from typing import Any

from fanfold.webhooks.claiming import Claim, DelivererLimits, claim
from tests.fixtures.figures import Figures
from tests.webhooks.desk import Desk


async def claimed(desk: Desk, most: int = 100, failing_most: int = 100, **limits: Any) -> list[Claim]:
    given = DelivererLimits(**limits)
    return await claim(desk.database, given, now=desk.clock(), most=most, failing_most=failing_most)


def by_webhook(claims: list[Claim]) -> Counter[Any]:
    return Counter(each.webhook_id for each in claims)


async def crowd(desk: Desk, webhooks: int, events: int) -> Any:
    tenant = await desk.tenant()
    made = [await desk.webhook(tenant) for _ in range(webhooks)]
    for _ in range(events):
        await desk.tell(tenant)
    return tenant, [webhook for webhook, _ in made]


async def test_of_one_webhook_four_are_under_way_over_all_processes(desk: Desk):
    await crowd(desk, 1, 10)
    assert len(await claimed(desk)) == 4
    assert await claimed(desk) == []
    desk.clock.forward(seconds=61)  # whoever had them has died
    again = await claimed(desk)
    assert len(again) == 4
    assert {each.claims for each in again} == {2}


async def test_processes_that_ask_at_the_same_moment_keep_the_bounds(desk: Desk):
    await crowd(desk, 4, 10)
    found = await asyncio.gather(*(claimed(desk) for _ in range(8)))
    claims = [each for part in found for each in part]
    assert len({each.id for each in claims}) == len(claims) == 8
    assert max(by_webhook(claims).values()) <= 4


async def test_of_one_tenant_eight_are_under_way_each_webhook_s_first_before_a_second(desk: Desk):
    _, webhooks = await crowd(desk, 10, 3)
    claims = await claimed(desk)
    assert by_webhook(claims) == Counter([each.webhook_id for each in claims])
    assert len(claims) == len({each.webhook_id for each in claims}) == 8
    assert len(webhooks) == 10


async def test_every_tenant_s_first_comes_before_anybody_s_second(desk: Desk):
    await crowd(desk, 2, 10)
    small = [(await crowd(desk, 1, 1))[0] for _ in range(3)]
    claims = await claimed(desk, most=4)
    assert len({each.tenant_id for each in claims}) == 4
    assert {each.tenant_id for each in claims} >= set(small)


async def test_who_has_nothing_under_way_comes_before_who_has_however_long_that_waits(desk: Desk):
    await crowd(desk, 2, 10)
    assert len(await claimed(desk, most=6)) == 6
    quiet, _ = await crowd(desk, 1, 1)
    assert [each.tenant_id for each in await claimed(desk, most=1)] == [quiet]


async def test_so_does_of_one_tenant_the_webhook_that_has_nothing_under_way(desk: Desk):
    tenant, _ = await crowd(desk, 1, 10)
    assert len(await claimed(desk, most=3)) == 3
    quiet, _ = await desk.webhook(tenant)
    await desk.tell(tenant)
    assert [each.webhook_id for each in await claimed(desk, most=1)] == [quiet.id]


async def test_a_webhook_that_fails_has_one_try_at_a_time_after_the_others(desk: Desk):
    tenant, [failing] = await crowd(desk, 1, 5)
    await desk.change("update fanfold.webhooks set failing_since = now() where id = $1", failing.id)
    other, _ = await crowd(desk, 1, 2)
    claims = await claimed(desk, most=2)
    assert {each.tenant_id for each in claims} == {other}
    claims = await claimed(desk)
    assert [(each.tenant_id, each.is_failing) for each in claims] == [(tenant, True)]
    assert await claimed(desk) == []


async def test_those_that_fail_have_a_lane_of_a_bounded_width(desk: Desk):
    for _ in range(4):
        await crowd(desk, 1, 1)
    await desk.change("update fanfold.webhooks set failing_since = now()")
    assert len(await claimed(desk, failing_most=3)) == 3
    assert len(await claimed(desk, failing_most=0)) == 0
    assert len(await claimed(desk, failing_most=3)) == 1


async def test_a_process_counts_those_it_has_under_way(desk: Desk):
    for _ in range(6):
        tenant = await desk.tenant()
        await desk.webhook(tenant, "slow?ms=10000")
        await desk.tell(tenant)
    await desk.change("update fanfold.webhooks set failing_since = now()")
    deliverer = desk.deliverer(failing_most=2, most=3)
    await deliverer.round()
    await deliverer.round()
    assert deliverer.running == 2
    await desk.change("update fanfold.webhooks set failing_since = null")
    await deliverer.round()
    await deliverer.round()
    assert deliverer.running == 3
    desk.receiver.mend()
    await deliverer.settle()


async def test_what_may_not_be_sent_is_not_claimed(desk: Desk):
    suspended, _ = await crowd(desk, 1, 1)
    await desk.change("update fanfold.tenants set status = 'suspended' where id = $1", suspended)
    _, [disabled] = await crowd(desk, 1, 1)
    await desk.change("update fanfold.webhooks set enabled = false where id = $1", disabled.id)
    later, _ = await crowd(desk, 1, 1)
    await desk.change(
        "update fanfold.webhook_deliveries set due_at = now() + interval '1 hour' where tenant_id = $1", later
    )
    assert await claimed(desk) == []
    await desk.change("update fanfold.tenants set status = 'active' where id = $1", suspended)
    assert [each.tenant_id for each in await claimed(desk)] == [suspended]


async def test_one_that_hangs_holds_up_neither_its_tenant_s_others_nor_other_tenants(
    desk: Desk, figures: Figures
):
    hanging = await desk.tenant()
    for _ in range(2):
        await desk.webhook(hanging, "hang")
    await desk.webhook(hanging, "ok")
    others = []
    for _ in range(3):
        others.append(await desk.tenant())
        await desk.webhook(others[-1])
    for _ in range(10):
        for tenant in (hanging, *others):
            await desk.tell(tenant)
    deliverer = desk.deliverer(webhook_most=2)
    running = asyncio.create_task(deliverer.run())
    try:
        async with asyncio.timeout(60):
            while desk.receiver.served["ok"] < 40 or deliverer.running > 4:  # those that hang, still
                deliverer.nudge()
                await asyncio.sleep(0.02)
        assert deliverer.running == 4
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert {row.status for tenant in others for row in await desk.deliveries(tenant)} == {"delivered"}
    figures(
        "webhooks, beside 2 endpoints that hang with 20 deliveries: 40 of 40 of the others delivered meanwhile"
    )
