from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fanfold.fanout.types import Price
from fanfold.upstreams.schedule import DatedPrice, Schedule

START = datetime(2026, 11, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 50).map(lambda ticks: START + timedelta(microseconds=ticks))
PRICES = st.dictionaries(MOMENTS, st.integers(0, 9), min_size=1, max_size=20)


@given(PRICES, MOMENTS)
def test_the_price_in_force_is_the_latest_that_has_begun(prices, moment):
    schedule = Schedule(DatedPrice(begins, Price(units_per_call=units)) for begins, units in prices.items())
    begun = [begins for begins in prices if begins <= moment]
    in_force = max(begun) if begun else min(prices)
    assert schedule.at(moment) == Price(units_per_call=prices[in_force])


def test_a_price_holds_from_its_very_moment():
    one, two = Price(units_per_call=1), Price(units_per_call=2)
    schedule = Schedule([DatedPrice(START + timedelta(seconds=1), two), DatedPrice(START, one)])
    assert schedule.at(START + timedelta(microseconds=999_999)) == one
    assert schedule.at(START + timedelta(seconds=1)) == two
    assert schedule.at(START - timedelta(days=1)) == one
