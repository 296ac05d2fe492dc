import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.adapters.registry import ADAPTERS, adapter
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.pricing import Bill, units_max
from fanfold.fanout.splitters.tokens import count
from fanfold.fanout.types import Chunk, Meter, Price, Prompt
from tests.fanout.engine import upstream

TEXT = "語" * 1001


def priced(kind="openai", options=None, template=None, **price):
    return upstream(
        kind=kind, model="m", price=Price(**price), options=options or {}, request_template=template
    )


def most(of, text=TEXT):
    return units_max(of, Chunk(0, 0, len(text), text), Prompt(text, 0, 1), adapter(of.kind))


def bill(of, answer, text=TEXT):
    return Bill(of, Chunk(0, 0, len(text), text), Prompt(text, 0, 1), adapter=adapter(of.kind), answer=answer)


def billed(of, answer, text=TEXT):
    return {reading.meter: (reading.quantity, reading.units) for reading in bill(of, answer, text).readings()}


def test_a_call_costs_its_price_and_its_code_points_rounded_up():
    of = priced(units_per_call=3, units_per_1k_chars=2)
    assert most(of) == 3 + 3
    assert billed(of, AdapterAnswer("x")) == {Meter.CALLS: (1, 3), Meter.CHARACTERS: (1001, 3)}


def test_there_is_always_one_reading_of_calls_and_no_other_that_is_not_priced():
    assert billed(priced(units_per_call=0), AdapterAnswer("x", 10, 10)) == {Meter.CALLS: (1, 0)}


