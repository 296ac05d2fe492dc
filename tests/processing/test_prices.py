"""What is billed over HTTP: tokens that nobody reported."""

import pytest

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

    async def test_reported_tokens_are_not_marked(self, product):
        tenant = await product.tenant()
        await tenant.upstream(
            product.zoo.url("v1"), kind="openai", model="m", options={"max_tokens": 50},
            units_per_1k_input_tokens=1000,
        )  # fmt: skip
        result = (await tenant.process("two words"))["results"][0]
        assert (result["input_tokens"], result["tokens_counted"]) == (6, False)
