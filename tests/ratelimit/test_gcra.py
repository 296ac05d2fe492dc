from hypothesis import given
from hypothesis import strategies as st

from fanfold.ratelimit import gcra

limits = st.tuples(st.integers(1, 100_000), st.integers(1, 10_000))


class TestInterval:
    @given(st.integers(1, 10**12))
    def test_never_gives_more_than_the_stated_rate(self, requests_per_minute: int) -> None:
        interval = gcra.interval_ns(requests_per_minute)
        assert interval * requests_per_minute >= gcra.MINUTE_NS
        assert (interval - 1) * requests_per_minute < gcra.MINUTE_NS


class TestCurrentDebt:
    def test_a_bucket_whose_time_has_come_owes_nothing(self) -> None:
        assert gcra.current_debt(1_000, 10, now=1_000, interval=10, burst=3) == 0
        assert gcra.current_debt(1_000, 10, now=2_000, interval=10, burst=3) == 0

    def test_what_was_taken_counts_in_requests_when_the_rate_changes(self) -> None:
        # Five requests at one a second; at ten a second they are still five, and rest comes after 0.5 s.
        debt = gcra.current_debt(5 * 10**9, 10**9, now=0, interval=10**8, burst=20)
        assert debt == 5 * 10**8
        assert gcra.remaining(debt, interval=10**8, burst=20) == 15

    def test_a_lowered_burst_shuts_for_one_interval_at_most(self) -> None:
        debt = gcra.current_debt(200 * 10**9, 10**9, now=0, interval=10**9, burst=20)
        assert gcra.remaining(debt, interval=10**9, burst=20) == 0
        assert gcra.wait_s(debt, 0, interval=10**9, burst=20) == 1

    def test_a_clock_set_back_shuts_for_one_interval_at_most(self) -> None:
        debt = gcra.current_debt(10**18, 10**9, now=0, interval=10**9, burst=5)
        assert gcra.wait_s(debt, 0, interval=10**9, burst=5) == 1


class TestRemainingAndWait:
    @given(limits, st.data())
    def test_remaining_is_the_number_that_would_pass_now(
        self, limit: tuple[int, int], data: st.DataObject
    ) -> None:
        interval, burst = gcra.interval_ns(limit[0]), limit[1]
        debt = data.draw(st.integers(0, interval * burst))
        left = gcra.remaining(debt, interval=interval, burst=burst)
        assert 0 <= left <= burst
        assert debt + left * interval <= interval * burst < debt + (left + 1) * interval

    @given(limits, st.data())
    def test_one_more_is_there_after_the_wait_and_not_a_second_before(
        self, limit: tuple[int, int], data: st.DataObject
    ) -> None:
        interval, burst = gcra.interval_ns(limit[0]), limit[1]
        debt = data.draw(st.integers(1, interval * burst))
        left = gcra.remaining(debt, interval=interval, burst=burst)
        wait = gcra.wait_s(debt, left, interval=interval, burst=burst)
        assert wait >= 1
        later = max(debt - wait * gcra.SECOND_NS, 0)
        sooner = debt - (wait - 1) * gcra.SECOND_NS
        assert gcra.remaining(later, interval=interval, burst=burst) > left
        assert gcra.remaining(sooner, interval=interval, burst=burst) == left

    def test_at_rest_there_is_nothing_to_wait_for(self) -> None:
        assert gcra.remaining(0, interval=10, burst=7) == 7
        assert gcra.wait_s(0, 7, interval=10, burst=7) == 0


class TestRefill:
    def test_is_the_whole_burst_in_seconds_rounded_up(self) -> None:
        assert gcra.refill_s(60, 20) == 20
        assert gcra.refill_s(1_200, 200) == 10
        assert gcra.refill_s(60_000, 5_000) == 5
        assert gcra.refill_s(60_000, 1) == 1
        assert gcra.refill_s(7, 1) == 9
