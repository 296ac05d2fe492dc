"""Uploads that are refused: told why and where, and nothing of them is left."""

import os
from typing import Any

import orjson
import pytest

from tests.jobs.intake import left, refused
from tests.jobs.uploading import BOUNDARY, FORM, JSON, LINES, TEXT, form, lines, part_of, sent
from tests.jobs.working import Jobs

_TEXT, END = TEXT.encode(), f"--{BOUNDARY}--\r\n".encode()
WRONG_FORMS = [
    pytest.param(*case, id=name) for name, *case in (
        ("no UTF-8", form(b"abc\xff"), 400, "malformed-request", "byte 3,"),
        ("cut off in a character", form("一".encode()[:2]), 400, "malformed-request", "byte 0,"),
        ("half a surrogate pair", form(b"ab\xed\xa0\x80"), 400, "malformed-request", "byte 2,"),
        ("NUL", form("一\0".encode()), 400, "malformed-request", "byte 3,"),
        ("late", form(_TEXT * 40 + b"\xff"), 400, "malformed-request", f"byte {len(_TEXT) * 40},"),
        ("empty", form(b""), 422, "validation", "empty"),
        ("only a mark", form("\ufeff".encode()), 422, "validation", "empty"),
        ("an image", form(b"x", name="a.png", media_type="image/png"), 415, "unsupported-media-type", "text/plain"),
        ("request is no JSON", form(b"x", request=b"{"), 400, "malformed-request", "The part request"),
        ("request is no object", form(b"x", request=[]), 422, "validation", "error"),
        ("text in request", form(b"x", request={"text": "y"}), 422, "validation", "error"),
        ("a stream", form(b"x", request={"stream": True}), 422, "validation", "error"),
        ("a long request", form(b"x", request=b" " * 1_100_000), 413, "too-large", "file"),
        ("nobody", form(b"x", request={"upstreams": ["nobody"]}), 422, "unknown-upstream", "upstreams"),
        ("a fold of lines", form(lines("x"), request={"fold": {"by": "concat"}}, name="a.jsonl"), 422, "validation",
         "list"),
        ("file first", form(b"x") [:-len(BOUNDARY) - 6] + form(b"y", request={}), 422, "validation", "before"),
        ("request twice", part_of('name="request"', JSON, b"{}") + form(b"x", request={}), 422, "validation", "before"),
        ("no file", part_of('name="request"', JSON, b"{}") + END, 422, "validation", "before"),
        ("not ended", form(_TEXT)[:-30], 400, "malformed-request", "complete"),
        ("nothing", b"", 400, "malformed-request", "complete"),
        ("no form", b"hello", 400, "malformed-request", "multipart"),
        ("too many characters", form(_TEXT * 50), 413, "too-large", "characters"),
        ("too many chunks", form(_TEXT * 9, request={"split": {"size": 1}}), 413, "too-large", "chunks"),
    )
]  # fmt: skip
_GOOD = lines("一")
WRONG_LINES = [
    pytest.param(*case, id=name) for name, *case in (
        ("no JSON", _GOOD + b"{\n", 400, "malformed-request", "Line 2"),
        ("NaN", _GOOD + b'{"custom_id":"a","text":NaN}', 400, "malformed-request", "Line 2"),
        ("given twice", b'{"custom_id":"a","custom_id":"b","text":"x"}', 400, "malformed-request", "Line 1"),
        ("half a pair", b'{"custom_id":"a","text":"\\ud800"}', 400, "malformed-request", "Line 1"),
        ("no UTF-8", b"\n" + b'{"custom_id":"a","text":"\xff"}', 400, "malformed-request", "Line 2"),
        ("no name", _GOOD + b'{"text":"x"}', 422, "validation", "Line 2"),
        ("an empty text", b'{"custom_id":"a","text":""}', 422, "validation", "Line 1"),
        ("a long name", orjson.dumps({"custom_id": "a" * 65, "text": "x"}), 422, "validation", "Line 1"),
        ("a name that is a number", b'{"custom_id":1,"text":"x"}', 422, "validation", "Line 1"),
        ("more", b'{"custom_id":"a","text":"x","secret-thing":1}', 422, "validation", "Line 1"),
        ("no object", b"[]", 422, "validation", "Line 1"),
        ("the same name", _GOOD + _GOOD, 422, "validation", "Line 2"),
        ("no lines", b"\n \n", 422, "validation", "line"),
        ("a long text", lines("x", "字" * 5001), 413, "too-large", "Line 2"),
        ("a long line", lines("x") + b" " * 70_000, 413, "too-large", "Line 2"),
        ("many chunks", lines("一二三. " * 1000), 413, "too-large", "chunks"),
    )
]  # fmt: skip


class TestRefused:
    @pytest.mark.parametrize(("body", "status", "code", "said"), WRONG_FORMS)
    async def test_wrong_forms_leave_nothing(self, jobs: Jobs, body, status, code, said):
        jobs.tenant = await jobs.product.tenant(max_text_chars=100_000, max_chunks=10_000)
        await jobs.zoo("ok")
        answer = await sent(jobs, body, {**FORM, "Idempotency-Key": "k"}, piece=30_000)
        assert said in refused(answer, status, code)["detail"]
        assert await left(jobs) == {}

    @pytest.mark.parametrize(("body", "status", "code", "said"), WRONG_LINES)
    async def test_wrong_lines_are_told_by_their_number(self, jobs: Jobs, body, status, code, said):
        jobs.tenant = await jobs.product.tenant(max_text_chars=5000, max_chunks=5)
        await jobs.zoo("ok")
        answer = await sent(jobs, body, {**LINES, "Idempotency-Key": "k"})
        problem = refused(answer, status, code)
        assert said in problem["detail"]
        assert "secret-thing" not in answer.text
        assert await left(jobs) == {}

    async def test_a_form_without_a_boundary(self, jobs: Jobs):
        refused(
            await sent(jobs, form(b"x"), {"Content-Type": "multipart/form-data"}), 400, "malformed-request"
        )

    @pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    async def test_other_bodies(self, jobs: Jobs, media_type: str):
        problem = refused(await sent(jobs, b"x", {"Content-Type": media_type}), 415, "unsupported-media-type")
        assert "multipart/form-data" in problem["detail"]

    @pytest.mark.parametrize("limits", [{"monthly_units": 9}, {"max_stored_bytes": 2_000_000}])
    async def test_what_was_spooled_goes(self, jobs: Jobs, limits: dict[str, Any]):
        jobs.tenant = await jobs.product.tenant(**limits)
        await jobs.zoo("ok")
        body = form(os.urandom(1_500_000).hex().encode(), request={"split": {"size": 10_000}})
        assert (await sent(jobs, body, FORM, piece=50_000)).status_code in {402, 409}
        assert await left(jobs) == {}
