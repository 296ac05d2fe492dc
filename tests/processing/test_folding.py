"""Folds and prompts over HTTP: what they give, what they cost, and what is refused."""

import asyncio
import secrets

import pytest

from tests.processing.test_keyed_leaving import leave, until_asked

REDUCE = {"by": "reduce", "separator": "+"}


async def echoing(product, **options):
    """A tenant whose upstream answers the text it was sent."""
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), slug="echo", response_path="echo", **options)
    return tenant


class TestReduce:
    async def test_the_answers_are_folded_by_an_upstream_and_its_call_is_billed(self, product):
        tenant = await echoing(product)
        await tenant.upstream(
            product.zoo.url("ok", tag="fold"), slug="folder", response_path="echo", units_per_call=5
        )
        fold = REDUCE | {"upstream": "folder", "prompt": "合并 {total}: {chunk} 👩‍🚀"}
        body = {"text": "一二三四", "split": {"size": 1}, "upstreams": ["echo"], "fold": fold}
        quote = (await tenant.http.post("/v1/process/quote", json=body)).json()
        assert (quote["fold_units_max"], quote["units_max"]) == (15, 19)
        answer = await tenant.process(**body)
        assert answer["output"] == "合并 1: 一+二+三+四 👩‍🚀"
        assert answer["fold"] == {"calls": 1, "units": 5, "error": None}
        assert (answer["usage"]["units"], answer["total"]) == (9, 4)
        usage = await tenant.usage()
        assert (usage["used"], usage["reserved"]) == (9, 0)
        assert (product.zoo.served_by_tag[""], product.zoo.served_by_tag["fold"]) == (4, 1)

    async def test_its_calls_are_usage_events_after_those_of_the_chunks(self, product):
        tenant = await echoing(product)
        await tenant.process("一二三", split={"size": 1}, fold=REDUCE)
        events = (await tenant.http.get("/v1/usage/events")).json()["data"]
        assert sorted(event["call_index"] for event in events) == [0, 1, 2, 3]
        statement = (await tenant.http.get("/v1/usage/statement")).json()
        assert statement["balanced"] is True

    async def test_without_a_name_the_first_upstream_of_the_request_folds(self, product):
        tenant = await echoing(product)
        await tenant.upstream(product.zoo.url("ok", tag="b"), slug="b", response_path="echo")
        body = {"text": "xy", "split": {"size": 1}, "fold": REDUCE}
        assert (await tenant.process(**body, upstreams=["b", "echo"]))["output"] == "x+y"
        assert product.zoo.served_by_tag["b"] == 2
        url = product.zoo.url("ok")
        short = await tenant.process("xy", chunk_size=1, api_urls=[url], fold=REDUCE)
        assert short["output"] == "x+y"

    async def test_a_replay_gives_the_same_answer_and_asks_nobody(self, product):
        tenant = await echoing(product)
        body = {"text": "ab", "split": {"size": 1}, "fold": REDUCE}
        key = {"Idempotency-Key": secrets.token_hex(8)}
        first = await tenant.http.post("/v1/process", json=body, headers=key)
        again = await tenant.http.post("/v1/process", json=body, headers=key)
        assert first.content == again.content
        assert first.json()["output"] == "a+b"
        assert (await tenant.usage())["used"] == product.zoo.served["ok"] == 3

    async def test_a_failed_fold_is_partial_says_why_and_bills_what_was_answered(self, product):
        tenant = await echoing(product)
        await tenant.upstream(product.zoo.url("500"), slug="bad", max_attempts=1, units_per_call=7)
        answer = await tenant.process(
            "ab", split={"size": 1}, upstreams=["echo"], fold=REDUCE | {"upstream": "bad"}
        )
        assert (answer["status"], answer["output"], answer["successful"]) == ("partial", None, 2)
        assert answer["fold"]["error"]["code"] == "status"
        assert (answer["fold"]["calls"], answer["fold"]["units"], answer["usage"]["units"]) == (0, 0, 2)
        assert (await tenant.usage())["reserved"] == 0

    async def test_its_calls_are_counted_with_the_others(self, own_product):
        tenant = await echoing(own_product)
        await tenant.upstream(own_product.zoo.url("500"), slug="bad", max_attempts=1)
        await tenant.process("ab", split={"size": 1}, upstreams=["echo"], fold=REDUCE | {"upstream": "bad"})
        lines = (await own_product.http().get("/metrics")).text.splitlines()
        name = "fanfold_fan_out_calls_total"
        assert {line for line in lines if line.startswith(name)} >= {
            f'{name}{{code="ok"}} 2.0',
            f'{name}{{code="status"}} 1.0',
        }

    async def test_nothing_to_fold_asks_nobody(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("500"), slug="bad", max_attempts=1)
        answer = await tenant.process("ab", split={"size": 1}, fold=REDUCE)
        assert (answer["status"], answer["output"], answer["fold"]["error"]) == ("failed", None, None)
        assert product.zoo.requests["500"] == 2

    async def test_what_was_to_fail_whole_is_not_folded(self, product):
        tenant = await echoing(product)
        await tenant.upstream(product.zoo.url("500"), slug="bad", max_attempts=1)
        for fields in ({"on_error": "fail"}, {"min_success": 0.9}):
            before = product.zoo.requests["ok"]
            answer = await tenant.process(
                "abc", split={"size": 1}, upstreams=["echo", "bad", "echo"], fold=REDUCE, **fields
            )
            assert (answer["status"], answer["output"], answer["fold"]["calls"]) == ("failed", None, 0)
            assert product.zoo.requests["ok"] - before <= 2

    async def test_beyond_the_quota_it_is_refused_before_anything_is_asked(self, product):
        tenant = await product.tenant(monthly_units=6)
        await tenant.upstream(product.zoo.url("ok"), response_path="echo")
        body = {"text": "abcd", "split": {"size": 1}, "fold": REDUCE}
        refused = await tenant.http.post("/v1/process", json=body)
        assert (refused.status_code, refused.json()["needed"]) == (402, 7)
        assert product.zoo.requests["ok"] == 0
        assert (await tenant.process(**body, max_units=6))["usage"]["units"] == 5

    async def test_the_deadline_holds_for_the_fold_too(self, product):
        tenant = await echoing(product)
        await tenant.upstream(product.zoo.url("hang"), slug="never", timeout_s=60)
        answer = await tenant.process(
            "ab", split={"size": 1}, upstreams=["echo"], fold=REDUCE | {"upstream": "never"}, deadline_s=3
        )
        assert answer["fold"]["error"]["code"] == "deadline"
        assert (answer["status"], answer["usage"]["units"]) == ("partial", 2)

    async def test_who_leaves_in_the_middle_of_the_fold_pays_for_what_was_answered(self, product):
        tenant = await echoing(product)
        await tenant.upstream(product.zoo.url("hang"), slug="never", timeout_s=60)
        body = {
            "text": "ab", "split": {"size": 1}, "upstreams": ["echo"], "fold": REDUCE | {"upstream": "never"},
        }  # fmt: skip
        key = secrets.token_hex(8)
        assert await leave(product, tenant, key, body, after=until_asked(product, "hang", 1)) == 499
        async with asyncio.timeout(30):
            while (usage := await tenant.usage())["reserved"]:
                await asyncio.sleep(0.01)
        assert usage["used"] == 2


