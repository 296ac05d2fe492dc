"""Of each contestant's rounds the medians are taken, figure by figure; ratios are of requests a second."""

from dataclasses import replace

from benchmarks.comparison.turns import Sample, medians, over, told

ROUND = Sample(rate=100, p50_ms=1, p99_ms=2, cpu_us=10, core_share=0.5, mb=50)


def test_each_figure_has_its_own_median():
    rounds = [
        replace(ROUND, rate=100, cpu_us=30),
        replace(ROUND, rate=300, cpu_us=10),
        replace(ROUND, rate=200),
    ]
    found = medians({"a": rounds})["a"]
    assert (found.rate, found.cpu_us, found.p50_ms) == (200, 10, 1)


def test_the_ratio_is_ours_over_theirs_and_none_where_they_never_answered():
    assert over(replace(ROUND, rate=300), ROUND) == 3
    assert over(ROUND, replace(ROUND, rate=0)) is None


def test_rates_are_told_with_the_run_time_of_a_request_but_for_the_mock():
    assert told({"ours": ROUND, "mock": replace(ROUND, cpu_us=0)}) == "ours 100/s, 10.0 µs each · mock 100/s"