def test_tokens_are_bounded_before_by_bytes_and_max_tokens():
    of = priced(options={"max_tokens": 500}, units_per_1k_input_tokens=10, units_per_1k_output_tokens=100)
    assert most(of) == 1 + -(-10 * (3 * 1001 + 64) // 1000) + 50


def test_tokens_are_billed_as_reported():
    of = priced(options={"max_tokens": 500}, units_per_1k_input_tokens=10, units_per_1k_output_tokens=100)
    found = bill(of, AdapterAnswer("x", 150, 11))
    assert not found.is_uncounted
    assert [
        (reading.meter, reading.quantity, reading.units, reading.rate) for reading in found.readings()
    ] == [
        (Meter.CALLS, 1, 1, 1),
        (Meter.INPUT_TOKENS, 150, 2, 10),
        (Meter.OUTPUT_TOKENS, 11, 2, 100),
    ]
    assert not any(reading.is_counted for reading in found.readings())


@pytest.mark.parametrize("kind", ["openai", "echo"])
@pytest.mark.parametrize("text", ["plain words", "先展开，再折叠。", "👩‍🚀🇯🇵🎉", "語" * 3000])
def test_tokens_that_are_not_reported_are_counted_and_marked(kind, text):
    of = priced(kind, {"max_tokens": 10_000}, units_per_1k_input_tokens=1000, units_per_1k_output_tokens=2000)
    found = bill(of, AdapterAnswer(text * 2), text)
    assert found.is_uncounted
    assert found.uncounted_length == 3 * len(text)
    _, sent, answered = found.readings()
    assert (sent.quantity, sent.units, sent.is_counted) == (count(text), count(text), True)
    assert (answered.quantity, answered.units) == (count(text * 2), 2 * count(text * 2))
    assert answered.is_counted


def test_what_is_counted_is_the_prompt_as_it_was_sent_and_the_answer_as_compact_json():
    of = priced(
        "http_json", {"max_tokens": 99}, {"task": "翻译：", "text": "<{chunk}>", "chunk": 7},
        units_per_1k_input_tokens=1000, units_per_1k_output_tokens=1000,
    )  # fmt: skip
    answer = {"答": ["一", 2]}
    assert billed(of, AdapterAnswer(answer), "短") == {
        Meter.CALLS: (1, 1),
        Meter.INPUT_TOKENS: (count("翻译：") + count("<短>"),) * 2,
        Meter.OUTPUT_TOKENS: (count('{"答":["一",2]}'),) * 2,
    }


def test_only_what_is_not_reported_is_counted():
    of = priced(options={"max_tokens": 50}, units_per_1k_input_tokens=1, units_per_1k_output_tokens=1)
    found = bill(of, AdapterAnswer("two words", input_tokens=77))
    assert found.uncounted_length == len("two words")
    assert [(reading.quantity, reading.is_counted) for reading in found.readings()] == [
        (1, False),
        (77, False),
        (2, True),
    ]
    found = bill(of, AdapterAnswer("two words", output_tokens=0), "one word")
    assert found.uncounted_length == len("one word")
    assert [(reading.quantity, reading.is_counted) for reading in found.readings()][1:] == [
        (2, True),
        (0, False),
    ]


def test_an_answer_longer_than_max_tokens_is_counted_up_to_them():
    of = priced(options={"max_tokens": 5}, units_per_1k_output_tokens=1000)
    assert billed(of, AdapterAnswer("many words " * 50))[Meter.OUTPUT_TOKENS] == (5, 5)


@pytest.mark.parametrize("reported", [501, 10**9, 2**31 - 1])
def test_never_billed_above_the_reservation_whatever_the_upstream_reports(reported):
    of = priced(
        options={"max_tokens": 500},
        units_per_call=2,
        units_per_1k_chars=1,
        units_per_1k_input_tokens=7,
        units_per_1k_output_tokens=13,
    )
    found = billed(of, AdapterAnswer("x", reported, reported))
    assert sum(units for _, units in found.values()) <= most(of)
    assert found[Meter.OUTPUT_TOKENS] == (500, 7)


RATES = st.integers(0, 1_000_000)
PRICES = st.builds(
    Price,
    units_per_call=RATES,
    units_per_1k_chars=RATES,
    units_per_1k_input_tokens=RATES,
    units_per_1k_output_tokens=RATES,
)
REPORTED = st.none() | st.integers(0, 2**31 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
RESULTS = TEXTS | st.dictionaries(TEXTS, TEXTS | st.integers(0, 99), max_size=3)
ANSWERS = st.builds(AdapterAnswer, RESULTS, REPORTED, REPORTED)


@given(st.sampled_from(sorted(ADAPTERS)), PRICES, TEXTS, ANSWERS, st.integers(1, 99))
def test_the_price_is_the_sum_of_its_readings_each_rounded_up_and_never_above_what_was_reserved(
    kind, price, text, answer, max_tokens
):
    of = upstream(kind=kind, model="m", options={"max_tokens": max_tokens}, price=price)
    answered = answer.result if isinstance(answer.result, str) else orjson.dumps(answer.result).decode()
    sent = count(text) if answer.input_tokens is None else answer.input_tokens
    received = count(answered) if answer.output_tokens is None else answer.output_tokens
    found = bill(of, answer, text)
    readings = found.readings()
    units = sum(reading.units for reading in readings)
    assert units == (
        price.units_per_call
        + -(-price.units_per_1k_chars * len(text) // 1000)
        + -(-price.units_per_1k_input_tokens * min(sent, len(text.encode()) + 64) // 1000)
        + -(-price.units_per_1k_output_tokens * min(received, max_tokens) // 1000)
    )
    assert units <= most(of, text)
    assert found.is_uncounted == any(reading.is_counted for reading in readings)
    assert all(type(reading.units) is int for reading in readings)


@pytest.mark.parametrize("options", [{}, {"max_tokens": "9"}, {"max_tokens": True}, {"max_tokens": -1}])
@pytest.mark.parametrize("kind", ["openai", "http_json", "echo"])
def test_a_price_on_output_without_a_bound_is_refused(kind, options):
    with pytest.raises(InvalidPlan, match="max_tokens"):
        most(priced(kind, options, units_per_1k_output_tokens=1))


def test_newer_models_name_the_bound_otherwise():
    assert most(priced(options={"max_completion_tokens": 2000}, units_per_1k_output_tokens=1)) == 3