class TestOtherFolds:
    async def test_merge_and_vote(self, product):
        tenant = await product.tenant()
        for slug, value in (("a", '{"名": [1]}'), ("b", '{"名": [2]}')):
            await tenant.upstream(product.zoo.url("json", value=value), slug=slug)
        body = {"text": "xyz", "split": {"size": 1}, "upstreams": ["a", "b"]}
        merged = await tenant.process(**body, fold={"by": "merge"})
        assert merged["output"] == {"名": [1, 2, 1]}
        voted = await tenant.process(**body, fold={"by": "vote"})
        assert voted["output"] == {"名": [1]}
        assert merged["fold"] == {"calls": 0, "units": 0, "error": None}

    async def test_what_cannot_be_merged_is_told(self, product):
        tenant = await echoing(product)
        answer = await tenant.process("ab", split={"size": 1}, fold={"by": "merge"})
        assert (answer["status"], answer["output"]) == ("partial", None)
        assert answer["fold"]["error"]["code"] == "invalid-answer"


class TestPrompts:
    async def test_every_chunk_is_sent_in_the_prompts_words(self, product):
        tenant = await echoing(product)
        prompt = "{index}/{total} {other} «{chunk}»"
        answer = await tenant.process("{chunk}是", split={"size": 7}, prompt=prompt)
        assert [result["result"] for result in answer["results"]] == [
            "0/2 {other} «{chunk}»",
            "1/2 {other} «是»",
        ]
        assert [(result["start"], result["end"]) for result in answer["results"]] == [(0, 7), (7, 8)]

    async def test_a_chat_gets_it_as_the_users_message(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("v1"), kind="openai", model="m")
        answer = await tenant.process("text", prompt="say {chunk}")
        assert answer["results"][0]["result"] == "SAY TEXT"

    async def test_characters_are_counted_of_the_chunk_alone(self, product):
        tenant = await echoing(product, units_per_call=0, units_per_1k_chars=1000)
        answer = await tenant.process("四字文本", prompt="x" * 100 + "{chunk}")
        assert answer["usage"] == {"units": 4, "characters": 4, "quota_remaining": 100_000 - 4}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"prompt": "Summarize."}, ["body", "prompt"]),
        ({"prompt": ""}, ["body", "prompt"]),
        ({"prompt": "{chunk}" * 2}, ["body", "prompt"]),
        ({"prompt": "{chunk}" + "x" * 16_000}, ["body", "prompt"]),
        ({"fold": {"by": "reduce", "prompt": "Combine."}}, ["body", "fold", "prompt"]),
        ({"fold": {"by": "concat", "upstream": "echo"}}, ["body", "fold"]),
        ({"fold": {"by": "vote", "prompt": "{chunk}"}}, ["body", "fold"]),
        ({"fold": {"by": "sum"}}, ["body", "fold", "by"]),
    ],
)
async def test_what_cannot_be_sent_or_folded_is_a_422_that_says_where(product, fields, place):
    tenant = await echoing(product)
    answer = await tenant.http.post("/v1/process", json={"text": "text", **fields})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [place]
    assert product.zoo.requests["ok"] == 0


async def test_who_is_unknown_is_told_by_place(product):
    tenant = await echoing(product)
    asked = {"upstreams": ["echo", "nobody"]}, {"api_urls": [product.zoo.url("ok"), "https://other.example/"]}
    for fields in asked:
        answer = await tenant.http.post("/v1/process", json={"text": "text", **fields})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"{next(iter(fields))}[1] is ")


async def test_an_unknown_or_disabled_upstream_cannot_fold(product):
    tenant = await echoing(product)
    await tenant.upstream(product.zoo.url("ok"), slug="off", enabled=False)
    for slug in ("nobody", "off"):
        answer = await tenant.http.post(
            "/v1/process", json={"text": "text", "fold": REDUCE | {"upstream": slug}}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown-upstream")
        assert answer.json()["detail"].startswith("fold.upstream ")
