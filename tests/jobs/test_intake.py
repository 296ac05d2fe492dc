"""`POST /v1/jobs` with a text: one commit makes the job, its input, its reservation and its turn."""

import asyncio
from collections import Counter
from typing import ClassVar
from uuid import UUID

import pytest

from fanfold.fanout.planning import MAX_CALLS
from tests.jobs.intake import JOBS, left, made, refused, turns
from tests.jobs.working import Jobs

TEXT = "第一句话。A second one! 👨\u200d👩\u200d👧 第三句。" * 40


class TestTaken:
    async def test_a_text_becomes_a_job_that_a_worker_finishes(self, jobs: Jobs):
        slug = await jobs.zoo("ok", units=2)
        options = {"split": {"by": "sentences", "size": 20}, "upstreams": [slug]}
        answer = await jobs.tenant.http.post("/v1/process", json={"text": TEXT, **options})
        whole = answer.json()
        job = await made(jobs, {"text": TEXT, **options, "metadata": {"书": "红楼梦 🐼"}})
        total = whole["total"]
        assert total > 50
        assert {name: job[name] for name in ("status", "source", "metadata", "characters", "units", "units_max")} == {
            "status": "queued", "source": "json", "metadata": {"书": "红楼梦 🐼"}, "characters": len(TEXT),
            "units": 0, "units_max": 2 * total,
        }  # fmt: skip
        assert job["counts"] == {"total": total, "successful": 0, "failed": 0, "pending": total}
        assert [job[name] for name in ("error", "started_at", "ended_at", "expires_at")] == [None] * 4
        row = await jobs.run(UUID(job["id"]))
        assert (row["status"], row["successful"]) == ("succeeded", total)
        results = list((await jobs.results(row["id"])).values())
        compared = [{**one, "latency_ms": 0} for one in whole["results"]]
        assert [{**one, "latency_ms": 0} for one in results] == compared

    async def test_all_of_it_is_one_commit(self, jobs: Jobs):
        slug = await jobs.zoo("ok")
        job = await made(jobs, {"text": "字" * 70, "split": {"size": 1}, "upstreams": [slug]})
        row = await jobs.row(UUID(job["id"]))
        assert job["created_at"] == row["created_at"].isoformat().replace("+00:00", "Z")
        parts = await jobs.books.rows("job_parts", jobs.tenant.id)
        assert sorted((part["first_index"], part["calls"], part["missing"], part["units_max"]) for part in parts) == [
            (0, 50, 50, 50), (50, 20, 20, 20),
        ]  # fmt: skip
        (held,) = await jobs.books.rows("reservations", jobs.tenant.id)
        assert (str(held["id"]), held["units"]) == (job["id"], 70)
        assert await turns(jobs, jobs.tenant.id) == 1
        stored = sum(len(part["body"]) for part in parts) + len(row["request"])
        assert row["stored_bytes"] == stored
        assert [one["bytes"] for one in await jobs.books.rows("tenant_storage", jobs.tenant.id)] == [stored]
        changes = await jobs.books.rows("job_changes", jobs.tenant.id)
        assert [(change["status"], change["seq"]) for change in changes] == [("queued", 0)]

    async def test_nothing_of_a_text_is_readable_in_the_rows(self, jobs: Jobs):
        await jobs.zoo("ok")
        job = await made(jobs, {"text": "geheim " * 30, "prompt": "verborgen {chunk}"})
        (part,) = await jobs.books.rows("job_parts", jobs.tenant.id)
        row = await jobs.row(UUID(job["id"]))
        assert b"geheim" not in part["body"]
        assert b"verborgen" not in row["request"]

    async def test_parts_of_a_broadcast_hold_whole_chunks(self, jobs: Jobs):
        slugs = [await jobs.zoo("ok") for _ in range(3)]
        job = await made(
            jobs, {"text": "字" * 40, "split": {"size": 1}, "upstreams": slugs, "strategy": "broadcast"}
        )
        assert job["counts"]["total"] == 120
        parts = await jobs.books.rows("job_parts", jobs.tenant.id)
        assert sorted((part["first_index"], part["calls"]) for part in parts) == [(0, 48), (48, 48), (96, 24)]
        assert (await jobs.run(UUID(job["id"])))["successful"] == 120

    async def test_long_texts_are_spooled_first(self, jobs: Jobs):
        """Over a MiB goes into rows of its own before; one that was refused leaves none."""
        slug = await jobs.zoo("ok")
        text = "长文 " * 800_000
        body = {"text": text, "split": {"size": 100_000}, "upstreams": [slug], "fold": {"by": "concat"}}
        job = await made(jobs, body)
        parts = await jobs.books.rows("job_parts", jobs.tenant.id)
        assert len(parts) == job["counts"]["total"] == 24
        assert sum(len(part["body"]) for part in parts) > 5_000_000
        assert (await jobs.row(UUID(job["id"])))["stored_bytes"] > 5_000_000
        row = await jobs.run(UUID(job["id"]))
        assert row["status"] == "succeeded"

    async def test_the_short_form(self, jobs: Jobs):
        upstream = await jobs.tenant.upstream(jobs.product.zoo.url("ok"))
        job = await made(jobs, {"text": "字" * 10, "chunk_size": 5, "api_urls": [upstream["url"]]})
        row = await jobs.run(UUID(job["id"]))
        assert {one["url"] for one in (await jobs.results(row["id"])).values()} == {upstream["url"]}

    async def test_a_lower_bound_of_the_caller_is_what_is_held(self, jobs: Jobs):
        await jobs.zoo("ok")
        job = await made(jobs, {"text": "字" * 10, "split": {"size": 1}, "max_units": 4})
        (held,) = await jobs.books.rows("reservations", jobs.tenant.id)
        assert (held["units"], job["units_max"]) == (4, 10)

    async def test_a_hundred_at_once(self, jobs: Jobs):
        await jobs.zoo("ok")
        bodies = [{"text": f"第{number}章", "metadata": {"n": str(number)}} for number in range(100)]
        answers = await asyncio.gather(*[jobs.tenant.http.post(JOBS, json=body) for body in bodies])
        assert Counter(answer.status_code for answer in answers) == {202: 100}
        assert len({answer.json()["id"] for answer in answers}) == 100
        assert (await jobs.books.quota(jobs.tenant.id))["reserved"] == 100
        assert await turns(jobs, jobs.tenant.id) == 1


