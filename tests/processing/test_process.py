"""`POST /v1/process` through all floors: the answer, the report, the bill."""

import pytest

from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.base import UpstreamResponse
from fanfold.processing.dependencies import get_fan_out

TEXT = "Fan out, then fold. 先展开，再折叠。ファンアウト。مرحبا بالعالم 👩‍👩‍👧‍👦 " * 20


class TestAnswer:
    async def test_chunks_are_answered_in_order_and_billed_once_each(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), slug="echo")
        answer = await tenant.process(TEXT, split={"size": 50})
        results = answer["results"]
        assert answer["status"] == "succeeded"
        assert answer["total"] == answer["successful"] == len(results) > 10
        assert "".join(TEXT[result["start"] : result["end"]] for result in results) == TEXT
        assert [result["result"]["echo"] for result in results] == [
            TEXT[result["start"] : result["end"]] for result in results
        ]
        assert [result["index"] for result in results] == list(range(len(results)))
        assert {result["upstream"] for result in results} == {"echo"}
        assert answer["usage"] == {
            "units": len(results),
            "characters": len(TEXT),
            "quota_remaining": 100_000 - len(results),
        }
        usage = await tenant.usage()
        assert (usage["used"], usage["reserved"]) == (len(results), 0)
        assert product.zoo.served["ok"] == len(results)

    async def test_every_member_of_the_contract_is_there(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        answer = await tenant.process("text")
        assert set(answer) == {
            "id", "status", "total", "successful", "failed", "results", "output", "fold", "usage",
        }  # fmt: skip
        assert set(answer["results"][0]) == {
            "index", "start", "end", "upstream", "url", "success", "result", "error", "attempts", "latency_ms", "units",
            "input_tokens", "output_tokens", "tokens_counted", "finish_reason",
        }  # fmt: skip
        assert answer["fold"] == {"calls": 0, "units": 0, "error": None}

    async def test_concat_joins_what_response_path_picks(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), response_path="echo")
        answer = await tenant.process("一二三四", split={"size": 1}, fold={"by": "concat", "separator": "|"})
        assert answer["output"] == "一|二|三|四"

    async def test_round_robin_takes_turns(self, product):
        tenant = await product.tenant()
        for slug in ("a", "b", "c"):
            await tenant.upstream(product.zoo.url("ok", tag=slug), slug=slug)
        answer = await tenant.process("x" * 7, split={"size": 1}, upstreams=["c", "a", "b"])
        assert [result["upstream"] for result in answer["results"]] == ["c", "a", "b", "c", "a", "b", "c"]

    async def test_weighted_takes_turns_by_weight_and_the_quote_says_whose(self, product):
        tenant = await product.tenant()
        for slug, weight in (("a", 5), ("b", 1), ("c", 1)):
            await tenant.upstream(product.zoo.url("ok"), slug=slug, weight=weight)
        asked = {"split": {"size": 1}, "upstreams": ["a", "b", "c"], "strategy": "weighted"}
        quote = await tenant.http.post("/v1/process/quote", json={"text": "一" * 7, **asked})
        answer = await tenant.process("一" * 7, **asked)
        assert [result["upstream"] for result in answer["results"]] == list("aabacaa")
        assert [chunk["upstream"] for chunk in quote.json()["chunks"]] == list("aabacaa")

    async def test_least_busy_reserves_the_dearest_and_nobody_knows_before_who_answers(self, product):
        tenant = await product.tenant()
        for slug, units in (("a", 2), ("b", 7)):
            await tenant.upstream(product.zoo.url("slow", ms=20), slug=slug, units_per_call=units)
        asked = {"split": {"size": 1}, "upstreams": ["a", "b"], "strategy": "least_busy"}
        quote = (await tenant.http.post("/v1/process/quote", json={"text": "一" * 6, **asked})).json()
        answer = await tenant.process("一" * 6, **asked)
        assert ({chunk["upstream"] for chunk in quote["chunks"]}, quote["units_max"]) == ({None}, 42)
        assert [result["upstream"] for result in answer["results"]] == list("ababab")
        assert answer["usage"]["units"] == 27

    async def test_broadcast_gives_one_result_for_each_pair(self, product):
        tenant = await product.tenant()
        for slug in ("a", "b"):
            await tenant.upstream(product.zoo.url("ok"), slug=slug, units_per_call=3)
        answer = await tenant.process("xy", split={"size": 1}, upstreams=["a", "b"], strategy="broadcast")
        assert [(r["start"], r["upstream"]) for r in answer["results"]] == [
            (0, "a"), (0, "b"), (1, "a"), (1, "b"),
        ]  # fmt: skip
        assert answer["usage"]["units"] == 12

    async def test_fallback_asks_the_next_one_and_bills_who_answered(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("500"), slug="bad", max_attempts=1, units_per_call=9)
        await tenant.upstream(product.zoo.url("ok"), slug="good", units_per_call=2)
        answer = await tenant.process("text", upstreams=["bad", "good"], strategy="fallback")
        assert [(r["upstream"], r["units"]) for r in answer["results"]] == [("good", 2)]

    async def test_an_openai_upstream_answers_text_and_tokens_are_billed(self, product):
        tenant = await product.tenant()
        await tenant.upstream(
            product.zoo.url("v1"), kind="openai", model="m", options={"max_tokens": 50},
            units_per_1k_input_tokens=1000, units_per_1k_output_tokens=2000, credential="sk-test",
        )  # fmt: skip
        answer = await tenant.process("How are you?")
        result = answer["results"][0]
        assert isinstance(result["result"], str)
        assert result["units"] == 1 + result["input_tokens"] + 2 * result["output_tokens"]

    async def test_echo_calls_nobody(self, product):
        tenant = await product.tenant()
        await tenant.upstream("https://echo.example", kind="echo")
        answer = await tenant.process("你好", split={"size": 1}, fold={"by": "concat", "separator": ""})
        assert answer["output"] == "你好"


