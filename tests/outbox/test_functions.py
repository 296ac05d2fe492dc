"""The dangers of sharing: a message that two take at once, one that nobody takes, and one ended by who lost it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.outbox.box import Box

CLAIM = "select * from fanfold.outbox_claim($1, $2, $3)"
DONE = "select fanfold.outbox_done($1, $2, $3)"
RETRY = "select fanfold.outbox_retry($1, $2, $3, $4, $5)"
PURGE = "select fanfold.outbox_purge($1)"


@pytest.fixture
async def app(box: Box) -> AsyncIterator[Any]:
    connection = await box.connect()
    yield connection
    await connection.close()


@pytest.fixture
async def other(box: Box) -> AsyncIterator[Any]:
    connection = await box.connect()
    yield connection
    await connection.close()


async def claim(connection: Any, box: Box, most: int = 100, lease_s: float = 60) -> list[Any]:
    found: list[Any] = await connection.fetch(CLAIM, [box.topic], most, lease_s)
    return found


async def test_the_longest_due_comes_first_and_what_is_not_due_stays(app, box: Box):
    late = await box.put(due_in_s=-1)
    first = await box.put(due_in_s=-60)
    await box.put(due_in_s=60)
    middle = await box.put(due_in_s=-30)
    assert [row["id"] for row in await claim(app, box, 2)] == [first, middle]
    assert [row["id"] for row in await claim(app, box)] == [late]


async def test_many_come_in_the_order_in_which_they_are_due_whatever_the_plan(app, box: Box):
    await box.change(
        "insert into fanfold.outbox (tenant_id, topic, payload, due_at) "
        "select gen_random_uuid(), $1, jsonb_build_object('n', n), now() - make_interval(secs => n) "
        "from generate_series(1, 2000) n order by random()",
        box.topic,
    )
    for plan in ("enable_nestloop", "enable_hashjoin"):
        async with app.transaction():
            await app.execute(f"set local {plan} = off")
            places = [json.loads(row["payload"])["n"] for row in await claim(app, box, 900)]
        assert len(places) == 900
        assert places == sorted(places, reverse=True)


async def test_only_topics_that_were_asked_for(app, box: Box):
    message = await box.put(name="值")
    assert await app.fetch(CLAIM, ["another.topic"], 100, 60.0) == []
    (row,) = await app.fetch(CLAIM, ["another.topic", box.topic], 100, 60.0)
    assert (row["id"], row["topic"], row["payload"], row["attempts"]) == (
        message,
        box.topic,
        '{"name": "值"}',
        1,
    )


async def test_two_who_ask_at_once_get_different_ones_and_neither_waits(app, other, box: Box):
    for _ in range(5):
        await box.put()
    async with app.transaction():
        mine = await claim(app, box, 2)
        theirs = await other.fetch(CLAIM, [box.topic], 100, 60.0, timeout=10)
    assert (len(mine), len(theirs)) == (2, 3)
    assert not {row["id"] for row in mine} & {row["id"] for row in theirs}


async def test_a_lease_holds_until_it_ends_and_each_claim_counts(app, box: Box):
    await box.put()
    assert [row["attempts"] for row in await claim(app, box)] == [1]
    assert await claim(app, box) == []
    await box.end_leases()
    assert [row["attempts"] for row in await claim(app, box)] == [2]


async def test_a_lease_lasts_as_long_as_was_asked(app, box: Box):
    await box.put()
    await claim(app, box, lease_s=600)
    async with box.superuser() as superuser:
        left = await superuser.fetchval(
            "select extract(epoch from leased_until - now()) from fanfold.outbox where topic = $1", box.topic
        )
    assert 500 < left <= 600


async def test_what_is_done_is_gone(app, box: Box):
    await box.put()
    kept = await box.put(due_in_s=60)
    (row,) = await claim(app, box)
    assert await app.fetchval(DONE, [row["tenant_id"]], [row["id"]], [row["attempts"]]) == 1
    assert [row["id"] for row in await box.rows()] == [kept]


async def test_who_lost_the_lease_ends_nobody_elses_claim(app, other, box: Box):
    await box.put()
    (mine,) = await claim(app, box)
    await box.end_leases()
    (theirs,) = await claim(other, box)
    assert await app.fetchval(DONE, [mine["tenant_id"]], [mine["id"]], [mine["attempts"]]) == 0
    assert not await app.fetchval(RETRY, mine["tenant_id"], mine["id"], mine["attempts"], 0.0, True)
    (row,) = await box.rows()
    assert (row["is_leased"], row["dead_at"], row["attempts"]) == (True, None, theirs["attempts"])


async def test_what_failed_is_due_again_after_its_pause(app, box: Box):
    await box.put()
    (row,) = await claim(app, box)
    assert await app.fetchval(RETRY, row["tenant_id"], row["id"], 1, 0.0, False)
    (row,) = await claim(app, box)
    assert await app.fetchval(RETRY, row["tenant_id"], row["id"], 2, 600.0, False)
    assert await claim(app, box) == []
    (row,) = await box.rows()
    assert (row["is_leased"], row["dead_at"]) == (None, None)


async def test_the_dead_are_kept_and_never_claimed(app, box: Box):
    await box.put()
    (row,) = await claim(app, box)
    assert await app.fetchval(RETRY, row["tenant_id"], row["id"], 1, 0.0, True)
    assert await claim(app, box) == []
    (row,) = await box.rows()
    assert row["dead_at"] is not None


async def test_the_dead_go_after_their_days_and_only_they(app, box: Box):
    old, young, waiting = [await box.put() for _ in range(3)]
    for message, days in ((old, 31), (young, 29)):
        await box.change(
            "update fanfold.outbox set dead_at = now() - make_interval(days => $2) where id = $1",
            message,
            days,
        )
    await box.change(
        "update fanfold.outbox set due_at = now() - interval '1 year', created_at = due_at where id = $1",
        waiting,
    )
    assert await app.fetchval(PURGE, 30.0) == 1
    assert {row["id"] for row in await box.rows()} == {young, waiting}
