"""A request's own words around each chunk."""

import pytest

from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.template import PromptTemplate
from fanfold.fanout.types import Chunk, Price, Prompt
from tests.fanout.engine import ScriptedTransport, fan_out, request, text_of, upstream


def test_words_are_put_around_the_chunk_literally():
    template = PromptTemplate("Übersetze {index}/{total} {braces}: {chunk}")
    assert template.prompt(Chunk(1, 5, 9, "{index}👩‍🚀"), 3) == Prompt(
        "Übersetze 1/3 {braces}: {index}👩‍🚀", 1, 3
    )


def test_without_words_the_chunk_is_sent_alone():
    assert PromptTemplate(None).prompt(Chunk(0, 0, 2, "日本"), 1) == Prompt("日本", 0, 1)


@pytest.mark.parametrize("words", ["Summarize.", "", "{index}", "{chunk} {chunk}", "{chunk}" + "x" * 70_000])
def test_words_without_one_place_for_the_chunk_or_too_many_are_refused(words):
    with pytest.raises(InvalidPlan, match="prompt"):
        PromptTemplate(words)


async def test_the_prompt_is_what_is_sent_and_the_chunk_is_what_characters_are_counted_of():
    transport = ScriptedTransport()
    one = upstream(price=Price(units_per_1k_chars=1000, units_per_1k_input_tokens=1000))
    async with fan_out(transport) as fan:
        asked = request(2, one, prompt="Say: {chunk}")
        plan = await fan.plan(asked)
        answer = await fan.run(asked)
    assert sorted(map(text_of, transport.requests)) == ["Say: 一", "Say: 丁"]
    # 8 bytes of prompt and 64 around it are the most that its tokens can be.
    assert plan.units_max == 2 * (1 + 1 + 8 + 64)
    assert [reading.quantity for reading in answer.results[0].readings[:2]] == [1, 1]
    assert answer.results[0].input_tokens == 3
