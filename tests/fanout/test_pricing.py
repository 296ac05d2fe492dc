import pytest

from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.pricing import readings, units_max
from fanfold.fanout.types import Chunk, Meter, Price
from tests.fanout.engine import upstream

TEXT = "語" * 1001


def priced(kind="openai", options=None, **price):
    return upstream(kind=kind, model="m", price=Price(**price), options=options or {})


def most(of, text=TEXT):
    return units_max(of, Chunk(0, 0, len(text), text), 1, adapter(of.kind))


def bill(of, answer, text=TEXT):
    found = readings(of, Chunk(0, 0, len(text), text), 1, adapter=adapter(of.kind), answer=answer)
    return {reading.meter: (reading.quantity, reading.units) for reading in found}


def test_a_call_costs_its_price_and_its_code_points_rounded_up():
    of = priced(units_per_call=3, units_per_1k_chars=2)
    assert most(of) == 3 + 3
    assert bill(of, AdapterAnswer("x")) == {Meter.CALLS: (1, 3), Meter.CHARACTERS: (1001, 3)}


def test_there_is_always_one_reading_of_calls_and_no_other_that_is_not_priced():
    assert bill(priced(units_per_call=0), AdapterAnswer("x", 10, 10)) == {Meter.CALLS: (1, 0)}


def test_tokens_are_bounded_before_by_bytes_and_max_tokens():
    of = priced(options={"max_tokens": 500}, units_per_1k_input_tokens=10, units_per_1k_output_tokens=100)
    assert most(of) == 1 + -(-10 * (3 * 1001 + 64) // 1000) + 50


def test_tokens_are_billed_as_reported():
    of = priced(options={"max_tokens": 500}, units_per_1k_input_tokens=10, units_per_1k_output_tokens=100)
    assert bill(of, AdapterAnswer("x", 150, 11)) == {
        Meter.CALLS: (1, 1),
        Meter.INPUT_TOKENS: (150, 2),
        Meter.OUTPUT_TOKENS: (11, 2),
    }


def test_tokens_that_are_not_reported_cost_nothing():
    of = priced(options={"max_tokens": 5}, units_per_1k_input_tokens=10, units_per_1k_output_tokens=10)
    assert set(bill(of, AdapterAnswer("x"))) == {Meter.CALLS}


@pytest.mark.parametrize("reported", [501, 10**9, 2**31 - 1])
def test_never_billed_above_the_reservation_whatever_the_upstream_reports(reported):
    of = priced(
        options={"max_tokens": 500},
        units_per_call=2,
        units_per_1k_chars=1,
        units_per_1k_input_tokens=7,
        units_per_1k_output_tokens=13,
    )
    billed = bill(of, AdapterAnswer("x", reported, reported))
    assert sum(units for _, units in billed.values()) <= most(of)
    assert billed[Meter.OUTPUT_TOKENS] == (500, 7)


@pytest.mark.parametrize("options", [{}, {"max_tokens": "9"}, {"max_tokens": True}, {"max_tokens": -1}])
@pytest.mark.parametrize("kind", ["openai", "http_json"])
def test_a_price_on_output_without_a_bound_is_refused(kind, options):
    with pytest.raises(InvalidPlan, match="max_tokens"):
        most(priced(kind, options, units_per_1k_output_tokens=1))


def test_newer_models_name_the_bound_otherwise():
    assert most(priced(options={"max_completion_tokens": 2000}, units_per_1k_output_tokens=1)) == 3


def test_echo_reports_no_tokens_and_so_costs_none():
    assert most(priced("echo", units_per_1k_input_tokens=9, units_per_1k_output_tokens=9)) == 1