class TestRefused:
    @pytest.mark.parametrize(
        ("wrong", "status", "code"),
        [
            ({"stream": True}, 422, "validation"),
            ({"on_disconnect": "continue"}, 422, "validation"),
            ({"unknown": 1}, 422, "validation"),
            ({"metadata": {"k": 1}}, 422, "validation"),
            ({"metadata": {"": "v"}}, 422, "validation"),
            ({"metadata": {"k" * 65: "v"}}, 422, "validation"),
            ({"metadata": {"k": "v" * 513}}, 422, "validation"),
            ({"metadata": {str(number): "v" for number in range(17)}}, 422, "validation"),
            ({"upstreams": ["nobody"]}, 422, "unknown-upstream"),
            ({"text": ""}, 422, "validation"),
            ({"text": "字" * 501, "split": {"size": 1}}, 413, "too-large"),
            ({"text": "字" * 1001}, 413, "too-large"),
            ({"fold": {"by": "reduce", "prompt": "x"}}, 422, "validation"),
        ],
    )
    async def test_what_processing_refuses_is_refused_and_leaves_nothing(
        self, jobs: Jobs, wrong, status, code
    ):
        jobs.tenant = await jobs.product.tenant(max_text_chars=1000, max_chunks=500)
        await jobs.zoo("ok")
        answer = await jobs.tenant.http.post(
            JOBS, json={"text": "x", **wrong}, headers={"Idempotency-Key": "k"}
        )
        refused(answer, status, code)
        assert await left(jobs) == {}

    async def test_a_stream_is_refused_with_what_there_is_instead(self, jobs: Jobs):
        answer = await jobs.tenant.http.post(JOBS, json={"text": "x", "stream": False})
        assert "/events" in refused(answer, 422, "validation")["errors"][0]["msg"]

    async def test_units_that_are_not_there(self, jobs: Jobs):
        jobs.tenant = await jobs.product.tenant(monthly_units=9)
        await jobs.zoo("ok")
        body = {"text": "字" * 10, "split": {"size": 1}}
        problem = refused(
            await jobs.tenant.http.post(JOBS, json=body, headers={"Idempotency-Key": "k"}),
            402,
            "quota-exhausted",
        )
        assert (problem["needed"], problem["remaining"]) == (10, 9)
        assert await left(jobs) == {}

    async def test_what_was_spooled_goes_when_the_units_are_not_there(self, jobs: Jobs):
        jobs.tenant = await jobs.product.tenant(monthly_units=9)
        await jobs.zoo("ok")
        refused(await jobs.tenant.http.post(JOBS, json={"text": "长文" * 500_000}), 402, "quota-exhausted")
        assert await left(jobs) == {}

    @pytest.mark.parametrize("letters", [10, 400_000])
    async def test_full_storage_says_how_to_make_room(self, jobs: Jobs, letters: int):
        jobs.tenant = await jobs.product.tenant(max_stored_bytes=letters)
        await jobs.zoo("ok")
        answer = await jobs.tenant.http.post(JOBS, json={"text": "字" * letters})
        problem = refused(answer, 409, "conflict")
        assert "DELETE /v1/jobs/{id}" in problem["detail"]
        assert await left(jobs) == {}

    async def test_storage_holds_for_all_jobs_together(self, jobs: Jobs):
        jobs.tenant = await jobs.product.tenant(max_stored_bytes=30_000)
        await jobs.zoo("ok")
        answers = await asyncio.gather(
            *[jobs.tenant.http.post(JOBS, json={"text": "x" * 4_000}) for _ in range(12)]
        )
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {202, 409}
        (stored,) = await jobs.books.rows("tenant_storage", jobs.tenant.id)
        rows = await jobs.books.rows("jobs", jobs.tenant.id)
        assert sum(row["stored_bytes"] for row in rows) == stored["bytes"] <= 30_000
        assert 30_000 - stored["bytes"] < rows[0]["stored_bytes"]

    async def test_a_key_without_the_scope(self, jobs: Jobs):
        tenant = await jobs.product.tenant(scopes=["process"])
        refused(await tenant.http.post(JOBS, json={"text": "x"}), 403, "insufficient-scope")

    async def test_more_calls_than_a_job_may_have(self, jobs: Jobs):
        jobs.tenant = await jobs.product.tenant(
            "scale", max_chunks=MAX_CALLS, monthly_units=10**9, max_text_chars=10**6
        )
        slugs = [await jobs.zoo("ok"), await jobs.zoo("ok")]
        body = {"text": "字" * 25_001, "split": {"size": 1}, "upstreams": slugs, "strategy": "broadcast"}
        refused(await jobs.tenant.http.post(JOBS, json=body), 413, "too-large")
        assert await left(jobs) == {}


