"""A job's events: each comes once, in order, however often the stream is cut, and at whatever process it goes on."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from fanfold.core.drain import Drain
from fanfold.core.errors import NotFound
from fanfold.core.events import Event, Unread
from fanfold.jobs.answers import JobAnswers
from fanfold.jobs.events import BEGINNING, PAGE_BYTES, PAGE_EVENTS, JobEvents
from fanfold.jobs.types import JobStatus
from fanfold.jobs.watching import JobWatch
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.event_streams import Stream, parse
from tests.jobs.fake_worker import FakeWorker, fake_worker, make_job, result_of

PATIENCE_S = 60


@pytest.fixture
async def tenant(product: Product) -> TenantClient:
    return await product.tenant()


@pytest.fixture
async def worker(product: Product, tenant: TenantClient) -> AsyncIterator[FakeWorker]:
    async with fake_worker(product, tenant) as worker:
        yield worker


@pytest.fixture
async def watch(product: Product) -> AsyncIterator[JobWatch]:
    """A watch as another process has one, which looks often."""
    watch = JobWatch(product.app.state.database, every_s=0.02)
    task = asyncio.create_task(watch.run())
    yield watch
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def events_of(product: Product, watch: JobWatch, drain: Drain | None = None, **more: Any) -> JobEvents:
    state = product.app.state
    answers = JobAnswers(state.database, state.key_ring, state.offload)
    return JobEvents(state.database, answers, watch, drain or Drain(), **more)


async def read(
    events: JobEvents, tenant: TenantClient, job_id: UUID, after: int = BEGINNING, most: int = 10**9
) -> list[Event]:
    """Return the events after `after`, until the stream ends or `most` are read."""
    told: list[Event] = []
    first = await events.page(tenant.id, job_id, after)
    async with asyncio.timeout(PATIENCE_S), events.stream(tenant.id, job_id, first) as stream:
        async for event in stream:
            told.append(event)
            if len(told) >= most:
                break
    return told


def _named(told: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.name, event.id) for event in told if event.name != "progress"]


async def _stream(tenant: TenantClient, job_id: UUID, last: str | None = None, status: int = 200) -> Stream:
    headers = {} if last is None else {"Last-Event-ID": last}
    answer = await tenant.http.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == status, answer.text
    return parse(answer.content, is_numbered=False)


class TestWhole:
    async def test_of_a_job_that_has_ended(self, product: Product, tenant: TenantClient, worker: FakeWorker):
        job_id = await make_job(product, tenant)
        results = [
            result_of(2, result="a\r\nb\u2028🐼"),
            result_of(0),
            result_of(1, success=False),
            result_of(3),
        ]
        await worker.take()
        await worker.record(*results, result_of(4, result="the fold's own"))
        await worker.end(JobStatus.PARTIAL, "输出")
        stream = await _stream(tenant, job_id)
        assert stream.data("chunk") == results
        assert [each["status"] for each in stream.data("status")] == ["queued", "running", "partial"]
        assert stream.data("progress")[-1] == {"done": 4, "total": 4}
        assert stream.data("done") == [(await tenant.http.get(f"/v1/jobs/{job_id}")).json()]
        durable = [event.id for event in stream.events if event.name != "progress"]
        assert durable == [
            "0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "7",
            "7.done",
        ]  # 6 is the fold's own, which is no result
        assert stream.names[-1] == "done"

    async def test_it_is_an_event_stream(self, product: Product, tenant: TenantClient, worker: FakeWorker):
        job_id = await make_job(product, tenant, calls=1)
        await worker.run(result_of(0))
        answer = await tenant.http.get(f"/v1/jobs/{job_id}/events")
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"

    async def test_while_it_runs_each_comes_soon(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, watch: JobWatch
    ):
        job_id, events = await make_job(product, tenant), events_of(product, watch)
        first = await events.page(tenant.id, job_id, BEGINNING)
        async with asyncio.timeout(PATIENCE_S), events.stream(tenant.id, job_id, first) as stream:

            async def follows() -> Event:
                while (event := await anext(stream)).name == "progress":
                    continue
                return event

            assert (await follows()).data.startswith(b'{"status":"queued"')
            await worker.take()
            assert (await follows()).data.startswith(b'{"status":"running"')
            await worker.record(result_of(3))
            assert (await follows()).id == "2"
            await worker.record(result_of(0), result_of(1))
            assert [(await follows()).name for _ in range(2)] == ["chunk", "chunk"]
            await worker.end(JobStatus.PARTIAL)
            assert [(await follows()).name for _ in range(2)] == ["status", "done"]
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        assert watch.watched == 0

    async def test_pages_are_bounded_by_number_and_by_bytes(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, watch: JobWatch
    ):
        many = PAGE_EVENTS * 2 + 5
        job_id, events = await make_job(product, tenant, calls=many, each=50), events_of(product, watch)
        await worker.run(*map(result_of, range(many)))
        page = await events.page(tenant.id, job_id, BEGINNING)
        assert (len(page.events), page.has_more) == (PAGE_EVENTS, True)
        assert len(_named(await read(events, tenant, job_id))) == many + 4
        large = await make_job(product, tenant, calls=3)
        await worker.run(*(result_of(index, result="文" * (PAGE_BYTES // 3)) for index in range(3)))
        page = await events.page(tenant.id, large, 1)
        assert (len(page.events), page.has_more) == (1, True)
        assert len(_named(await read(events, tenant, large))) == 7


class TestResuming:
    async def test_a_stream_cut_at_100_random_places_yields_each_event_once_in_order(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, watch: JobWatch, capsys: Any
    ):
        """While the job runs, and is run again; with other readers, whose processes end in between."""
        calls, chance = 300, random.Random(20261122)
        job_id = await make_job(product, tenant, calls=calls, each=50)
        running = asyncio.create_task(_run(worker, calls))
        told: list[tuple[str, str | None]] = []
        after, cuts = BEGINNING, 0
        while not told or told[-1][0] != "done":
            events = events_of(product, watch)  # nothing is kept from the stream before
            most = chance.randrange(1, 5) if cuts < 100 else 10**9
            told += _named(await read(events, tenant, job_id, after, most))
            cuts += told[-1][0] != "done"
            after = int(str(told[-1][1]).partition(".")[0]) if told else BEGINNING
        await running
        assert cuts >= 100
        whole = _named(await read(events_of(product, watch), tenant, job_id))
        assert told == whole
        assert len(set(told)) == len(told) == calls + 4
        with capsys.disabled():
            print(f"\njob events: cut at {cuts} places, {len(told)} events, each once and in order")

    async def test_it_goes_on_behind_the_last_event_that_was_read(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        await worker.run(*map(result_of, range(4)))
        whole = await _stream(tenant, job_id)
        durable = [event for event in whole.events if event.name != "progress"]
        for place, event in enumerate(durable[:-1]):
            rest = await _stream(tenant, job_id, event.id)
            assert [each for each in rest.events if each.name != "progress"] == durable[place + 1 :]
        # What is no row has the id of the event before it, so that resuming behind it is the same.
        seen = ""
        for event in whole.events:
            assert event.name != "progress" or event.id == seen
            seen = event.id

    async def test_behind_done_there_is_nothing(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        """An EventSource asks again and again, until it is answered 204."""
        job_id = await make_job(product, tenant, calls=1)
        await worker.run(result_of(0, success=False), status=JobStatus.FAILED)
        done = (await _stream(tenant, job_id)).events[-1].id
        answer = await tenant.http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": done})
        assert (answer.status_code, answer.content) == (204, b"")

    async def test_a_job_that_runs_again_is_told_further(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant, calls=2)
        await worker.run(result_of(0), result_of(1, success=False), status=JobStatus.PARTIAL)
        before = await _stream(tenant, job_id)
        done = before.events[-1].id
        assert (await tenant.http.post(f"/v1/jobs/{job_id}/retry")).status_code == 202
        await worker.run(result_of(1, result="now"))
        after = await _stream(tenant, job_id, done)
        assert [each["status"] for each in after.data("status")] == ["queued", "running", "succeeded"]
        assert [each["result"] for each in after.data("chunk")] == ["now"]
        assert after.names[-1] == "done"
        # From the beginning: what it went through, and the results that stand.
        whole = await _stream(tenant, job_id)
        statuses = ["queued", "running", "partial", "queued", "running", "succeeded"]
        assert [each["status"] for each in whole.data("status")] == statuses
        assert [each["index"] for each in whole.data("chunk")] == [0, 1]
        assert whole.names.count("done") == 1

    @pytest.mark.parametrize("last", ["x", "-1", "1.5", "1.done.done", "9" * 19, "１", "0 or 1", "7"])
    async def test_what_is_no_id_of_its_events_is_refused(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, last: str
    ):
        job_id = await make_job(product, tenant, calls=1)
        await worker.run(result_of(0))
        headers = [(b"last-event-id", last.encode())]
        answer = await tenant.http.get(f"/v1/jobs/{job_id}/events", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation")
        assert last not in answer.json()["detail"]
        assert answer.json()["errors"][0]["loc"] == ["header", "Last-Event-ID"]
        assert answer.json()["errors"][0]["msg"].startswith(
            "Not an id of this job's events. Send the last `id`"
        )


class TestEnds:
    async def test_a_job_deleted_while_it_is_watched_ends_the_stream(
        self, product: Product, tenant: TenantClient, watch: JobWatch
    ):
        job_id, events = await make_job(product, tenant), events_of(product, watch)
        reading = asyncio.create_task(read(events, tenant, job_id))
        await asyncio.sleep(0.1)
        await tenant.http.post(f"/v1/jobs/{job_id}/cancel")
        with suppress(NotFound):  # it may have seen the end before
            async with asyncio.timeout(PATIENCE_S):
                await reading
        paused = await make_job(product, tenant)
        async with fake_worker(product, tenant) as worker:
            await worker.take()
            await worker.leave("paused")
        reading = asyncio.create_task(read(events, tenant, paused))
        while not watch.watched:
            await asyncio.sleep(0.01)
        assert (await tenant.http.delete(f"/v1/jobs/{paused}")).status_code == 204
        with pytest.raises(NotFound):
            async with asyncio.timeout(PATIENCE_S):
                await reading

    async def test_its_time_is_over_without_done(
        self, product: Product, tenant: TenantClient, watch: JobWatch
    ):
        job_id = await make_job(product, tenant)
        told = await read(events_of(product, watch, stream_s=0.05), tenant, job_id)
        assert _named(told) == [("status", "0")]

    async def test_a_server_that_stops_lets_its_readers_go(
        self, product: Product, tenant: TenantClient, watch: JobWatch
    ):
        job_id, drain = await make_job(product, tenant), Drain()
        reading = asyncio.create_task(read(events_of(product, watch, drain), tenant, job_id))
        while not watch.watched:
            await asyncio.sleep(0.01)
        drain.begun.set()
        async with asyncio.timeout(PATIENCE_S):
            assert _named(await reading) == [("status", "0")]

    async def test_who_stops_to_read_is_let_go(self, product: Product, tenant: TenantClient, watch: JobWatch):
        job_id = await make_job(product, tenant)
        events = events_of(product, watch, stream_s=-29.9)  # and 30 s more for who does not read
        first = await events.page(tenant.id, job_id, BEGINNING)
        with pytest.raises(Unread):
            async with events.stream(tenant.id, job_id, first):
                await asyncio.sleep(PATIENCE_S)
        assert watch.watched == 0


class TestWatch:
    async def test_nobody_watches_and_nothing_is_asked(self, watch: JobWatch):
        await watch.piece()
        assert watch.looks == 0

    async def test_all_watchers_of_all_jobs_are_one_query(
        self, product: Product, tenant: TenantClient, watch: JobWatch
    ):
        other = await product.tenant()
        jobs = [(each, await make_job(product, each)) for each in (tenant, other) for _ in range(3)]
        events = events_of(product, watch)
        readers = [asyncio.create_task(read(events, each, job_id)) for each, job_id in jobs for _ in range(5)]
        while watch.watched < 6:
            await asyncio.sleep(0.01)
        pool = product.app.state.database.engine.pool
        async with asyncio.timeout(PATIENCE_S):
            while pool.checkedout() > 1:  # the look's own, and for a moment what the server does by itself
                await asyncio.sleep(0.01)
        before = watch.looks
        await watch.piece()
        assert watch.looks >= before + 1
        for each, job_id in jobs:
            await each.http.post(f"/v1/jobs/{job_id}/cancel")
        async with asyncio.timeout(PATIENCE_S):
            told = await asyncio.gather(*readers)
        assert all(_named(each)[-1][0] == "done" for each in told)
        assert watch.watched == 0

    async def test_it_sees_no_other_tenant_s_job_of_the_same_id(
        self, product: Product, tenant: TenantClient, watch: JobWatch
    ):
        other, job_id = await product.tenant(), await make_job(product, tenant)
        with watch.watching(other.id, job_id, Drain()) as watched:
            async with asyncio.timeout(PATIENCE_S):
                assert await watched.goes_beyond(BEGINNING)
            assert watched.is_gone


async def _run(worker: FakeWorker, calls: int) -> None:
    """Work in steps, as results come."""
    await worker.take()
    for first in range(0, calls, 10):
        await worker.record(*map(result_of, range(first, min(first + 10, calls))))
        await asyncio.sleep(0.01)
    await worker.end()
