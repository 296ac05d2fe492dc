"""`POST /v1/jobs` with a file or lines, taken in as they come."""

import os
from uuid import UUID

import pytest

from tests.jobs.uploading import FORM, LINES, TEXT, form, lines, sent, taken
from tests.jobs.working import Jobs


class TestText:
    @pytest.mark.parametrize("piece", [7, 5000])
    async def test_a_file_is_cut_as_the_text_is(self, jobs: Jobs, piece: int):
        slug = await jobs.zoo("ok", units=2)
        options = {"split": {"by": "sentences", "size": 30}, "upstreams": [slug], "fold": {"by": "concat"}}
        whole = (await jobs.tenant.http.post("/v1/process", json={"text": TEXT, **options})).json()
        body = form(TEXT.encode(), request={**options, "metadata": {"本": "书"}})
        job = await taken(jobs, body, FORM, piece=piece)
        assert (job["source"], job["metadata"], job["characters"]) == ("text", {"本": "书"}, len(TEXT))
        assert (job["counts"]["total"], job["units_max"]) == (whole["total"], 2 * whole["total"])
        row = await jobs.run(UUID(job["id"]))
        results = list((await jobs.results(row["id"])).values())
        assert [(one["start"], one["end"], one["result"]) for one in results] == [
            (one["start"], one["end"], one["result"]) for one in whole["results"]
        ]

    async def test_the_options_may_be_left_out(self, jobs: Jobs):
        await jobs.zoo("ok")
        job = await taken(jobs, form("一二三".encode()), FORM)
        assert (job["counts"]["total"], job["characters"]) == (1, 3)

    async def test_a_byte_order_mark_is_no_text(self, jobs: Jobs):
        await jobs.zoo("ok")
        assert (await taken(jobs, form("\ufeff一".encode()), FORM, piece=3))["characters"] == 1

    @pytest.mark.parametrize(
        ("name", "media_type", "source"),
        [("a.bin", "text/plain; charset=utf-8", "text"), ("a.md", "application/octet-stream", "text"),
         ("a.jsonl", "application/octet-stream", "ndjson"), ("a", "application/x-ndjson", "ndjson")],
    )  # fmt: skip
    async def test_the_kind_is_told_by_type_or_name(self, jobs: Jobs, name, media_type, source):
        await jobs.zoo("ok")
        body = form(lines("一", "二"), name=name, media_type=media_type)
        assert (await taken(jobs, body, FORM))["source"] == source

    async def test_long_files_are_spooled_in_bounded_rows(self, jobs: Jobs):
        await jobs.zoo("ok")
        text = "长文 of words. " * 200_000
        body = form(text.encode(), request={"split": {"by": "words", "size": 20_000}})
        job = await taken(jobs, body, FORM, piece=60_000)
        parts = await jobs.books.rows("job_parts", jobs.tenant.id)
        assert sum(part["calls"] for part in parts) == job["counts"]["total"]
        assert max(len(part["body"]) for part in parts) < 400_000
        row = await jobs.row(UUID(job["id"]))
        assert row["stored_bytes"] == sum(len(part["body"]) for part in parts) + len(row["request"])
        assert (await jobs.run(row["id"]))["status"] == "succeeded"

    async def test_a_prompt_is_told_the_number_of_chunks(self, jobs: Jobs):
        slug = await jobs.zoo("ok")
        body = form(
            b"abcdef",
            request={"split": {"size": 2}, "upstreams": [slug], "prompt": "{index}/{total} {chunk}"},
        )
        row = await jobs.run(UUID((await taken(jobs, body, FORM))["id"]))
        assert [one["result"]["echo"] for one in (await jobs.results(row["id"])).values()] == [
            "0/3 ab", "1/3 cd", "2/3 ef",
        ]  # fmt: skip


class TestLines:
    async def test_each_line_is_cut_by_itself_and_its_results_carry_its_name(self, jobs: Jobs):
        slug = await jobs.zoo("ok")
        body = form(
            lines("一二三四五", "六七"), request={"split": {"size": 3}, "upstreams": [slug]}, name="a.ndjson",
            media_type="application/x-ndjson",
        )  # fmt: skip
        job = await taken(jobs, body, FORM, piece=11)
        assert (job["source"], job["counts"]["total"], job["characters"]) == ("ndjson", 3, 7)
        row = await jobs.run(UUID(job["id"]))
        results = (await jobs.results(row["id"])).values()
        assert [(one["custom_id"], one["start"], one["end"], one["result"]["echo"]) for one in results] == [
            ("行-0", 0, 3, "一二三"), ("行-0", 3, 5, "四五"), ("行-1", 0, 2, "六七"),
        ]  # fmt: skip

    async def test_a_plain_body_of_lines(self, jobs: Jobs):
        await jobs.zoo("ok")
        body = (
            b"\xef\xbb\xbf"
            + lines("一", "二").replace(b"\n", b"\r\n\r\n")
            + lines("三").strip().replace(b"-0", b"-9")
        )
        job = await taken(jobs, body, LINES, piece=5)
        assert (job["source"], job["counts"]["total"]) == ("ndjson", 3)

    async def test_turns_go_on_over_lines(self, jobs: Jobs):
        """Who answers hangs on the chunk's index in the job."""
        slugs = [await jobs.zoo("ok"), await jobs.zoo("ok")]
        body = form(lines(*"abcd"), request={"upstreams": slugs}, name="a.jsonl")
        row = await jobs.run(UUID((await taken(jobs, body, FORM))["id"]))
        assert [one["upstream"] for one in (await jobs.results(row["id"])).values()] == slugs * 2

    async def test_more_lines_than_a_part_takes(self, jobs: Jobs):
        await jobs.zoo("ok")
        job = await taken(jobs, lines(*["x"] * 120), LINES)
        parts = await jobs.books.rows("job_parts", jobs.tenant.id)
        assert sorted((part["first_index"], part["calls"]) for part in parts) == [
            (0, 50),
            (50, 50),
            (100, 20),
        ]
        assert job["counts"]["total"] == 120


class TestIdempotency:
    async def test_an_upload_with_a_key_is_taken_once(self, jobs: Jobs):
        await jobs.zoo("ok")
        headers = {**FORM, "Idempotency-Key": "k"}
        body = form(os.urandom(1_200_000).hex().encode(), request={"split": {"size": 10_000}})
        first = await sent(jobs, body, headers, piece=100_000)
        again = await sent(jobs, body, headers, piece=99_999)
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        job_ids = {part["job_id"] for part in await jobs.books.rows("job_parts", jobs.tenant.id)}
        assert {str(job_id) for job_id in job_ids} == {first.json()["id"]}

    @pytest.mark.parametrize(
        "other",
        [form(b"y", request={}), form(b"x", request={"metadata": {"a": "b"}}), form(b"x", name="a.jsonl")],
    )
    async def test_another_file_or_other_options_are_refused(self, jobs: Jobs, other: bytes):
        await jobs.zoo("ok")
        headers = {**FORM, "Idempotency-Key": "k"}
        await taken(jobs, form(b"x", request={}), headers)
        answer = await sent(jobs, other, headers)
        assert answer.status_code in {400, 422}
        assert len(await jobs.books.rows("jobs", jobs.tenant.id)) == 1