class TestIdempotency:
    KEY: ClassVar = {"Idempotency-Key": "章-1".encode().hex()}

    async def test_a_key_makes_one_job_and_is_answered_as_it_was(self, jobs: Jobs):
        await jobs.zoo("ok")
        body = {"text": "字" * 10, "split": {"size": 1}, "metadata": {"a": "b"}}
        first = await jobs.tenant.http.post(JOBS, json=body, headers=self.KEY)
        await jobs.run(UUID(first.json()["id"]))
        again = await jobs.tenant.http.post(JOBS, json=body, headers=self.KEY)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
        assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
        assert "idempotent-replayed" not in first.headers
        assert len(await jobs.books.rows("jobs", jobs.tenant.id)) == 1

    async def test_it_is_replayed_while_the_job_waits(self, jobs: Jobs):
        await jobs.zoo("ok")
        answers = [await jobs.tenant.http.post(JOBS, json={"text": "x"}, headers=self.KEY) for _ in range(2)]
        assert answers[0].content == answers[1].content

    async def test_another_body_is_refused(self, jobs: Jobs):
        await jobs.zoo("ok")
        await made(jobs, {"text": "x"}, headers=self.KEY)
        answer = await jobs.tenant.http.post(JOBS, json={"text": "y"}, headers=self.KEY)
        refused(answer, 422, "idempotency-mismatch")

    async def test_twenty_at_once_make_one(self, jobs: Jobs):
        await jobs.zoo("ok")
        answers = await asyncio.gather(
            *[jobs.tenant.http.post(JOBS, json={"text": "字"}, headers=self.KEY) for _ in range(20)]
        )
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) <= {202, 409}
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
        assert len(await jobs.books.rows("jobs", jobs.tenant.id)) == 1
        assert (await jobs.books.quota(jobs.tenant.id))["reserved"] == 1

    async def test_the_key_of_a_job_that_was_deleted(self, jobs: Jobs):
        await jobs.zoo("ok")
        job = await made(jobs, {"text": "x"}, headers=self.KEY)
        await jobs.run(UUID(job["id"]))
        async with jobs.books.app() as connection:
            assert (
                await connection.fetchval("select fanfold.job_delete($1, $2)", jobs.tenant.id, job["id"])
                == "ok"
            )
        answer = await jobs.tenant.http.post(JOBS, json={"text": "x"}, headers=self.KEY)
        assert "deleted" in refused(answer, 409, "conflict")["detail"]

    async def test_keys_of_tenants_are_apart(self, jobs: Jobs):
        await jobs.zoo("ok")
        other = await jobs.product.tenant()
        await other.upstream(jobs.product.zoo.url("ok"))
        mine = await made(jobs, {"text": "x"}, headers=self.KEY)
        theirs = await other.http.post(JOBS, json={"text": "x"}, headers=self.KEY)
        assert theirs.status_code == 202
        assert theirs.json()["id"] != mine["id"]
