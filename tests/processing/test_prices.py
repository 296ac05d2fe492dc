"""What is billed over HTTP: tokens that nobody reported, prices that change."""

import asyncio

import pytest
from sqlalchemy import text as sql

from fanfold.fanout.splitters.tokens import count


class TestTokens:
    @pytest.mark.parametrize("text", ["words of one chunk", "先展开，再折叠。👩‍🚀", "很长的文字🎉。" * 2000])
    async def test_an_upstream_that_reports_none_is_counted_and_the_client_can_see_it(self, product, text):
        tenant = await product.tenant(plan="scale")
        await tenant.upstream(
            product.zoo.url("ok"), response_path="echo", options={"max_tokens": 100_000},
            units_per_1k_input_tokens=1000, units_per_1k_output_tokens=2000,
        )  # fmt: skip
        answer = await tenant.process(text, chunk_size=100_000)
        result, tokens = answer["results"][0], count(text)
        assert result["tokens_counted"] is True
        assert (result["input_tokens"], result["output_tokens"]) == (tokens, tokens)
        assert result["units"] == answer["usage"]["units"] == 1 + 3 * tokens
        assert (await tenant.usage())["used"] == 1 + 3 * tokens
        lines = (await tenant.http.get("/v1/usage/statement")).json()["lines"]
        assert {line["meter"]: line["counted"] for line in lines} == {
            "calls": 0, "input_tokens": 1, "output_tokens": 1,
        }  # fmt: skip

    async def test_reported_tokens_are_not_marked(self, product):
        tenant = await product.tenant()
        await tenant.upstream(
            product.zoo.url("v1"), kind="openai", model="m", options={"max_tokens": 50},
            units_per_1k_input_tokens=1000,
        )  # fmt: skip
        result = (await tenant.process("two words"))["results"][0]
        assert (result["input_tokens"], result["tokens_counted"]) == (6, False)


class TestChangedPrices:
    async def test_old_usage_keeps_its_price_and_new_usage_has_the_new_one(self, product):
        tenant = await product.tenant()
        created = await tenant.upstream(product.zoo.url("ok"), units_per_call=2, units_per_1k_chars=1000)
        path = f"/v1/upstreams/{created['id']}"
        assert (await tenant.process("four"))["usage"]["units"] == 2 + 4
        assert (await tenant.http.patch(path, json={"units_per_call": 7})).json()["units_per_call"] == 7
        assert (await tenant.process("four"))["usage"]["units"] == 7 + 4
        added = await tenant.http.post(f"{path}/prices", json={"units_per_1k_chars": 0})
        assert added.status_code == 201
        assert (await tenant.process("four"))["usage"]["units"] == 7
        async with product.app.state.database.session(tenant.id) as session:
            query = sql("select meter, rate, units from fanfold.usage_events order by occurred_at, meter")
            events = [tuple(row) for row in await session.execute(query)]
        assert events == [
            ("calls", 2, 2), ("characters", 1000, 4),
            ("calls", 7, 7), ("characters", 1000, 4),
            ("calls", 7, 7),
        ]  # fmt: skip
        assert (await tenant.usage())["used"] == 6 + 11 + 7
        statement = (await tenant.http.get("/v1/usage/statement")).json()
        assert statement["balanced"] is True
        lines = {(line["meter"], line["rate"]): line["units"] for line in statement["lines"]}
        assert lines == {("calls", 2): 2, ("calls", 7): 14, ("characters", 1000): 8}

    async def test_a_request_keeps_the_price_of_its_admission(self, product):
        tenant = await product.tenant()
        created = await tenant.upstream(product.zoo.url("held"), units_per_call=2)
        running = asyncio.ensure_future(tenant.process("x"))
        while not product.zoo.requests["held"]:
            await asyncio.sleep(0.01)
        await tenant.http.patch(f"/v1/upstreams/{created['id']}", json={"units_per_call": 500})
        assert not running.done()
        product.zoo.lets_go.set()
        assert (await running)["usage"]["units"] == 2
        assert (await tenant.process("x"))["usage"]["units"] == 500

    async def test_a_quote_has_the_price_in_force(self, product):
        tenant = await product.tenant()
        created = await tenant.upstream(product.zoo.url("ok"), units_per_call=2)
        later = {"units_per_call": 90, "effective_from": "2999-01-01T00:00:00Z"}
        await tenant.http.post(f"/v1/upstreams/{created['id']}/prices", json=later)
        quote = (await tenant.http.post("/v1/process/quote", json={"text": "x"})).json()
        assert quote["units_max"] == 2
