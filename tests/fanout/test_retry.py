"""Which failures are repeated, how long the pauses are, and how Retry-After is read."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.retry import RetryPolicy, is_repeated, retry_after_s
from fanfold.fanout.types import ErrorCode

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
REPEATED = {408, 425, 429, 500, 502, 503, 504, 529}


def failed(code: ErrorCode, phase: Phase = Phase.ANSWERED, **more) -> CallFailed:
    return CallFailed(code, "x", phase=phase, **more)


class TestIsRepeated:
    @pytest.mark.parametrize("status", range(300, 600))
    def test_a_status_is_repeated_by_the_contracts_list(self, status):
        failure = failed(ErrorCode.STATUS, status=status)
        assert (
            is_repeated(failure, idempotent=False)
            == is_repeated(failure, idempotent=True)
            == (status in REPEATED)
        )

    @pytest.mark.parametrize("code", [ErrorCode.TIMEOUT, ErrorCode.CONNECT])
    @pytest.mark.parametrize("phase", list(Phase))
    def test_what_may_have_been_sent_is_repeated_only_if_idempotent(self, code, phase):
        assert is_repeated(failed(code, phase), idempotent=True)
        assert is_repeated(failed(code, phase), idempotent=False) == (phase is Phase.NOTHING_SENT)

    @pytest.mark.parametrize(
        "code", sorted(set(ErrorCode) - {ErrorCode.STATUS, ErrorCode.TIMEOUT, ErrorCode.CONNECT})
    )
    @pytest.mark.parametrize("phase", list(Phase))
    def test_nothing_else_is_repeated(self, code, phase):
        assert not is_repeated(failed(code, phase), idempotent=True)


class TestPause:
    def test_it_doubles_up_to_eight_seconds(self):
        policy = RetryPolicy(random=lambda: 1.0)
        pauses = [
            policy.pause_s(failed(ErrorCode.STATUS, status=503), attempt=attempt, idempotent=False)
            for attempt in range(1, 10)
        ]
        assert pauses == [0.25, 0.5, 1, 2, 4, 8, 8, 8, 8]

    @given(st.floats(0, 1), st.integers(1, 10))
    def test_jitter_is_full(self, dice, attempt):
        pause = RetryPolicy(random=lambda: dice).pause_s(
            failed(ErrorCode.STATUS, status=500), attempt=attempt, idempotent=False
        )
        assert pause == dice * min(8, 0.25 * 2 ** (attempt - 1))

    def test_retry_after_is_the_least_pause(self):
        failure = failed(ErrorCode.STATUS, status=429, retry_after_s=20.0)
        assert RetryPolicy().pause_s(failure, attempt=1, idempotent=False) == 20.0
        failure = failed(ErrorCode.STATUS, status=429, retry_after_s=0.1)
        assert RetryPolicy(random=lambda: 1.0).pause_s(failure, attempt=3, idempotent=False) == 1.0

    def test_there_is_none_for_what_is_not_repeated(self):
        assert RetryPolicy().pause_s(failed(ErrorCode.INVALID_ANSWER), attempt=1, idempotent=True) is None


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("0", 0.0),
            (" 120 ", 120.0),
            ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
            ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
            ("Sunday, 22-Nov-26 12:00:30 GMT", 30.0),
            ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
            ("9" * 5000, math.inf),
        ],
    )
    def test_seconds_and_dates_are_read(self, header, seconds):
        assert retry_after_s(header, now=NOW) == seconds

    @pytest.mark.parametrize(
        "header", [None, "", "-1", "1.5", "soon", "１２０", "Sun, 99 Nov 2026 12:00:30 GMT", "²"]
    )
    def test_nonsense_is_none(self, header):
        assert retry_after_s(header, now=NOW) is None

    @given(st.text())
    def test_no_header_breaks_it(self, header):
        seconds = retry_after_s(header, now=NOW)
        assert seconds is None or seconds >= 0
