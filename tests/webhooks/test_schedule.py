"""When what failed comes again, and when a webhook is given up."""

import datetime as dt

import pytest

from fanfold.webhooks.schedule import DeliverySchedule

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def test_the_pauses_are_those_of_the_specification_and_end_after_three_days():
    schedule = DeliverySchedule()
    pauses = [schedule.pause_s(failures, jitter=0.5, asked_s=None) for failures in range(1, 10)]
    assert pauses == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert 3 * 86_400 < sum(filter(None, pauses)) < 3.5 * 86_400
    assert schedule.pause_s(10, jitter=0.5, asked_s=None) is None


def test_chance_makes_a_pause_a_tenth_shorter_or_longer():
    schedule = DeliverySchedule()
    assert schedule.pause_s(2, jitter=0.0, asked_s=None) == pytest.approx(270)
    assert schedule.pause_s(2, jitter=1.0, asked_s=None) == pytest.approx(330)


@pytest.mark.parametrize(
    ("asked", "pause"), [(1.0, 5.0), (60.0, 60.0), (1e9, 86_400.0), (float("inf"), 86_400.0)]
)
def test_a_receiver_may_ask_for_a_longer_pause_up_to_a_day(asked: float, pause: float):
    assert DeliverySchedule().pause_s(1, jitter=0.5, asked_s=asked) == pause


def test_what_a_receiver_asks_for_revives_nothing():
    assert DeliverySchedule().pause_s(10, jitter=0.5, asked_s=60.0) is None


def test_failures_are_counted_from_the_first_unless_they_are_far_apart():
    schedule = DeliverySchedule()
    assert schedule.failing_since(None, None, NOON) == NOON
    assert schedule.failing_since(NOON, NOON + DAY, NOON + 2 * DAY) == NOON
    assert schedule.failing_since(NOON, NOON + DAY, NOON + 7 * DAY) == NOON + 7 * DAY


def test_five_days_are_enough():
    schedule = DeliverySchedule()
    assert not schedule.is_given_up(NOON, NOON + 5 * DAY - dt.timedelta(seconds=1))
    assert schedule.is_given_up(NOON, NOON + 5 * DAY)
