"""Ending jobs, running them again, removing them: what moves, what stays, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from fanfold.jobs.types import JobStatus
from tests.fixtures.app import Product, TenantClient
from tests.jobs.fake_worker import FakeWorker, fake_worker, make_job, result_of
from tests.usage.books import Books

ENDED = ("succeeded", "partial", "failed", "cancelled", "dead")


@pytest.fixture
async def tenant(product: Product) -> TenantClient:
    return await product.tenant(monthly_units=100)


@pytest.fixture
async def worker(product: Product, tenant: TenantClient) -> AsyncIterator[FakeWorker]:
    async with fake_worker(product, tenant) as worker:
        yield worker


@pytest.fixture
def books(product: Product) -> Books:
    return Books(product.database)


async def _post(tenant: TenantClient, job_id: UUID, word: str, status: int = 202, **more: Any) -> Any:
    answer = await tenant.http.post(f"/v1/jobs/{job_id}/{word}", **more)
    assert answer.status_code == status, answer.text
    return answer.json()


async def _delete(tenant: TenantClient, job_id: UUID) -> int:
    return (await tenant.http.delete(f"/v1/jobs/{job_id}")).status_code


async def _job(tenant: TenantClient, job_id: UUID) -> Any:
    return (await tenant.http.get(f"/v1/jobs/{job_id}")).json()


async def _held(books: Books, tenant: TenantClient) -> tuple[int, int]:
    await books.check_truths(tenant.id)
    quota = await books.quota(tenant.id)
    return quota["used"], quota["reserved"]


async def _end(worker: FakeWorker, status: str) -> None:
    """Let the tenant's next job end so, with one chunk that succeeded and one that failed; two are missing."""
    await worker.take()
    await worker.record(result_of(0), result_of(1, success=False))
    if status == "dead":
        await worker.leave("failed", attempts=1)
    else:
        await worker.end(JobStatus(status), "output")


async def _retriable(worker: FakeWorker, status: str) -> None:
    await _end(worker, status)
    if status == "dead":
        await worker.product.sweep()


