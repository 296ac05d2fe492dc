"""Exports: the dangers of a file that is short, a sheet that runs, a reader that holds everybody up."""

import asyncio
import csv
import datetime as dt
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import ClientDisconnect

from fanfold.core.config import DatabaseSettings
from fanfold.usage.events import EventFilter, EventRow
from fanfold.usage.export import BATCH, Export, ExportResponse
from fanfold.usage.formats import FIELDS, FORMS, ExportFormat, cloud_events, csv_rows, ndjson
from tests.fixtures.app import product_settings, running_product
from tests.usage.books import Books
from tests.usage.history import History, at, history, hours_ago

NOBODY = UUID(int=1)
MANY = """
insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, upstream,
                                  quantity, occurred_at)
select $1, gen_random_uuid(), 0, 'calls', '2026-03-01', n, 'billed', '摘要', 1,
       timestamptz '2026-03-10T00:00Z' + (n / 7) * interval '1 s' from generate_series(1, $2::int) n
"""


@pytest.fixture
async def past(books: Books) -> AsyncIterator[History]:
    async with history(books) as past:
        yield past


async def _export(tenant, **query):
    answer = await tenant.http.get("/v1/usage/export", params=query)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_every_form_holds_every_event_once_oldest_first(product, past):
    tenant, stranger = await product.tenant(), await product.tenant()
    count = 2 * BATCH + 7
    await past.connection.execute(MANY, tenant.id, count)
    await past.connection.execute(MANY, stranger.id, 3)
    rows = list(csv.DictReader(io.StringIO(await _export(tenant, period="2026-03"), newline="")))
    lines = [
        json.loads(line) for line in (await _export(tenant, period="2026-03", format="ndjson")).splitlines()
    ]
    batch = json.loads(await _export(tenant, period="2026-03", format="cloudevents"))
    assert len(rows) == len(lines) == len(batch) == count
    assert [row["id"] for row in rows] == [line["id"] for line in lines] == [event["id"] for event in batch]
    assert (
        sum(int(row["units"]) for row in rows)
        == sum(line["units"] for line in lines)
        == count * (count + 1) // 2
    )
    times = [line["occurred_at"] for line in lines]
    assert times == sorted(times)
    assert (rows[0]["upstream"], rows[0]["rate"], rows[0]["is_counted"]) == ("摘要", "", "false")
    assert rows[0]["occurred_at"] == lines[0]["occurred_at"] == batch[0]["time"] == "2026-03-10T00:00:00Z"


@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1])
async def test_is_whole_at_the_edges_of_a_batch(product, past, count):
    tenant = await product.tenant()
    await past.connection.execute(MANY, tenant.id, count)
    for form in ExportFormat:
        text = await _export(tenant, period="2026-03", format=form)
        rows = json.loads(text) if form == "cloudevents" else text.splitlines()
        assert len(rows) == count + (form == "csv"), form
        assert form != "csv" or text.startswith(",".join(FIELDS) + "\r\n")


async def test_says_what_it_is(product):
    tenant = await product.tenant()
    this_month = f"{dt.datetime.now(dt.UTC):%Y-%m}"
    for query, media_type, name in [
        ("", "text/csv; charset=utf-8; header=present", f"fanfold-usage-{this_month}.csv"),
        ("?format=ndjson&from=2026-03-01&to=2026-03-02", "application/x-ndjson",
         "fanfold-usage-2026-03-01-2026-03-02.ndjson"),
        ("?format=cloudevents&period=2026-03", "application/cloudevents-batch+json", "fanfold-usage-2026-03.json"),
    ]:  # fmt: skip
        answer = await tenant.http.get(f"/v1/usage/export{query}")
        assert answer.headers.get_list("content-type") == [media_type]
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