class TestFailure:
    async def test_one_failed_chunk_never_fails_the_others(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), slug="good")
        await tenant.upstream(product.zoo.url("500"), slug="bad", max_attempts=1)
        answer = await tenant.process("abcd", split={"size": 1}, upstreams=["good", "bad"])
        assert (answer["status"], answer["successful"], answer["failed"]) == ("partial", 2, 2)
        assert answer["usage"]["units"] == 2
        failed = answer["results"][1]
        assert failed["error"]["code"] == "status"
        assert failed["error"]["status"] == 500
        assert failed["units"] == 0

    async def test_on_error_fail_and_min_success_fail_the_whole_and_bill_what_was_done(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), slug="good")
        await tenant.upstream(product.zoo.url("500"), slug="bad", max_attempts=1)
        mixed = {"split": {"size": 1}, "upstreams": ["good", "bad"]}
        assert (await tenant.process("ab", min_success=0.9, **mixed))["status"] == "failed"
        assert (await tenant.process("ab", min_success=0.5, **mixed))["status"] == "partial"
        assert (await tenant.process("ab", on_error="fail", **mixed))["status"] == "failed"
        assert (await tenant.usage())["used"] == product.zoo.served["ok"]

    async def test_a_deadline_ends_the_request_and_bills_what_was_done(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), slug="good")
        await tenant.upstream(product.zoo.url("hang"), slug="hang")
        answer = await tenant.process("ab", split={"size": 1}, upstreams=["good", "hang"], deadline_s=1)
        assert [r["error"] and r["error"]["code"] for r in answer["results"]] == [None, "deadline"]
        assert (await tenant.usage())["used"] == 1

    async def test_max_units_is_a_cap(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), units_per_call=2)
        answer = await tenant.process("abcd", split={"size": 1}, max_units=5)
        codes = sorted(str(r["error"] and r["error"]["code"]) for r in answer["results"])
        assert codes == ["None", "None", "budget", "budget"]
        assert (await tenant.usage())["used"] == 4


