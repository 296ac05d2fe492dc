"""A job's fold: over all its results, its own calls recorded and billed like the others."""

from fanfold.fanout.types import FoldOptions
from tests.jobs.working import Jobs


async def _reduce(jobs: Jobs, slug: str, separator: str = "+") -> FoldOptions:
    return FoldOptions(by="reduce", upstream=await jobs.upstream(slug), separator=separator)


async def test_concat_joins_all_answers_in_order(jobs: Jobs):
    slug = await jobs.zoo("ok", response_path="echo")
    job = await jobs.make([f"第{n}；" for n in range(70)], slug, fold=FoldOptions(by="concat", separator="|"))
    row = await jobs.run(job)
    assert (row["status"], row["fold_error"]) == ("succeeded", None)
    assert await jobs.output(job) == "|".join(f"第{n}；" for n in range(70))
    await jobs.check(job, units=70)


async def test_reduce_keeps_its_calls_behind_the_others(jobs: Jobs):
    slug, folder = (
        await jobs.zoo("ok", response_path="echo"),
        await jobs.zoo("ok", units=5, response_path="echo"),
    )
    job = await jobs.make(["一" * 7_000] * 4, slug, fold=await _reduce(jobs, folder, separator="、"))
    row = await jobs.run(job)
    assert row["status"] == "succeeded"
    results = await jobs.results(job)
    assert list(results) == [0, 1, 2, 3, 4], "one call of the fold"
    assert results[4]["upstream"] == folder
    assert (row["successful"], row["total"]) == (4, 4), "the fold's are not counted among the chunks"


async def test_a_failed_fold_leaves_the_answers(jobs: Jobs):
    slug = await jobs.zoo("ok", response_path="echo")
    folder = await jobs.zoo("500", units=5, max_attempts=1)
    job = await jobs.make(["一", "二"], slug, fold=await _reduce(jobs, folder))
    row = await jobs.run(job)
    assert (row["status"], row["output"]) == ("partial", None)
    assert '"status"' in row["fold_error"]
    await jobs.check(job, units=2)


async def test_a_folder_that_is_gone_is_a_failed_fold(jobs: Jobs):
    slug, folder = await jobs.zoo("ok"), await jobs.zoo("ok")
    job = await jobs.make(["一", "二"], slug, fold=await _reduce(jobs, folder))
    for one in (await jobs.tenant.http.get("/v1/upstreams")).json()["data"]:
        if one["slug"] == folder:
            await jobs.tenant.http.delete(f"/v1/upstreams/{one['id']}")
    row = await jobs.run(job)
    assert row["status"] == "partial"
    assert "not there any more" in row["fold_error"]


async def test_nobody_folds_for_a_job_that_has_failed(jobs: Jobs):
    slugs = [await jobs.zoo("ok"), await jobs.zoo("500", max_attempts=1)]
    folder = await jobs.zoo("ok", tag="folder")
    fold = await _reduce(jobs, folder)
    job = await jobs.make(list("abcd"), *slugs, min_success=0.9, fold=fold)
    row = await jobs.run(job)
    assert (row["status"], row["fold_error"]) == ("failed", None)
    assert jobs.product.zoo.served_by_tag["folder"] == 0


async def test_calls_of_a_fold_that_are_known_are_not_made_again(jobs: Jobs):
    slug = await jobs.zoo("ok", response_path="echo")
    folder = await jobs.zoo("ok", units=5, tag="folder", response_path="echo")
    job = await jobs.make(["一", "二"], slug, fold=await _reduce(jobs, folder))
    async with jobs.taken_by_hand(job) as hand:
        await hand.record(0, "一")
        await hand.record(1, "二")
        await hand.record(2, "那是以前的", units=5)
    row = await jobs.run(job)
    assert (row["status"], await jobs.output(job)) == ("succeeded", "那是以前的")
    assert jobs.product.zoo.served_by_tag["folder"] == 0
    await jobs.check(job, units=7)


async def test_answers_that_are_too_many_together_are_not_folded(jobs: Jobs):
    slug = await jobs.zoo("ok", response_path="echo")
    job = await jobs.make(["x" * 2_500, "x"], slug, fold=FoldOptions(by="concat"))
    row = await jobs.run(job, bounds={"max_answers_bytes": 1_000})
    assert row["status"] == "partial"
    assert "too-large" in row["fold_error"]


async def test_an_output_that_is_too_large_is_none(jobs: Jobs):
    slug = await jobs.zoo("ok", response_path="echo")
    job = await jobs.make(["x" * 15, "x" * 15], slug, fold=FoldOptions(by="concat"))
    row = await jobs.run(job, bounds={"max_output_bytes": 20})
    assert (row["status"], row["output"]) == ("partial", None)
    assert "too-large" in row["fold_error"]


async def test_what_cannot_be_folded_says_why(jobs: Jobs):
    slug = await jobs.zoo("ok", response_path="echo")
    job = await jobs.make(["no JSON", "either"], slug, fold=FoldOptions(by="merge"))
    row = await jobs.run(job)
    assert row["status"] == "partial"
    assert "merge needs" in row["fold_error"]
