"""Usage events over HTTP: the dangers of a list that skips, repeats, or shows a stranger's."""

import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from fanfold.core.errors import ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.usage.events import EventKey
from tests.usage.books import Books
from tests.usage.history import History, at, history

CLOUD_EVENT = json.loads(
    # The members of CloudEvents 1.0.2's JSON schema (formats/cloudevents.json) that a usage event has.
    """{"specversion": {"type": "string", "minLength": 1}, "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1}, "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "minLength": 1}, "time": {"type": "string", "minLength": 1},
        "datacontenttype": {"type": "string", "minLength": 1}, "data": {"type": "object"}}"""
)
REQUIRED = {"id", "source", "specversion", "type"}


@pytest.fixture
async def past(books: Books) -> AsyncIterator[History]:
    async with history(books) as past:
        yield past


async def _pages(tenant, **query):
    found, cursor = [], None
    while True:
        answer = await tenant.http.get(
            "/v1/usage/events", params={**query, **({"cursor": cursor} if cursor else {})}
        )
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        cursor = answer.json()["next_cursor"]
        if not cursor:
            return found


async def test_what_was_billed_is_shown_as_it_was_priced(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), slug="a", units_per_call=2, units_per_1k_chars=3)
    answer = await tenant.process("x" * 4, split={"size": 2}, upstreams=["a"])
    events = await _pages(tenant)
    assert {(e["call_index"], e["meter"], e["units"], e["rate"], e["quantity"]) for e in events} == {
        (0, "calls", 2, 2, 1), (1, "calls", 2, 2, 1), (0, "characters", 1, 3, 2), (1, "characters", 1, 3, 2),
    }  # fmt: skip
    for event in events:
        assert event["request_id"] == answer["id"]
        assert event["id"] == f"{answer['id']}-{event['call_index']}-{event['meter']}"
        assert (event["upstream"], event["outcome"], event["due_units"], event["is_counted"]) == (
            "a",
            "billed",
            0,
            False,
        )
        assert event["period_start"] == f"{dt.datetime.now(dt.UTC):%Y-%m}-01T00:00:00Z"
    assert sum(event["units"] for event in events) == answer["usage"]["units"]


async def test_pages_follow_one_another_while_new_events_come(product, past):
    tenant, stranger = await product.tenant(), await product.tenant()
    moment = at("2026-03-10")
    # Thirty of one moment, as a flush writes them, and others around it.
    mine = [str(await past.event(tenant.id, moment)) for _ in range(30)]
    mine += [str(await past.event(tenant.id, moment + dt.timedelta(seconds=n - 5))) for n in range(10)]
    await past.event(stranger.id, moment)
    first = (await tenant.http.get("/v1/usage/events?limit=7")).json()
    late = str(await past.event(tenant.id, moment + dt.timedelta(days=1)))
    rest: list[Any] = []
    cursor = first["next_cursor"]
    while cursor:
        page = (await tenant.http.get("/v1/usage/events", params={"limit": 7, "cursor": cursor})).json()
        rest, cursor = rest + page["data"], page["next_cursor"]
    seen = [event["request_id"] for event in first["data"] + rest]
    assert sorted(seen) == sorted(mine)
    everything = await _pages(tenant, limit=200)
    assert everything[0]["request_id"] == late
    assert [event["request_id"] for event in everything[1:]] == seen
    times = [event["occurred_at"] for event in everything]
    assert times == sorted(times, reverse=True)


async def test_filters(product, past):
    tenant, key = await product.tenant(), uuid7()
    march = dt.date(2026, 3, 1)
    one = await past.event(tenant.id, at("2026-03-31", "23:59"), upstream="a", api_key=key)
    two = await past.event(tenant.id, at("2026-04-01", "00:00"), upstream="b", period=march)
    three = await past.event(tenant.id, at("2026-04-02"), upstream="b")
    for query, wanted in [
        ({}, [three, two, one]),
        ({"from": "2026-04-01"}, [three, two]),
        ({"to": "2026-03-31"}, [one]),
        ({"from": "2026-04-01", "to": "2026-04-01"}, [two]),
        ({"period": "2026-03"}, [two, one]),
        ({"upstream": "b"}, [three, two]),
        ({"api_key": str(key)}, [one]),
        ({"request_id": str(three)}, [three]),
        ({"upstream": "b", "period": "2026-03"}, [two]),
        ({"upstream": "nobody"}, []),
    ]:
        assert [event["request_id"] for event in await _pages(tenant, **query)] == [str(w) for w in wanted], (
            query
        )