class TestShortForm:
    async def test_addresses_of_own_upstreams_are_found_whatever_their_spelling(self, product):
        tenant = await product.tenant()
        url = product.zoo.url("ok")
        await tenant.upstream(url, slug="mine")
        answer = await tenant.process("abc", chunk_size=2, api_urls=[url.replace("http://", "HTTP://")])
        assert [(r["upstream"], r["url"]) for r in answer["results"]] == [("mine", url), ("mine", url)]

    async def test_a_strange_address_is_refused_unless_the_operator_allows_it(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        body = {"text": "abc", "api_urls": [product.zoo.url("json")]}
        answer = await tenant.http.post("/v1/process", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "upstream-not-allowed")
        assert product.zoo.requests["json"] == 0

    async def test_a_disabled_upstream_is_not_found_by_its_address(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), enabled=False)
        body = {"text": "abc", "api_urls": [product.zoo.url("ok")]}
        assert (await tenant.http.post("/v1/process", json=body)).json()["code"] == "upstream-not-allowed"

    async def test_the_alias_of_the_tutorials_answers_the_same(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        answer = await tenant.http.post("/process/", json={"text": "ten or more", "chunk_size": 4})
        assert answer.status_code == 200
        assert answer.json()["total"] == 3


class TestRefusal:
    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 422, "validation"),
            ({"text": ""}, 422, "validation"),
            ({"text": "a", "split": {"size": 0}}, 422, "validation"),
            ({"text": "a", "split": {"size": 100_001}}, 422, "validation"),
            ({"text": "a", "split": {"size": 5, "overlap": 5}}, 422, "validation"),
            ({"text": "a", "split": {"by": "lines"}}, 422, "validation"),
            ({"text": "a", "strategy": "dice"}, 422, "validation"),
            ({"text": "a", "split": {"size": True}}, 422, "validation"),
            ({"text": "a", "deadline_s": 0.5}, 422, "validation"),
            ({"text": "a", "deadline_s": 901}, 422, "validation"),
            ({"text": "a", "timeout_s": 0.05}, 422, "validation"),
            ({"text": "a", "max_attempts": 11}, 422, "validation"),
            ({"text": "a", "min_success": 1.1}, 422, "validation"),
            ({"text": "a", "upstreams": []}, 422, "validation"),
            ({"text": "a", "api_urls": []}, 422, "validation"),
            ({"text": "a", "chunk_size": 5, "split": {"size": 5}}, 422, "validation"),
            ({"text": "a", "upstreams": ["none"]}, 422, "unknown-upstream"),
            ({"text": "a", "upstreams": ["off"]}, 422, "unknown-upstream"),
            ({"text": "a", "api_urls": ["http://169.254.169.254/"]}, 422, "upstream-not-allowed"),
            ({"text": "x" * 200_001}, 413, "too-large"),
            ({"text": "x" * 501, "split": {"size": 1}}, 413, "too-large"),
        ],
    )
    async def test_is_a_problem_that_says_what_to_do(self, product, body, status, code):
        tenant = await product.tenant("free")
        await tenant.upstream(product.zoo.url("ok"))
        await tenant.upstream(product.zoo.url("ok"), slug="off", enabled=False)
        answer = await tenant.http.post("/v1/process", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await tenant.usage())["reserved"] == 0
        assert product.zoo.requests["ok"] == 0

    async def test_without_an_upstream_there_is_no_default(self, product):
        tenant = await product.tenant()
        answer = await tenant.http.post("/v1/process", json={"text": "a"})
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown-upstream")

    async def test_a_quota_that_does_not_suffice_is_402_and_tells_what_is_missing(self, product):
        tenant = await product.tenant("free", monthly_units=5)
        await tenant.upstream(product.zoo.url("ok"))
        answer = await tenant.http.post("/v1/process", json={"text": "x" * 6, "split": {"size": 1}})
        assert (answer.status_code, answer.json()["code"]) == (402, "quota-exhausted")
        assert (answer.json()["needed"], answer.json()["remaining"]) == (6, 5)
        assert answer.json()["period_ends_at"].endswith("-01T00:00:00Z")
        assert product.zoo.requests["ok"] == 0
        assert (await tenant.process("x" * 5, split={"size": 1}))["usage"]["quota_remaining"] == 0

    async def test_overage_has_no_ceiling(self, product):
        tenant = await product.tenant("free", monthly_units=1, overage_allowed=True)
        await tenant.upstream(product.zoo.url("ok"))
        answer = await tenant.process("x" * 6, split={"size": 1})
        assert answer["usage"]["quota_remaining"] is None
        assert (await tenant.usage())["used"] == 6


class TestQuote:
    async def test_tells_chunks_and_price_and_touches_nothing(self, product):
        tenant = await product.tenant(monthly_units=10)
        await tenant.upstream(product.zoo.url("ok"), slug="a", units_per_call=2, units_per_1k_chars=1)
        answer = await tenant.http.post("/v1/process/quote", json={"text": "你好" * 3, "split": {"size": 2}})
        assert answer.json() == {
            "chunks": [
                {"index": i, "start": 2 * i, "end": 2 * i + 2, "upstream": "a"} for i in range(3)
            ],
            "units_max": 9,
            "fold_units_max": 0,
            "quota_remaining": 10,
            "allowed": True,
        }  # fmt: skip
        more = await tenant.http.post("/v1/process/quote", json={"text": "x" * 8, "split": {"size": 2}})
        assert (more.json()["units_max"], more.json()["allowed"]) == (12, False)
        assert (await tenant.usage())["used"] == product.zoo.requests["ok"] == 0

    async def test_is_what_processing_then_costs(self, product):
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), units_per_1k_chars=7)
        body = {"text": TEXT, "split": {"by": "words", "size": 9, "overlap": 2}}
        quote = (await tenant.http.post("/v1/process/quote", json=body)).json()
        assert (await tenant.process(**body))["usage"]["units"] == quote["units_max"]


class Scripted:
    """A transport that calls nobody."""

    async def send(self, request, *, max_bytes, progress):  # noqa: ARG002 (the port's own names)
        return UpstreamResponse(200, {}, b'"scripted"')

    def stream(self, request, *, max_bytes, progress):
        raise NotImplementedError

    async def aclose(self):
        """Nothing is open."""


async def test_a_test_replaces_the_fan_out_service(product):
    tenant = await product.tenant()
    await tenant.upstream("https://never.example/called")
    async with FanOut(transport=Scripted()) as fan:
        product.app.dependency_overrides[get_fan_out] = lambda: fan
        answer = await tenant.process("text")
    assert answer["results"][0]["result"] == "scripted"
