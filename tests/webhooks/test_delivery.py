"""An event on its way: signed, sent, tried again, given up, and once more by hand."""

import asyncio
import datetime as dt
import json
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from fanfold.core.identifiers import uuid7
from fanfold.outbox.types import Message
from fanfold.outbox.writer import NO_TENANT
from fanfold.webhooks import words
from fanfold.webhooks.events import EVENTS
from tests.webhooks.desk import JOB, Desk

PAYLOADS: dict[str, dict[str, Any]] = {
    "job.finished": JOB,
    "quota.warning": {
        "level": 80, "holder": "tenant", "api_key_id": None, "period_start": "2026-11-01", "used": 8, "limit": 10,
    },
    "api_key.created": {"api_key_id": str(UUID(int=1))},
    "api_key.rotated": {"api_key_id": str(UUID(int=1)), "previous_until": None},
    "api_key.revoked": {"api_key_id": str(UUID(int=1))},
    "upstream.circuit_opened": {
        "upstream_id": str(UUID(int=2)), "upstream": "总结", "opened_at": "2026-11-22T12:00:00+00:00",
        "retry_at": "2026-11-22T12:00:30+00:00",
    },
    "webhook.disabled": {"webhook_id": str(UUID(int=3)), "reason": "gone"},
}  # fmt: skip


async def test_every_kind_of_event_arrives_signed_as_the_reference_library_verifies(desk: Desk):
    assert PAYLOADS.keys() == EVENTS.keys()
    tenant = await desk.tenant()
    _, secret = await desk.webhook(tenant)
    told = {
        topic: await desk.tell(tenant, topic, secret="never told", **payload)
        for topic, payload in PAYLOADS.items()
    }
    await desk.deliver()
    assert len(desk.receiver.received) == len(told)
    for came in desk.receiver.received:
        event = came.verified(secret)
        assert event.keys() == {"type", "timestamp", "data"}
        assert came.event_id == str(told[event["type"]])
        assert event["data"] == {"tenant_id": str(tenant), **PAYLOADS[event["type"]]}
        at = dt.datetime.fromisoformat(event["timestamp"])
        assert abs(dt.datetime.now(dt.UTC) - at) < dt.timedelta(minutes=1)
        assert came.headers["content-type"] == "application/json"
        assert len(came.body) < 1_000
    assert {row.status for row in await desk.deliveries(tenant)} == {"delivered"}


async def test_what_was_changed_on_the_way_does_not_verify(desk: Desk):
    tenant = await desk.tenant()
    _, secret = await desk.webhook(tenant)
    _, other = await desk.webhook(tenant)
    await desk.tell(tenant)
    await desk.deliver()
    first = desk.receiver.received[0]
    with pytest.raises(WebhookVerificationError):
        first.verified(other if first.tag == next(iter(desk.receiver.secrets)) else secret)
    assert desk.receiver.forged == 0


