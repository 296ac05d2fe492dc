"""`POST /v1/jobs` has a short way for plain JSON: whoever asks cannot tell it from the route's own."""

from typing import Any

import pytest

from tests.jobs.intake import JOBS, made
from tests.jobs.working import Jobs

TEXT = "第一句话。A second one! 👨\u200d👩\u200d👧 第三句。" * 4
OWN_OF_A_JOB = {"id", "created_at"}
KEY = "idempotency-key"  # what has one goes by the route


async def test_a_job_is_the_same_by_both_ways(jobs: Jobs):
    slug = await jobs.zoo("ok", units=2)
    body = {"text": TEXT, "upstreams": [slug], "split": {"size": 20}, "metadata": {"书": "红楼梦 🐼"}}
    short, long = await made(jobs, body), await made(jobs, body, headers={KEY: "a"})
    assert short.keys() == long.keys()
    assert {name: short[name] for name in short if name not in OWN_OF_A_JOB} == {
        name: long[name] for name in long if name not in OWN_OF_A_JOB
    }
    found = (await jobs.tenant.http.get(f"{JOBS}/{short['id']}")).json()
    assert found["counts"]["total"] == short["counts"]["total"] > 1


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", {"content-type": "application/json"}),
        (b"{", {"content-type": "application/json"}),
        (b"[]", {"content-type": "application/json; charset=utf-8"}),
        (b'{"text": 1, "metadata": {"": ""}}', {"content-type": "application/json"}),
        (b'{"text": "x", "stream": true}', {"content-type": "application/json"}),
        (b'{"text": "x", "upstreams": ["nobody"]}', {"content-type": "application/json"}),
        (b'{"text": "x"}', {"content-type": "text/plain"}),
        (b'{"text": "x"}', {}),
    ],
)
async def test_what_is_refused_is_refused_in_the_same_words(
    jobs: Jobs, content: bytes, headers: dict[str, str]
):
    async def refused(more: dict[str, str]) -> dict[str, Any]:
        answer = await jobs.tenant.http.post(JOBS, content=content, headers=headers | more)
        assert 400 <= answer.status_code < 500
        return {name: value for name, value in answer.json().items() if name != "instance"}

    assert await refused({}) == await refused({KEY: "b"})


async def test_lines_go_by_the_route(jobs: Jobs):
    slug = await jobs.zoo("ok", is_default=True)
    lines = '{"custom_id": "一", "text": "x"}\n'.encode()
    answer = await jobs.tenant.http.post(
        JOBS, content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert (answer.status_code, answer.json()["source"]) == (202, "ndjson"), slug