class TestCancel:
    async def test_one_that_waits_ends_at_once(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        job = await _post(tenant, job_id, "cancel")
        assert (job["status"], job["counts"]["pending"]) == ("cancelled", 4)
        assert job["cancel_requested_at"] <= job["ended_at"]
        assert await _held(books, tenant) == (0, 0)
        assert await _post(tenant, job_id, "cancel") == job
        with pytest.raises(AssertionError):
            await worker.take()  # there is nothing to take

    async def test_one_that_runs_is_asked_to_end(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        await worker.take()
        await worker.record(result_of(0))
        job = await _post(tenant, job_id, "cancel")
        assert (job["status"], job["ended_at"]) == ("running", None)
        asked = job["cancel_requested_at"]
        assert asked is not None
        beat = "select fanfold.job_beat($1, $2, $3, 30, 0, 0, false)"
        said = await worker.connection.fetchval(beat, tenant.id, job_id, worker.job.fence)
        assert said == "cancel"
        assert (await _post(tenant, job_id, "cancel"))["cancel_requested_at"] == asked
        await worker.end(JobStatus.CANCELLED)
        assert await _held(books, tenant) == (1, 0)
        job = await _job(tenant, job_id)
        assert (job["status"], job["units"], job["counts"]["pending"]) == ("cancelled", 1, 3)
        assert (await _post(tenant, job_id, "cancel"))["status"] == "cancelled"

    async def test_one_whose_worker_is_lost_ends_at_once_and_it_may_write_no_more(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        await worker.take(lease_s=0.0)
        assert (await _post(tenant, job_id, "cancel"))["status"] == "cancelled"
        assert not await worker.record(result_of(0))
        assert await _held(books, tenant) == (0, 0)

    async def test_one_that_is_paused_ends_at_once(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        await worker.take()
        await worker.leave("paused")
        assert (await _post(tenant, job_id, "cancel"))["status"] == "cancelled"
        assert await _held(books, tenant) == (0, 0)

    @pytest.mark.parametrize("status", ["succeeded", "partial", "failed", "dead"])
    async def test_one_that_has_ended_is_a_conflict(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, status: str
    ):
        job_id = await make_job(product, tenant)
        await _end(worker, status)
        assert (await _post(tenant, job_id, "cancel", 409))["code"] == "conflict"
        assert (await _job(tenant, job_id))["cancel_requested_at"] is None

    async def test_a_storm_of_cancels_ends_it_once(
        self, product: Product, tenant: TenantClient, books: Books
    ):
        job_id = await make_job(product, tenant)
        await asyncio.gather(*(_post(tenant, job_id, "cancel") for _ in range(20)))
        assert await _held(books, tenant) == (0, 0)
        changes = [row["status"] for row in await books.rows("job_changes", tenant.id)]
        assert sorted(changes) == ["cancelled", "queued"]
        topics = [row["topic"] for row in await books.rows("outbox", tenant.id)]
        assert topics.count("job.finished") <= 1


class TestRetry:
    @pytest.mark.parametrize("status", ["failed", "partial", "cancelled", "dead"])
    async def test_what_is_missing_or_failed_runs_again(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books, status: str
    ):
        job_id = await make_job(product, tenant)
        await _retriable(worker, status)
        assert await _held(books, tenant) == (1, 0)
        job = await _post(tenant, job_id, "retry")
        assert (job["status"], job["ended_at"], job["expires_at"]) == ("queued", None, None)
        assert job["counts"] == {"total": 4, "successful": 1, "failed": 0, "pending": 3}
        assert await _held(books, tenant) == (1, 3)
        assert [part["missing"] for part in await books.rows("job_parts", tenant.id)] == [1, 2]
        await worker.run(result_of(1), result_of(2), result_of(3))
        job = await _job(tenant, job_id)
        assert (job["status"], job["units"], job["counts"]["successful"]) == ("succeeded", 4, 4)
        assert await _held(books, tenant) == (4, 0)

    async def test_one_that_is_paused_goes_on(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        await worker.take()
        await worker.record(result_of(0))
        async with books.superuser() as connection:
            await connection.execute(
                "update fanfold.reservations set expires_at = now() - interval '1 day' where id = $1", job_id
            )
        await product.sweep()
        await worker.leave("paused")
        assert (await _job(tenant, job_id))["status"] == "paused"
        assert (await _post(tenant, job_id, "retry"))["status"] == "queued"
        assert await _held(books, tenant) == (1, 3)

    async def test_the_fold_is_held_for_too(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        await make_job(product, tenant, units=10, units_max=10)  # four calls, and six units for the fold
        await _retriable(worker, "partial")
        await _post(tenant, worker.job.id, "retry")
        assert await _held(books, tenant) == (1, 9)

    async def test_a_part_whose_calls_all_succeeded_is_held_for_no_more(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        """Where the most was not taken, what is left of it would be held for nothing."""
        await make_job(product, tenant)
        await worker.take()
        await worker.record(result_of(0, units=0), result_of(1, units=0), result_of(2))
        await worker.end(JobStatus.PARTIAL)
        await _post(tenant, worker.job.id, "retry")
        assert await _held(books, tenant) == (1, 1)

    async def test_no_more_than_its_own_max_units(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        await make_job(product, tenant, units=3, max_units=3)
        await _retriable(worker, "partial")
        await _post(tenant, worker.job.id, "retry")
        assert await _held(books, tenant) == (1, 2)

    async def test_without_the_units_it_is_a_402_and_stays_as_it_was(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        await _retriable(worker, "failed")
        before = await _job(tenant, job_id)
        await _limit(product, tenant, 3)
        problem = await _post(tenant, job_id, "retry", 402)
        assert (problem["code"], problem["needed"], problem["remaining"]) == ("quota-exhausted", 3, 2)
        assert await _job(tenant, job_id) == before
        await _limit(product, tenant, 4)
        await _post(tenant, job_id, "retry")

    async def test_what_waits_runs_or_has_succeeded_is_a_conflict(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        await _post(tenant, job_id, "retry", 409)
        await worker.take()
        await _post(tenant, job_id, "retry", 409)
        await worker.end()
        problem = await _post(tenant, job_id, "retry", 409)
        assert "succeeded" in problem["detail"]

    async def test_one_given_up_whose_units_are_held_yet_is_to_be_asked_again(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        await make_job(product, tenant)
        async with books.superuser() as connection, connection.transaction():
            # Nobody else sweeps meanwhile.
            await connection.execute(
                "select pg_advisory_xact_lock(hashtextextended('fanfold.ledger_sweep', 0))"
            )
            await _end(worker, "dead")
            answer = await tenant.http.post(f"/v1/jobs/{worker.job.id}/retry")
            assert (answer.status_code, answer.headers["retry-after"]) == (409, "10")
        await product.sweep()
        await _post(tenant, worker.job.id, "retry")

    async def test_twenty_at_once_hold_units_once(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        await make_job(product, tenant)
        await _retriable(worker, "failed")
        path = f"/v1/jobs/{worker.job.id}/retry"
        answers = await asyncio.gather(*(tenant.http.post(path) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
        assert await _held(books, tenant) == (1, 3)

    async def test_a_key_of_the_day_before_lets_the_same_job_run_again(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        key = {"Idempotency-Key": "each-day"}
        for _ in range(2):
            await _end(worker, "failed")
            assert (await _post(tenant, job_id, "retry", headers=key))["status"] == "queued"
            async with books.superuser() as connection:
                await connection.execute(
                    "update fanfold.idempotency_keys set created_at = now() - interval '25 hours' where tenant_id = $1",
                    tenant.id,
                )
        (row,) = await books.rows("idempotency_keys", tenant.id)
        assert (row["request_id"], row["status"]) == (job_id, 202)

    async def test_with_a_key_it_is_done_once(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        job_id = await make_job(product, tenant)
        await _retriable(worker, "failed")
        headers = {"Idempotency-Key": "再来一次".encode().hex()}
        path = f"/v1/jobs/{job_id}/retry"
        first = await tenant.http.post(path, headers=headers)
        assert first.status_code == 202
        assert "idempotent-replayed" not in first.headers
        await worker.run(result_of(1, success=False), status=JobStatus.FAILED)
        second = await tenant.http.post(path, headers=headers)
        assert (second.status_code, second.headers["idempotent-replayed"]) == (202, "true")
        assert second.json()["status"] == "failed"
        assert await _held(books, tenant) == (1, 0)
        third = await tenant.http.post(path, headers={"Idempotency-Key": "another"})
        assert third.json()["status"] == "queued"


class TestDelete:
    @pytest.mark.parametrize("status", ENDED)
    async def test_texts_and_answers_go_and_usage_stays(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books, status: str
    ):
        job_id = await make_job(product, tenant)
        await _end(worker, status)
        assert await _delete(tenant, job_id) == 204
        for path in ("", "/results", "/events"):
            assert (await tenant.http.get(f"/v1/jobs/{job_id}{path}")).status_code == 404
        for table in ("jobs", "job_parts", "job_results", "job_changes"):
            assert await books.rows(table, tenant.id) == []
        assert await _held(books, tenant) == (1, 0)
        assert await _delete(tenant, job_id) == 404

    async def test_one_that_has_not_ended_is_to_be_cancelled_first(
        self, product: Product, tenant: TenantClient, worker: FakeWorker
    ):
        job_id = await make_job(product, tenant)
        assert await _delete(tenant, job_id) == 409
        await worker.take()
        assert await _delete(tenant, job_id) == 409
        await worker.leave("next")
        assert await _delete(tenant, job_id) == 409
        await _post(tenant, job_id, "cancel")
        assert await _delete(tenant, job_id) == 204

    async def test_while_others_retry_cancel_and_delete_the_books_stay_right(
        self, product: Product, tenant: TenantClient, worker: FakeWorker, books: Books
    ):
        """Whatever wins, units are neither lost nor held for what is gone."""
        for _ in range(8):
            await make_job(product, tenant)
            await _retriable(worker, "failed")
            path = f"/v1/jobs/{worker.job.id}"
            sent = [
                ("POST", f"{path}/retry"),
                ("DELETE", path),
                ("POST", f"{path}/cancel"),
                ("DELETE", path),
            ] * 2
            answers = await asyncio.gather(*(tenant.http.request(*each) for each in sent))
            assert {answer.status_code for answer in answers} <= {202, 204, 404, 409}
            await tenant.http.post(f"{path}/cancel")
            assert (await _held(books, tenant))[1] == 0


async def _limit(product: Product, tenant: TenantClient, units: int) -> None:
    operator = await product.operator()
    answer = await operator.patch(f"/v1/admin/tenants/{tenant.id}/limits", json={"monthly_units": units})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")])
async def test_what_is_another_tenant_s_is_a_404_and_stays_as_it_is(
    product: Product, tenant: TenantClient, method: str, path: str
):
    thief = await product.tenant()
    job_id = await make_job(product, tenant)
    answer = await thief.http.request(method, f"/v1/jobs/{job_id}{path}")
    assert answer.status_code == 404
    job = await _job(tenant, job_id)
    assert (job["status"], job["cancel_requested_at"]) == ("queued", None)