@pytest.mark.parametrize(
    "query",
    ["cursor=x", "cursor=%2B", "cursor=AAAA", "limit=0", "limit=201", "from=2026-02-02&to=2026-02-01", "period=2026",
     "period=2026-01&from=2026-01-01", "format=xml", "api_key=x", "request_id=x", "offset=1", "to=9999-12-31",
     f"cursor={'_' * 60}"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["events", "export"])
async def test_refuses_what_makes_no_sense(product, query, path):
    tenant = await product.tenant()
    answer = await tenant.http.get(f"/v1/usage/{path}?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


def test_a_cursor_is_read_back_and_holds_no_time_beyond_the_calendar():
    key = EventKey(at("2026-03-10"), uuid7(), 2**31 - 1, "输入")
    assert EventKey.decode(key.encode()) == key
    with pytest.raises(ValidationFailed):
        EventKey.decode("f" * 40)


async def test_a_page_reads_no_more_than_its_events(product, past):
    tenant = await product.tenant()
    await past.connection.execute(
        """
        insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome,
                                          upstream, quantity, occurred_at)
        select $1, gen_random_uuid(), 0, 'calls', date_trunc('month', now())::date, 1, 'billed', 'u', 1,
               now() - n * interval '1 s' from generate_series(1, 20000) n
        """,
        tenant.id,
    )
    await past.connection.execute("analyze fanfold.usage_events")
    reads = (
        "select coalesce(sum(coalesce(idx_tup_fetch, 0) + seq_tup_read), 0) from pg_stat_xact_user_tables "
        "where relname ~ '^usage_events'"
    )
    cursor = (await tenant.http.get("/v1/usage/events")).json()["next_cursor"]
    key = EventKey.decode(cursor)
    async with past.books.app() as app, app.transaction():
        await app.execute("select set_config('app.tenant_id', $1, true)", str(tenant.id))
        before = await app.fetchval(reads)
        rows = await app.fetch(
            "select request_id from fanfold.usage_events where tenant_id = $1 and occurred_at <= $2 "
            "and (occurred_at, request_id, call_index, meter) < ($2, $3, $4, $5) "
            "order by occurred_at desc, request_id desc, call_index desc, meter desc limit 51",
            tenant.id, key.occurred_at, key.request_id, key.call_index, key.meter,
        )  # fmt: skip
        read = await app.fetchval(reads) - before
    assert len(rows) == 51
    assert read < 200


class TestCloudEvents:
    async def test_a_page_is_a_batch_as_the_specification_has_it(self, product, past):
        tenant = await product.tenant()
        for second in range(5):
            await past.event(
                tenant.id, at("2026-03-10") + dt.timedelta(seconds=second), second, upstream="摘要"
            )
        plain = {event["id"]: event for event in await _pages(tenant)}
        url, seen = "/v1/usage/events?format=cloudevents&limit=2", []
        while url:
            answer = await tenant.http.get(url)
            assert answer.headers["content-type"] == "application/cloudevents-batch+json"
            seen += answer.json()
            link = answer.headers.get("link", "")
            assert parse_qs(link[2:]).get("format", ["cloudevents"]) == ["cloudevents"]
            url = f"/v1/usage/events{link[1 : link.index('>')]}" if link else ""
        assert [event["id"] for event in seen] == list(plain)
        for event in seen:
            _check(event)
            assert event["subject"] == str(tenant.id)
            assert (event["type"], event["source"]) == ("dev.fanfold.usage", "urn:fanfold:usage")
            data = {**event["data"], "id": event["id"], "occurred_at": event["time"]}
            assert data == plain[event["id"]]

    async def test_of_nobody_is_an_empty_batch(self, product):
        tenant = await product.tenant()
        answer = await tenant.http.get("/v1/usage/events?format=cloudevents")
        assert (answer.json(), answer.headers.get("link")) == ([], None)


def _check(event: dict[str, Any]) -> None:
    assert event.keys() >= REQUIRED
    assert event.keys() <= CLOUD_EVENT.keys(), (
        "an attribute of its own is lower case letters and digits alone"
    )
    for name, value in event.items():
        assert isinstance(value, str if CLOUD_EVENT[name]["type"] == "string" else dict), name
        assert value, name
    assert event["specversion"] == "1.0"
    assert dt.datetime.fromisoformat(event["time"]).tzinfo is not None
