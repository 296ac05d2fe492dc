"""What wrk says is believed only where its answers were right."""

import pytest

from benchmarks.comparison.load import Wrong, judged

RESULT = 'RESULT {"requests":%d,"duration_us":2000000,"bytes":%d,"broken":%d,"refused":%d,"p50_us":500,"p99_us":900}'


def said(requests: int = 100, length: int = 400, broken: int = 0, refused: int = 0) -> str:
    return "Running 2s test\n" + RESULT % (requests, requests * length, broken, refused) + "\n"


def test_a_right_run_becomes_a_rate_and_milliseconds():
    found = judged(said(), "http://mock", 300)
    assert (found.rate, found.p50_ms, found.p99_ms) == (50.0, 0.5, 0.9)


@pytest.mark.parametrize(
    "output",
    [said(refused=1), said(broken=3), said(length=100), said(length=4_000), "wrk: unable to connect"],
)
def test_refused_broken_short_and_long_answers_are_wrong(output: str):
    with pytest.raises(Wrong):
        judged(output, "http://mock", 300)


def test_who_answers_nothing_in_time_has_the_rate_of_nothing():
    assert judged(said(requests=0), "http://mock", 300).rate == 0