async def test_it_says_what_happened_when_it_happened(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    desk.clock.forward(hours=1)  # the relay was an hour late
    await desk.tell(tenant)
    sql = Message(tenant_id=tenant, id=UUID(int=9, version=4), topic="job.finished", payload=JOB, attempts=1)
    await desk.hand_on(sql)  # an id that Postgres made says nothing of the time
    times = [json.loads(row.body)["timestamp"] for row in await desk.deliveries(tenant)]
    late = dt.datetime.fromisoformat(times[1]) - dt.datetime.fromisoformat(times[0])
    assert dt.timedelta(minutes=59) < late < dt.timedelta(minutes=61)


async def test_a_webhook_hears_what_it_listens_to_and_no_other_tenant_s(desk: Desk):
    tenant, other = await desk.tenant(), await desk.tenant()
    await desk.webhook(tenant, events=["quota.warning", "job.finished"])
    await desk.webhook(tenant, events=["api_key.created"])
    await desk.webhook(tenant, enabled=False)
    await desk.webhook(other)
    await desk.tell(tenant)
    await desk.deliver()
    assert [row.type for row in await desk.deliveries(tenant)] == ["job.finished"]
    assert await desk.deliveries(other) == []
    assert len(desk.receiver.received) == 1


async def test_what_belongs_to_no_tenant_is_told_to_nobody(desk: Desk):
    await desk.webhook(await desk.tenant())
    payload = PAYLOADS["upstream.circuit_opened"]
    await desk.hand_on(
        Message(tenant_id=NO_TENANT, id=uuid7(), topic="upstream.circuit_opened", payload=payload, attempts=1)
    )
    assert desk.nudges == 0
    async with desk.superuser() as connection:
        assert await connection.fetchval("select count(*) from fanfold.webhook_deliveries") == 0


async def test_a_message_told_twice_is_one_delivery(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    message = Message(tenant_id=tenant, id=uuid7(), topic="job.finished", payload=JOB, attempts=1)
    await asyncio.gather(*(desk.hand_on(message) for _ in range(5)))
    await desk.deliver()
    await desk.hand_on(message)
    await desk.deliver()
    assert (await desk.delivery(tenant)).status == "delivered"
    assert list(desk.receiver.times(desk.receiver.received[0].tag).values()) == [1]


async def test_a_payload_that_lacks_something_is_an_error_and_no_half_event(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    with pytest.raises(KeyError):
        await desk.tell(tenant, "job.finished", job_id="x")
    assert await desk.deliveries(tenant) == []


async def test_a_disabled_webhook_is_not_told_that_it_was_disabled(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant)
    await desk.webhook(tenant)
    await desk.tell(tenant, "webhook.disabled", webhook_id=str(webhook.id), reason="gone")
    assert [row.webhook_id != webhook.id for row in await desk.deliveries(tenant)] == [True]


async def test_what_fails_comes_again_under_the_same_id_until_it_is_taken(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "flaky?fail=2")
    event_id, sent_at = await desk.tell(tenant), desk.clock()
    deliverer = await desk.deliver()
    failed = await desk.delivery(tenant)
    assert (failed.status, failed.attempts, failed.status_code) == ("pending", 1, 503)
    assert failed.error is not None
    assert "its own side (503)" in failed.error
    assert sent_at < failed.due_at - dt.timedelta(seconds=5) < desk.clock()
    assert (await desk.seen(webhook)).failing_since is not None
    await desk.walk(deliverer, tenant)
    taken = await desk.delivery(tenant)
    assert (taken.status, taken.attempts, taken.error) == ("delivered", 3, None)
    assert desk.receiver.times(desk.receiver.received[0].tag) == {str(event_id): 3}
    assert len({came.body for came in desk.receiver.received}) == 1
    assert desk.receiver.forged == 0
    assert (await desk.seen(webhook)).failing_since is None
    assert deliverer.told == {"delivered": 1, "failed": 2, "dead": 0}


async def test_after_three_days_it_is_dead_and_can_be_replayed_by_hand(desk: Desk):
    tenant = await desk.tenant()
    webhook, _ = await desk.webhook(tenant, "flaky?fail=11")
    event_id = await desk.tell(tenant)
    start, deliverer = desk.clock(), desk.deliverer()
    await desk.walk(deliverer, tenant)
    dead = await desk.delivery(tenant)
    assert (dead.status, dead.attempts) == ("dead", 10)
    assert dt.timedelta(days=3) < desk.clock() - start < dt.timedelta(days=4)
    assert (await desk.seen(webhook)).enabled
    assert deliverer.told["dead"] == 1
    await desk.replay(dead)
    await desk.walk(deliverer, tenant)  # fails once more, and has all its retries before it again
    assert (await desk.delivery(tenant)).status == "delivered"
    assert desk.receiver.times(desk.receiver.received[0].tag) == {str(event_id): 12}


@pytest.mark.parametrize(("chance", "pause_s"), [(0.0, 4.5), (1.0, 5.5)])
async def test_chance_makes_the_pause_after_a_failure_shorter_or_longer(
    desk: Desk, chance: float, pause_s: float
):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "500")
    await desk.tell(tenant)
    desk.jitter = chance
    stopped = desk.clock()
    desk.clock = lambda: stopped  # type: ignore[assignment] # a clock that stands
    await desk.deliver()
    assert (await desk.delivery(tenant)).due_at - stopped == dt.timedelta(seconds=pause_s)


async def test_a_replay_does_not_wait_for_the_next_attempt_s_time(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "flaky?fail=1")
    await desk.tell(tenant)
    await desk.deliver()
    failed = await desk.delivery(tenant)
    assert failed.due_at > desk.clock()
    await desk.change(
        "update fanfold.webhook_deliveries set due_at = now() + interval '1 day', ended_at = now()"
    )
    await desk.replay(failed)
    assert (await desk.delivery(tenant)).ended_at is None
    await desk.deliver()
    assert (await desk.delivery(tenant)).status == "delivered"


async def test_a_replay_has_a_fresh_timestamp(desk: Desk):
    tenant = await desk.tenant()
    _, secret = await desk.webhook(tenant)
    await desk.tell(tenant)
    await desk.deliver()
    await asyncio.sleep(1.1)
    await desk.replay(await desk.delivery(tenant))
    await desk.deliver()
    first, second = desk.receiver.received
    assert first.event_id == second.event_id
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert first.verified(secret) == second.verified(secret)


async def test_what_is_sent_just_now_and_replayed_is_sent_again(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant, "slow?ms=300")
    await desk.tell(tenant)
    deliverer = desk.deliverer()
    await deliverer.round()
    await asyncio.sleep(0.1)
    await desk.replay(await desk.delivery(tenant))
    await deliverer.settle()
    assert (await desk.delivery(tenant)).status == "pending"  # the first sending ended nothing
    await desk.deliver(deliverer)
    ended = await desk.delivery(tenant)
    assert (ended.status, ended.attempts) == ("delivered", 2)


async def test_a_receiver_s_retry_after_is_heeded_up_to_a_day(desk: Desk):
    for after, at_least in (("7200", dt.timedelta(hours=2)), ("99999999", dt.timedelta(days=1))):
        tenant = await desk.tenant()
        await desk.webhook(tenant, f"429?after={after}")
        await desk.tell(tenant)
        await desk.deliver()
        pause = (await desk.delivery(tenant)).due_at - desk.clock()
        assert at_least - dt.timedelta(seconds=20) < pause <= at_least


async def test_beyond_the_bound_of_what_waits_it_is_dead_at_once_and_kept(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    for _ in range(3):
        message = Message(tenant_id=tenant, id=uuid7(), topic="job.finished", payload=JOB, attempts=1)
        await desk.hand_on(message, max_pending=2)
    rows = await desk.deliveries(tenant)
    assert [row.status for row in rows] == ["pending", "pending", "dead"]
    assert rows[2].error == words.TOO_MANY
    await desk.replay(rows[2])
    await desk.deliver()
    assert {row.status for row in await desk.deliveries(tenant)} == {"delivered"}


async def test_of_very_many_attempts_the_last_fifty_are_kept(desk: Desk):
    tenant = await desk.tenant()
    await desk.webhook(tenant)
    await desk.tell(tenant)
    await desk.change("update fanfold.webhook_deliveries set attempts = 49")
    for _ in range(3):
        await desk.replay(await desk.delivery(tenant))
        await desk.deliver()
    async with desk.superuser() as connection:
        numbers = await connection.fetch("select number from fanfold.webhook_attempts order by 1")
    assert [row["number"] for row in numbers] == [50, 51, 52]
    await desk.change("update fanfold.webhook_deliveries set attempts = 100")
    await desk.replay(await desk.delivery(tenant))
    await desk.deliver()
    async with desk.superuser() as connection:
        numbers = await connection.fetch("select number from fanfold.webhook_attempts order by 1")
    assert [row["number"] for row in numbers] == [52, 101]
