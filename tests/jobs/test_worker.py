"""A worker runs jobs to their end: each call once, recorded and billed as it answers."""

from fanfold.fanout.types import OnError
from tests.jobs.working import Jobs


async def test_every_chunk_is_answered_recorded_and_billed(jobs: Jobs):
    texts = [f"第{number}段 🐉" for number in range(123)]
    job = await jobs.make(texts, await jobs.zoo("ok", units=2))
    row = await jobs.run(job)
    assert (row["status"], row["successful"], row["failed"], row["output"]) == ("succeeded", 123, 0, None)
    results = await jobs.results(job)
    assert [one["result"]["echo"] for one in results.values()] == texts
    assert [one["index"] for one in results.values()] == list(range(123))
    assert "custom_id" not in results[0]
    assert all(part["missing"] == 0 for part in await jobs.books.rows("job_parts", jobs.tenant.id))
    await jobs.check(job, units=246)
    assert await jobs.outcomes() == []


async def test_lines_keep_their_ids(jobs: Jobs):
    job = await jobs.make(["一", "二"], await jobs.zoo("ok"), ids=["行-1", 'two"'])
    await jobs.run(job)
    results = await jobs.results(job)
    assert [(one["custom_id"], one["result"]["echo"]) for one in results.values()] == [
        ("行-1", "一"),
        ('two"', "二"),
    ]


async def test_broadcast_gives_a_result_for_each_chunk_and_upstream(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("ok", units=3)]
    job = await jobs.make(["一", "二", "三"], *slugs, each=2, strategy="broadcast")
    assert (await jobs.run(job))["successful"] == 6
    results = (await jobs.results(job)).values()
    assert [(one["upstream"], one["result"]["echo"]) for one in results] == [
        (slug, text) for text in "一二三" for slug in slugs
    ]
    await jobs.check(job, units=12)


async def test_prompts_count_the_chunks_of_the_whole_job(jobs: Jobs):
    job = await jobs.make(list("abcde"), await jobs.zoo("ok"), each=2, prompt="{index} of {total}: {chunk}")
    await jobs.run(job)
    echoes = [one["result"]["echo"] for one in (await jobs.results(job)).values()]
    assert echoes == [f"{number} of 5: {letter}" for number, letter in enumerate("abcde")]


async def test_what_fails_is_a_result_too(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("500", max_attempts=1)]
    job = await jobs.make(list("abcdef"), *slugs, each=4)
    row = await jobs.run(job)
    assert (row["status"], row["successful"], row["failed"]) == ("partial", 3, 3)
    assert await jobs.error_codes(job) == ["ok", "status"] * 3
    await jobs.check(job, units=3)


async def test_min_success_holds_over_the_whole_job(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("500", max_attempts=1)]
    enough = await jobs.make(list("abcd"), *slugs, each=1, min_success=0.5)
    too_few = await jobs.make(list("abcd"), *slugs, each=1, min_success=0.51)
    assert (await jobs.run(enough))["status"] == "partial"
    assert (await jobs.run(too_few))["status"] == "failed"


async def test_on_error_fail_ends_the_job_with_its_first_failure(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("500", max_attempts=1)]
    job = await jobs.make(list("abcdefgh"), *slugs, each=2, on_error=OnError.FAIL)
    row = await jobs.run(job)
    assert (row["status"], row["failed"]) == ("failed", 1)
    assert row["successful"] <= 1, "what comes after the failed part is not asked for"
    await jobs.check(job, units=row["successful"])


async def test_max_units_bounds_the_whole_job(jobs: Jobs):
    job = await jobs.make(list("abcdef"), await jobs.zoo("ok", units=2), each=2, max_units=7)
    row = await jobs.run(job)
    assert (row["status"], row["successful"], row["failed"]) == ("partial", 3, 3)
    assert sorted(await jobs.error_codes(job)) == ["budget"] * 3 + ["ok"] * 3
    await jobs.check(job, units=6)


async def test_prices_are_those_of_when_the_job_was_made(jobs: Jobs):
    slug = await jobs.zoo("ok", units=2)
    job = await jobs.make(["一", "二"], slug)
    (found,) = [
        one for one in (await jobs.tenant.http.get("/v1/upstreams")).json()["data"] if one["slug"] == slug
    ]
    await jobs.tenant.http.patch(f"/v1/upstreams/{found['id']}", json={"units_per_call": 9})
    await jobs.run(job)
    await jobs.check(job, units=4)


async def test_an_upstream_that_is_gone_fails_its_calls_and_no_others(jobs: Jobs):
    there, gone = await jobs.zoo("ok"), await jobs.zoo("ok")
    job = await jobs.make(list("abcd"), there, gone)
    fallback = await jobs.make(list("ab"), gone, there, strategy="fallback")
    for one in (await jobs.tenant.http.get("/v1/upstreams")).json()["data"]:
        if one["slug"] == gone:
            await jobs.tenant.http.patch(f"/v1/upstreams/{one['id']}", json={"enabled": False})
    await jobs.run(job)
    assert await jobs.error_codes(job) == ["ok", "connect"] * 2
    error = (await jobs.results(job))[1]["error"]
    assert "disabled" in error["detail"]
    assert (await jobs.run(fallback))["status"] == "succeeded"
    assert jobs.product.zoo.served["ok"] == 4
