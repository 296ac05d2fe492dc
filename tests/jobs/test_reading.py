"""What a client sees of its jobs: lists, one of them, and results by the page or by the line."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event

from fanfold.core.errors import NotFound
from fanfold.core.identifiers import uuid7
from fanfold.jobs.answers import LINES, JobAnswers
from fanfold.jobs.reading import PAGE_BYTES
from fanfold.jobs.types import JobStatus
from tests.fixtures.app import Product, TenantClient
from tests.jobs.fake_worker import FakeWorker, fake_worker, make_job, result_of

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
async def tenant(product: Product) -> TenantClient:
    return await product.tenant()


@pytest.fixture
async def worker(product: Product, tenant: TenantClient) -> AsyncIterator[FakeWorker]:
    async with fake_worker(product, tenant) as worker:
        yield worker


async def _get(tenant: TenantClient, path: str, **more: Any) -> Any:
    answer = await tenant.http.get(f"/v1/jobs{path}", **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestOne:
    async def test_as_it_waits_runs_and_has_ended(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        job = await _get(tenant, f"/{job_id}")
        assert job | {"created_at": ""} == {
            "id": str(job_id), "status": "queued", "source": "json", "metadata": {"谁": "我 🐼"}, "units": 0,
            "units_max": 4,
            "counts": {"total": 4, "successful": 0, "failed": 0, "pending": 4}, "characters": 40, "error": None,
            "created_at": "", "started_at": None, "ended_at": None, "expires_at": None, "cancel_requested_at": None,
            "output": None, "fold": None,
        }  # fmt: skip
        await worker.take()
        await worker.record(result_of(0), result_of(1, success=False))
        job = await _get(tenant, f"/{job_id}")
        assert (job["status"], job["units"]) == ("running", 1)
        assert job["counts"] == {"total": 4, "successful": 1, "failed": 1, "pending": 2}
        assert job["started_at"] >= job["created_at"]
        await worker.record(result_of(2), result_of(3), result_of(4), result_of(5))
        output = {"折叠": ["🪭", 1.5, None]}
        error = {"code": "status", "status": 500, "detail": "It answered 500."}
        await worker.end(JobStatus.PARTIAL, output, fold_error=error)
        job = await _get(tenant, f"/{job_id}")
        assert (job["status"], job["units"], job["output"]) == ("partial", 5, output)
        assert job["counts"] == {"total": 4, "successful": 3, "failed": 1, "pending": 0}
        assert job["fold"] == {"calls": 2, "units": 2, "error": error}
        assert job["expires_at"] > job["ended_at"] > job["started_at"]

    async def test_an_output_of_megabytes(self, product: Product, tenant: TenantClient, worker: FakeWorker):
        job_id, output = await make_job(product, tenant, calls=1), "文" * 1_000_000
        await worker.run(result_of(0), output=output)
        assert (await _get(tenant, f"/{job_id}"))["output"] == output

    async def test_what_its_last_attempt_failed_of(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        await worker.take()
        error = {"code": "worker-lost", "detail": "The worker was lost."}
        await worker.leave("failed", error=json.dumps(error), attempts=1)
        job = await _get(tenant, f"/{job_id}")
        assert (job["status"], job["error"]) == ("dead", error)


class TestList:
    async def test_newest_first_by_the_page_and_by_status(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        made = [str(await make_job(product, tenant, calls=1)) for _ in range(5)]
        ended = str(await worker.run(result_of(0), output="x"))
        page = await _get(tenant, "", params={"limit": 3})
        rest = await _get(tenant, "", params={"limit": 3, "cursor": page["next_cursor"]})
        assert [job["id"] for job in page["data"] + rest["data"]] == made[::-1]
        assert rest["next_cursor"] is None
        queued = await _get(tenant, "", params={"status": "queued"})
        assert [job["id"] for job in queued["data"]] == [each for each in made[::-1] if each != ended]
        succeeded = await _get(tenant, "", params={"status": "succeeded"})
        assert [job["id"] for job in succeeded["data"]] == [ended]
        assert "output" not in succeeded["data"][0]

    async def test_nothing_sealed_is_read_for_it(self, product: Product, tenant: TenantClient):
        await make_job(product, tenant)
        statements: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            statements.append(statement)

        engine = product.app.state.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            await _get(tenant, "")
        finally:
            event.remove(engine, "before_cursor_execute", note)
        # The server's own, of its chores, are among them.
        (statement,) = [each for each in statements if "fanfold.jobs.metadata" in each]
        assert "jobs.request" not in statement
        assert "jobs.output" not in statement

    async def test_a_status_that_is_none_is_refused(self, tenant: TenantClient):
        assert (await tenant.http.get("/v1/jobs", params={"status": "done"})).status_code == 422


class TestResults:
    async def test_in_the_order_of_the_text_without_the_fold(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        await worker.take()
        results = [result_of(index, success=index != 2) for index in (3, 0, 2)]
        await worker.record(*results, result_of(4, result="the fold's own"))
        expected = sorted(results, key=lambda result: result["index"])
        assert await _get(tenant, f"/{job_id}/results") == {"data": expected, "next_cursor": None}
        failed = await _get(tenant, f"/{job_id}/results", params={"status": "failed"})
        assert [result["index"] for result in failed["data"]] == [2]
        fine = await _get(tenant, f"/{job_id}/results", params={"status": "succeeded"})
        assert [result["index"] for result in fine["data"]] == [0, 3]

    async def test_by_the_page(self, product: Product, tenant: TenantClient, worker: FakeWorker):
        job_id = await make_job(product, tenant, calls=10, each=5)
        await worker.run(*map(result_of, range(10)))
        found, cursor, pages = [], None, 0
        while pages == 0 or cursor:
            params = {"limit": 5} | ({"cursor": cursor} if cursor else {})
            page = await _get(tenant, f"/{job_id}/results", params=params)
            found += [result["index"] for result in page["data"]]
            cursor, pages = page["next_cursor"], pages + 1
        assert found == list(range(10))
        assert pages == 2  # the last one says that it is the last

    async def test_a_page_is_no_larger_than_what_one_may_hold(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant, calls=6, each=6)
        await worker.take()
        large = "文" * (
            PAGE_BYTES // 6
        )  # three of them are more than a page, and each has three bytes a character
        for index in range(6):
            await worker.record(result_of(index, result=large))
        answer = await tenant.http.get(f"/v1/jobs/{job_id}/results")
        indexes = [result["index"] for result in answer.json()["data"]]
        assert 0 < len(indexes) < 6
        assert len(answer.content) < 2 * PAGE_BYTES
        cursor = answer.json()["next_cursor"]
        follows = await _get(tenant, f"/{job_id}/results", params={"cursor": cursor})
        assert follows["data"][0]["index"] == indexes[-1] + 1
        lines = (await tenant.http.get(f"/v1/jobs/{job_id}/results", headers=NDJSON)).text.splitlines()
        assert [json.loads(line)["index"] for line in lines] == list(range(6))

    async def test_by_the_line(self, product: Product, tenant: TenantClient, worker: FakeWorker):
        job_id = await make_job(product, tenant, calls=450, each=50)
        results = [result_of(index, custom_id=f"行 {index}", result="a\nb\u2028\r") for index in range(450)]
        await worker.run(*results)
        answer = await tenant.http.get(f"/v1/jobs/{job_id}/results", headers=NDJSON)
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in answer.content.split(b"\n")[:-1]] == results
        failed = await tenant.http.get(
            f"/v1/jobs/{job_id}/results", headers=NDJSON, params={"status": "failed"}
        )
        assert (failed.status_code, failed.content) == (200, b"")

    async def test_a_job_deleted_meanwhile_cuts_the_lines_off(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        """A body that ended there would look whole."""
        job_id = await make_job(product, tenant, calls=LINES + 1, each=50)
        await worker.run(*map(result_of, range(LINES + 1)))
        state = product.app.state
        answers = JobAnswers(state.database, state.key_ring, state.offload)
        first = await answers.results(tenant.id, job_id, after=-1, most=LINES, success=None)
        lines = answers.lines(tenant.id, job_id, first, success=None)
        assert (await anext(lines)).count(b"\n") == LINES
        assert (await tenant.http.delete(f"/v1/jobs/{job_id}")).status_code == 204
        with pytest.raises(NotFound):
            await anext(lines)

    @pytest.mark.parametrize("cursor", ["!", "AAAA", "_____________________w"])
    async def test_what_is_no_cursor_is_refused(self, product: Product, tenant: TenantClient, cursor: str):
        job_id = await make_job(product, tenant)
        answer = await tenant.http.get(f"/v1/jobs/{job_id}/results", params={"cursor": cursor})
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("path", ["", "/results", "/events"])
async def test_what_is_none_of_the_tenant_s_is_a_404(product: Product, tenant: TenantClient, path: str):
    other = await product.tenant()
    theirs: UUID = await make_job(product, other)
    for job_id in (theirs, uuid7()):
        for headers in ({}, NDJSON):
            answer = await tenant.http.get(f"/v1/jobs/{job_id}{path}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("path", ["", "/{id}", "/{id}/results", "/{id}/events"])
async def test_it_needs_the_scope(product: Product, path: str):
    tenant = await product.tenant(scopes=["process", "usage:read"])
    job_id = await make_job(product, tenant)
    answer = await tenant.http.get("/v1/jobs" + path.format(id=job_id))
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")
