"""Five days of nothing but failures disable a webhook, and its owners and the tenant's others are told."""

import json
from typing import Any

from fanfold.webhooks.claiming import DelivererLimits, claim
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.ending import Endings
from fanfold.webhooks.models import Webhook
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.schemas import WebhookUpdate
from fanfold.webhooks.service import WebhookService
from tests.webhooks.desk import LOOPBACK, Desk


async def outbox(desk: Desk, tenant: Any) -> dict[str, Any]:
    async with desk.superuser() as connection:
        rows = await connection.fetch(
            "select topic, payload from fanfold.outbox where tenant_id = $1", tenant
        )
    return {row["topic"]: json.loads(row["payload"]) for row in rows}


async def fail_for(desk: Desk, tenant: Any, days: int) -> None:
    """An event a day, each of which fails."""
    deliverer = desk.deliverer()
    for _ in range(days):
        await desk.tell(tenant)
        await desk.deliver(deliverer)
        desk.clock.forward(days=1, seconds=1)


async def test_five_days_of_failures_disable_it_with_a_notice(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "500")
    await fail_for(desk, tenant, 5)
    assert (await desk.seen(webhook)).enabled
    await fail_for(desk, tenant, 1)
    seen = await desk.seen(webhook)
    assert (seen.enabled, seen.disabled_reason) == (False, "failing")
    told = {"tenant_id": str(tenant), "webhook_id": str(webhook.id), "reason": "failing"}
    assert await outbox(desk, tenant) == {"webhook.disabled": told, "mail.webhook_disabled": told}
    assert {row.status for row in await desk.deliveries(tenant)} == {"dead"}
    async with desk.superuser() as connection:
        line = await connection.fetchrow(
            "select actor_kind, object_id, after from fanfold.audit_events where action = 'webhook.disabled'"
        )
    assert (line["actor_kind"], line["object_id"]) == ("server", str(webhook.id))
    assert json.loads(line["after"]) == {"enabled": False, "disabled_reason": "failing"}


async def test_one_success_begins_the_five_days_anew(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "500")
    await fail_for(desk, tenant, 4)
    await desk.change(f"update fanfold.webhooks set url = '{desk.receiver.url('ok')}'")
    await desk.tell(tenant)
    await desk.deliver()
    await desk.change(f"update fanfold.webhooks set url = '{desk.receiver.url('500')}'")
    await fail_for(desk, tenant, 3)
    assert (await desk.seen(webhook)).enabled
    assert await outbox(desk, tenant) == {}


async def test_failures_that_are_more_than_five_days_apart_are_not_counted_together(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "500")
    await desk.tell(tenant)
    deliverer = desk.deliverer()
    await desk.walk(deliverer, tenant)  # dead after some three days
    desk.clock.forward(days=30)
    await desk.tell(tenant)
    await desk.walk(deliverer, tenant)
    assert (await desk.seen(webhook)).enabled


async def test_it_is_disabled_once_however_many_attempts_fail_at_once(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "status?code=410")
    for _ in range(4):
        await desk.tell(tenant)
    deliverer = await desk.deliver()
    assert deliverer.told["dead"] == 4
    async with desk.superuser() as connection:
        assert await connection.fetchval("select count(*) from fanfold.outbox") == 2
        assert (
            await connection.fetchval(
                "select count(*) from fanfold.audit_events where action = 'webhook.disabled'"
            )
            == 1
        )


async def test_what_is_taken_while_it_is_disabled_is_delivered_all_the_same(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "slow?ms=10000")
    await desk.tell(tenant)
    deliverer = desk.deliverer()
    await deliverer.round()
    await desk.change("update fanfold.webhooks set enabled = false where id = $1", webhook.id)
    await desk.change("update fanfold.webhook_deliveries set status = 'dead', ended_at = now()")
    desk.receiver.mend()
    await deliverer.settle()
    assert (await desk.delivery(tenant)).status == "delivered"


async def test_what_fails_while_it_is_disabled_by_hand_stays_dead(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "status?code=410&ms=10000")
    await desk.tell(tenant)
    await desk.change("update fanfold.webhook_deliveries set status = 'pending'")
    deliverer = desk.deliverer()
    await deliverer.round()
    await desk.change("update fanfold.webhooks set enabled = false where id = $1", webhook.id)
    await desk.change("update fanfold.webhook_deliveries set status = 'dead', ended_at = now()")
    desk.receiver.mend()
    await deliverer.settle()
    assert (await desk.delivery(tenant)).status == "dead"
    assert (await desk.seen(webhook)).disabled_reason is None
    assert await outbox(desk, tenant) == {}


async def at_another_address(desk: Desk, webhook: Webhook) -> None:
    async with desk.database.session(webhook.tenant_id) as session, session.begin():
        service = WebhookService(
            WebhookRepository(session, webhook.tenant_id),
            DeliveryRepository(session, webhook.tenant_id),
            key_ring=desk.key_ring,
            guard=LOOPBACK,
        )
        await service.update(webhook.id, WebhookUpdate(url=desk.receiver.url("another")))


async def test_another_address_has_five_days_of_its_own(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "500")
    await fail_for(desk, tenant, 5)
    await at_another_address(desk, webhook)
    assert (await desk.seen(webhook)).failing_since is None
    await fail_for(desk, tenant, 2)
    assert (await desk.seen(webhook)).enabled


async def test_what_the_address_before_it_answers_does_not_disable_it(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "status?code=410")
    await desk.tell(tenant)
    [claimed] = await claim(desk.database, DelivererLimits(), now=desk.clock(), most=1, failing_most=1)
    await at_another_address(desk, webhook)
    attempt = await desk.sender.send(claimed.url, claimed.event, [])
    assert attempt.status_code == 410
    assert await Endings(desk.database, clock=desk.clock).end(claimed, attempt) == "failed"
    seen = await desk.seen(webhook)
    assert (seen.enabled, seen.failing_since) == (True, None)
