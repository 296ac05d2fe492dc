"""Seen and steered over HTTP while a real worker works: what is cancelled, what runs again, what is told."""

import asyncio
from uuid import UUID

import httpx

from fanfold.fanout.types import FoldOptions
from tests.fixtures.event_streams import parse
from tests.jobs.working import Jobs, working

CANCEL_WITHIN_S = 20  # two seconds, and what a busy machine takes


async def _post(jobs: Jobs, job: UUID, word: str) -> httpx.Response:
    answer = await jobs.tenant.http.post(f"/v1/jobs/{job}/{word}")
    assert answer.status_code == 202, answer.text
    return answer


async def test_what_failed_runs_again_when_it_is_mended_and_what_succeeded_is_paid_once(jobs: Jobs):
    fine, broken = await jobs.zoo("ok"), await jobs.zoo("500", max_attempts=1)
    job = await jobs.make(list("abcdef"), fine, broken, each=4, fold=FoldOptions(by="concat", separator="·"))
    assert (await jobs.run(job))["status"] == "partial"
    served = jobs.product.zoo.served["ok"]
    listed = (await jobs.tenant.http.get("/v1/upstreams")).json()["data"]
    upstream = next(each for each in listed if each["slug"] == broken)
    mended = await jobs.tenant.http.patch(
        f"/v1/upstreams/{upstream['id']}", json={"url": jobs.product.zoo.url("ok", of="mended")}
    )
    assert mended.status_code == 200
    assert (await _post(jobs, job, "retry")).json()["counts"]["pending"] == 3
    assert (await jobs.run(job))["status"] == "succeeded"
    assert jobs.product.zoo.served["ok"] == served + 3
    await jobs.check(job, units=6)
    shown = (await jobs.tenant.http.get(f"/v1/jobs/{job}")).json()
    assert (shown["units"], shown["counts"]["successful"]) == (6, 6)
    assert shown["fold"] == {"calls": 0, "units": 0, "error": None}
    assert shown["output"].count("·") == 5


async def test_a_fold_that_is_made_anew_is_paid_anew(jobs: Jobs):
    fine, broken = await jobs.zoo("ok", response_path="echo"), await jobs.zoo("500", max_attempts=1)
    folder = await jobs.zoo("ok", units=5, tag="folder", response_path="echo")
    fold = FoldOptions(by="reduce", upstream=await jobs.upstream(folder))
    job = await jobs.make(list("abcd"), fine, broken, fold=fold)
    assert (await jobs.run(job))["status"] == "partial"
    await jobs.check(job, units=2 + 5)
    for times in (2, 3):
        await _post(jobs, job, "retry")
        assert (await jobs.run(job))["status"] == "partial"
        assert jobs.product.zoo.served_by_tag["folder"] == times
        await jobs.check(job, units=2 + 5 * times)
    assert len(await jobs.results(job)) == 5, "of the folds the last one is kept"


async def test_one_that_hangs_is_cancelled(jobs: Jobs):
    job = await jobs.make(list("abcd"), await jobs.zoo("ok"), await jobs.zoo("hang", timeout_s=60))
    async with working(jobs.worker()):
        await jobs.until(job, results=2)
        assert (await _post(jobs, job, "cancel")).json()["status"] == "running"
        row = await jobs.ended(job, within_s=CANCEL_WITHIN_S)
    assert (row["status"], row["successful"]) == ("cancelled", 2)
    await jobs.check(job, units=2)
    assert (await _post(jobs, job, "cancel")).json()["status"] == "cancelled"


async def test_its_events_are_told_while_it_works(jobs: Jobs):
    texts = [f"第{number}段 🐉" for number in range(60)]
    job = await jobs.make(texts, await jobs.zoo("slow", query={"ms": 5}), each=20)
    async with working(jobs.worker()), asyncio.timeout(60):
        answer = await jobs.tenant.http.get(f"/v1/jobs/{job}/events")
    stream = parse(answer.content, is_numbered=False)
    assert [each["status"] for each in stream.data("status")] == ["queued", "running", "succeeded"]
    assert [result["index"] for result in stream.chunks] == list(range(60))
    results = [result async for result in _pages(jobs, job)]
    assert stream.chunks == results
    assert stream.data("done") == [(await jobs.tenant.http.get(f"/v1/jobs/{job}")).json()]


async def _pages(jobs: Jobs, job: UUID):
    cursor: dict[str, str] = {}
    while True:
        page = (await jobs.tenant.http.get(f"/v1/jobs/{job}/results", params={"limit": 7, **cursor})).json()
        for result in page["data"]:
            yield result
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}
