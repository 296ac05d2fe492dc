"""When a circuit opens, when it lets a try through, and what of an upstream's doing counts."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from fanfold.fanout.circuit import Circuit, CircuitRules, Outcome, outcome_of
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.types import ErrorCode

ANSWERED, FAILED, NOTHING = Outcome


class Clocked:
    """A circuit with a clock that only `at` moves."""

    def __init__(self, *, random: float = 0.0, **rules) -> None:
        self.circuit = Circuit(CircuitRules(**rules), lambda: random)
        self.now = 0.0

    def attempt(self, outcome: Outcome, *, after: float = 0.0) -> bool:
        self.now += after
        assert not self.circuit.refuses(self.now)
        return self.circuit.end(self.circuit.begin(), outcome, self.now)

    def attempts(self, count: int, outcome: Outcome, *, every: float = 0.2) -> list[bool]:
        return [self.attempt(outcome, after=every) for _ in range(count)]

    def break_it(self) -> None:
        self.attempts(10, FAILED)
        assert self.circuit.is_open

    def fail_a_try(self) -> float:
        """Return how long it stays open then."""
        self.now = self.circuit.retry_at
        assert self.attempt(FAILED)
        return self.circuit.retry_at - self.now


class TestOpening:
    def test_the_tenth_failure_opens_it_and_no_earlier_one(self):
        assert Clocked().attempts(10, FAILED) == [False] * 9 + [True]

    def test_half_of_them_is_enough_and_less_is_not(self):
        clocked = Clocked()
        clocked.attempts(6, ANSWERED)
        assert clocked.attempts(6, FAILED) == [False] * 5 + [True]

    def test_it_is_a_failure_that_opens_it_never_an_answer(self):
        clocked = Clocked()
        clocked.attempts(9, FAILED)
        assert not clocked.attempt(ANSWERED)

    def test_what_tells_nothing_is_not_counted(self):
        clocked = Clocked()
        clocked.attempts(9, FAILED)
        assert clocked.attempts(50, NOTHING, every=0.01) == [False] * 50
        assert clocked.attempt(FAILED)

    def test_a_blip_of_less_than_a_second_is_for_retries(self):
        clocked = Clocked()
        assert not any(clocked.attempts(64, FAILED, every=0.01))
        assert clocked.attempt(FAILED, after=0.5)

    def test_what_was_before_the_window_no_longer_counts(self):
        clocked = Clocked()
        clocked.attempts(9, FAILED)
        assert not clocked.attempt(FAILED, after=31.0)
        clocked.attempts(100, ANSWERED, every=0.1)
        assert not any(clocked.attempts(9, FAILED, every=4.0)[:8])

    def test_a_window_takes_no_more_memory_than_its_parts(self):
        clocked = Clocked()
        clocked.attempts(2_000, ANSWERED, every=0.1)
        assert len(clocked.circuit._buckets) <= 11


class TestOpen:
    def test_it_refuses_until_it_is_tried_again(self):
        clocked = Clocked()
        clocked.break_it()
        retry_at = clocked.circuit.retry_at
        assert retry_at == clocked.now + 5.0
        assert clocked.circuit.refuses(retry_at - 0.001)
        assert not clocked.circuit.refuses(retry_at)

    def test_each_failed_try_doubles_it_up_to_a_minute_and_an_answer_begins_anew(self):
        clocked = Clocked()
        clocked.break_it()
        since = clocked.circuit.opened_at
        assert [clocked.fail_a_try() for _ in range(6)] == [10, 20, 40, 60, 60, 60]
        assert clocked.circuit.opened_at == since
        clocked.now = clocked.circuit.retry_at
        assert clocked.attempt(ANSWERED)
        assert not clocked.circuit.is_open
        assert clocked.attempts(10, FAILED)[-1]
        assert clocked.circuit.retry_at == clocked.now + 5.0

    def test_it_is_never_open_for_longer_than_a_minute_and_processes_differ(self):
        clocked = Clocked(random=1.0)
        clocked.break_it()
        assert clocked.circuit.retry_at == pytest.approx(clocked.now + 3.75)
        assert [clocked.fail_a_try() for _ in range(4)] == pytest.approx([7.5, 15, 30, 45])

    def test_one_try_at_a_time(self):
        clocked = Clocked()
        clocked.break_it()
        clocked.now = clocked.circuit.retry_at
        ticket = clocked.circuit.begin()
        assert clocked.circuit.refuses(clocked.now + 1_000)
        assert clocked.circuit.end(ticket, ANSWERED, clocked.now)
        assert not clocked.circuit.refuses(clocked.now)

    def test_a_cancelled_try_gives_its_place_to_the_next(self):
        clocked = Clocked()
        clocked.break_it()
        clocked.now = clocked.circuit.retry_at
        assert not clocked.attempt(NOTHING)
        assert clocked.circuit.is_open
        assert clocked.attempt(ANSWERED)

    @pytest.mark.parametrize("late", [ANSWERED, FAILED, NOTHING])
    def test_what_began_before_neither_closes_it_nor_ends_a_try(self, late):
        clocked = Clocked()
        before = clocked.circuit.begin()
        clocked.break_it()
        assert not clocked.circuit.end(before, late, clocked.now)
        clocked.now = retry_at = clocked.circuit.retry_at
        clocked.circuit.begin()
        assert not clocked.circuit.end(before, late, clocked.now)
        assert clocked.circuit.is_probed
        assert clocked.circuit.retry_at == retry_at

    def test_after_an_answer_its_window_is_empty(self):
        clocked = Clocked()
        clocked.break_it()
        clocked.now = clocked.circuit.retry_at
        clocked.attempt(ANSWERED)
        assert not any(clocked.attempts(9, FAILED)[:8])


def failure(code: ErrorCode, phase: Phase = Phase.ANSWERED, status: int | None = None) -> CallFailed:
    return CallFailed(code, "", phase=phase, status=status)


class TestWhatCounts:
    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 529, 599])
    def test_a_server_that_cannot_fails(self, status):
        found = outcome_of(failure(ErrorCode.STATUS, status=status), timeout_s=10, own_timeout_s=10)
        assert found is FAILED

    @pytest.mark.parametrize("status", [302, 400, 401, 404, 408, 422, 425, 429, 501, 505])
    def test_what_it_says_of_the_request_is_an_answer(self, status):
        found = outcome_of(failure(ErrorCode.STATUS, status=status), timeout_s=10, own_timeout_s=10)
        assert found is ANSWERED

    @pytest.mark.parametrize("phase", list(Phase))
    def test_who_cannot_be_reached_or_breaks_off_fails(self, phase):
        assert outcome_of(failure(ErrorCode.CONNECT, phase), timeout_s=10, own_timeout_s=10) is FAILED

    @pytest.mark.parametrize(
        ("timeout_s", "own_timeout_s", "outcome"),
        [
            (10, 10, FAILED), (300, 10, FAILED), (1, 60, FAILED), (0.5, 0.5, FAILED),
            (0.9, 60, NOTHING), (0.1, 0.5, NOTHING),
        ],
    )  # fmt: skip
    def test_a_timeout_fails_unless_it_is_the_asker_who_had_no_patience(
        self, timeout_s, own_timeout_s, outcome
    ):
        late = failure(ErrorCode.TIMEOUT, Phase.MAYBE_SENT)
        assert outcome_of(late, timeout_s=timeout_s, own_timeout_s=own_timeout_s) is outcome

    @pytest.mark.parametrize("code", [ErrorCode.INVALID_ANSWER, ErrorCode.TOO_LARGE])
    def test_a_bad_answer_is_an_answer_and_a_fault_before_it_tells_nothing(self, code):
        assert outcome_of(failure(code), timeout_s=10, own_timeout_s=10) is ANSWERED
        early = failure(code, Phase.NOTHING_SENT)
        assert outcome_of(early, timeout_s=10, own_timeout_s=10) is NOTHING

    @pytest.mark.parametrize("phase", list(Phase))
    def test_the_requests_own_deadline_tells_nothing(self, phase):
        assert outcome_of(failure(ErrorCode.DEADLINE, phase), timeout_s=10, own_timeout_s=10) is NOTHING

    def test_an_address_that_may_not_be_dialled_tells_nothing(self):
        forbidden = failure(ErrorCode.FORBIDDEN_ADDRESS, Phase.NOTHING_SENT)
        assert outcome_of(forbidden, timeout_s=10, own_timeout_s=10) is NOTHING


steps = st.lists(st.tuples(st.sampled_from(list(Outcome)), st.floats(0, 8)), max_size=80)


@given(steps)
def test_an_answer_that_is_only_counted_leaves_the_circuit_as_one_that_is_judged_does(taken):
    now, circuits = 0.0, [Circuit(CircuitRules(lasting_s=0.0), lambda: 0.0) for _ in range(2)]
    counting, judging = circuits
    counted = 0
    for outcome, after in taken:
        now += after
        if judging.refuses(now):
            now = judging.retry_at
        tickets = [circuit.begin() for circuit in circuits]
        has_counted = outcome is ANSWERED and counting.count_answer(tickets[0], now)
        counted += has_counted
        assert (not has_counted and counting.end(tickets[0], outcome, now)) is judging.end(
            tickets[1], outcome, now
        )
        assert (counting.opened_at, counting.retry_at) == (judging.opened_at, judging.retry_at)
    event("counted" if counted else "judged")


def test_an_answer_is_only_counted_where_another_came_within_a_tenth_of_the_window():
    circuit = Circuit(CircuitRules(window_s=30), lambda: 0.0)
    assert not circuit.count_answer(circuit.begin(), 0.0)
    circuit.end(circuit.begin(), ANSWERED, 0.0)
    assert circuit.count_answer(circuit.begin(), 2.9)
    assert not circuit.count_answer(circuit.begin(), 3.0)


def test_an_answer_from_before_it_opened_is_not_counted_after_it_closed():
    clocked = Clocked()
    early = clocked.circuit.begin()
    clocked.break_it()
    assert not clocked.circuit.count_answer(early, clocked.now)
    clocked.now = clocked.circuit.retry_at
    clocked.attempts(2, ANSWERED, every=0.0)
    assert not clocked.circuit.is_open
    assert not clocked.circuit.count_answer(early, clocked.now)
    assert clocked.circuit.count_answer(clocked.circuit.begin(), clocked.now)