async def test_takes_days_or_a_period_and_the_present_one_without(product, past):
    tenant = await product.tenant()
    await past.event(tenant.id, at("2026-03-31"), 1)
    await past.event(tenant.id, at("2026-04-01"), 2)
    await past.event(tenant.id, hours_ago(-1), 8)  # what comes while it is read is no part of it: so it ends
    await tenant.upstream(product.zoo.url("ok"), units_per_call=4)
    await tenant.process("x")
    for query, units in [({}, [4]), ({"period": "2026-03"}, [1]), ({"from": "2026-04-01", "to": "2026-04-01"}, [2]),
                         ({"from": "2026-03-01"}, [1, 2, 4]), ({"to": "2026-04-01"}, [1, 2])]:  # fmt: skip
        lines = (await _export(tenant, format="ndjson", **query)).splitlines()
        assert [json.loads(line)["units"] for line in lines] == units, query


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_no_cell_is_a_formula_and_every_cell_is_read_back(start):
    text = f'{start}cmd|"/c calc"!A1,\r\n二'
    row = EventRow(
        NOBODY, 0, text, 1, 1, None, "billed", text, None, dt.date(2026, 3, 1), at("2026-03-10"),
        is_counted=False, due_units=0,
    )  # fmt: skip
    written = csv_rows([row], NOBODY).decode()
    assert written.endswith("\r\n")
    (cells,) = csv.reader(io.StringIO(written, newline=""))
    assert len(cells) == len(FIELDS)
    named = dict(zip(FIELDS, cells, strict=True))
    assert named["upstream"] == named["meter"] == f"'{text}"
    assert not named["id"].startswith(start)


@pytest.mark.parametrize(
    "text", ['},{"id":', "},{", "},{\\", '"},{"id":"', '},{"specversion":"1.0"', "二\n},{"]
)
def test_what_reads_like_a_seam_between_events_parts_none(text):
    rows = [
        EventRow(NOBODY, n, text, 1, 1, None, "billed", text, None, dt.date(2026, 3, 1), at("2026-03-10"), False, 0)
        for n in range(3)
    ]  # fmt: skip
    lines = [json.loads(line) for line in ndjson(rows, NOBODY).splitlines()]
    assert [(line["call_index"], line["upstream"]) for line in lines] == [(n, text) for n in range(3)]
    events = json.loads(b"[%b]" % cloud_events(rows, NOBODY))
    assert [event["data"]["upstream"] for event in events] == [text] * 3
    assert cloud_events(rows, NOBODY).count(b"\n") == 2


async def test_with_one_connection_a_slow_reader_holds_up_nobody(database_urls, past):
    settings = product_settings(database_urls)
    one = DatabaseSettings(url=settings.database.url, pool_size=1, pool_timeout_s=20)
    async with running_product(database_urls, settings.model_copy(update={"database": one})) as product:
        tenant, other = await product.tenant(), await product.tenant()
        await past.connection.execute(MANY, tenant.id, 3 * BATCH)
        chosen = EventFilter(first=dt.date(2026, 3, 1), last=dt.date(2026, 3, 31))
        reading = Export(product.app.state.database, tenant.id, chosen)
        parts = reading.parts(await reading.batch(None), FORMS[ExportFormat.NDJSON])
        lines = 0
        async for part in parts:
            lines += part.count(b"\n")
            assert (await other.usage())["used"] == 0
        assert lines == 3 * BATCH


async def test_an_error_in_the_middle_cuts_the_body_off(own_product, past):
    tenant = await own_product.tenant()
    await past.connection.execute(MANY, tenant.id, 2 * BATCH)
    sent: list[dict[str, Any]] = []
    broken = asyncio.Event()

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body" and len(message["body"]) > 1_000 and not broken.is_set():
            broken.set()
            await own_product.app.state.database.engine.dispose()
            await past.connection.execute(f"alter database {own_product.database.name} connection limit 0")

    async def receive():
        await asyncio.Event().wait()

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/v1/usage/export", "raw_path": b"/v1/usage/export", "root_path": "",
        "query_string": b"period=2026-03", "headers": [(b"authorization", f"Bearer {tenant.key}".encode())],
        "client": ("127.0.0.1", 1), "server": ("fanfold.test", 80), "state": {}, "app": own_product.app,
    }  # fmt: skip
    try:
        await own_product.app(scope, receive, send)
    finally:
        await past.connection.execute(f"alter database {own_product.database.name} connection limit -1")
    assert broken.is_set()
    assert sent[0]["status"] == 200
    assert all(message["more_body"] for message in sent[1:])


async def _stuck(_message):
    await asyncio.Event().wait()


async def _slow(_message):
    await asyncio.sleep(0.01)


class _Impatient(ExportResponse):
    send_timeout_s = 0.05


class _Punctual(ExportResponse):
    deadline_s = 0.05


@pytest.mark.parametrize(("response", "send"), [(_Impatient, _stuck), (_Punctual, _slow)])
async def test_a_reader_who_takes_nothing_or_too_long_is_left(response, send):
    async def parts():
        while True:
            yield b"x"

    async def receive():
        await asyncio.Event().wait()

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    async with asyncio.timeout(20):
        with pytest.raises((TimeoutError, ClientDisconnect)):
            await response(parts())(scope, receive, send)
