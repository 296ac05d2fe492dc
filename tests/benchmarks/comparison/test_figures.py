"""Figures stand beside their targets: what must be at least, what is aimed at, and less where less is better."""

import pytest

from benchmarks.comparison.figures import Figure, Target, Verdict, number


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(36.9, Verdict.MISSED), (37, Verdict.MET), (49.9, Verdict.MET), (50, Verdict.AIM)],
)
def test_more_is_better(value: float, verdict: Verdict):
    assert Figure(label="", value=value, target=Target(37, 50)).verdict is verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(3.01, Verdict.MISSED), (3, Verdict.MET), (1.81, Verdict.MET), (1.8, Verdict.AIM)],
)
def test_less_is_better_under_a_ceiling(value: float, verdict: Verdict):
    assert Figure(label="", value=value, target=Target(3, 1.8, is_ceiling=True)).verdict is verdict


def test_what_has_no_target_is_reported_and_what_has_no_value_is_not_here():
    assert Figure(label="", value=1.0).verdict is Verdict.REPORTED
    assert Figure(label="", value=None, target=Target(1, 2)).verdict is Verdict.NOT_HERE


def test_bounds_are_written_with_their_unit_and_direction():
    assert Figure(label="", value=1, target=Target(120, 260)).bounds() == ("120 ×", "260 ×")
    ceiling = Figure(label="", value=1, unit="%", target=Target(15, 5, is_ceiling=True))
    assert ceiling.bounds() == ("≤ 15%", "≤ 5%")
    assert Figure(label="", value=1).bounds() == ("report", "report")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (12_345.6, "12,346"),
        (99.96, "100"),
        (45.67, "45.7"),
        (9.996, "10.0"),
        (1.054, "1.05"),
        (0.0706, "0.0706"),
    ],
)
def test_numbers_have_three_digits(value: float, written: str):
    assert number(value) == written
