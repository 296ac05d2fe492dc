"""One circuit: closed while an upstream answers, open when it fails too often, half-open for one try. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from fanfold.core.values import value
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.types import ErrorCode

# What was asked is not known there: that tells of the request, and says nothing of the upstream's health.
_NOT_ITS_HEALTH = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
# Less patience than that tells of who asks, unless the upstream is registered with it.
_PATIENCE_S = 1.0
_BUCKETS = 10


class Outcome(Enum):
    """What an ended attempt tells of an upstream: it answered, it failed, or nothing."""

    ANSWERED = "answered"
    FAILED = "failed"
    NOTHING = "nothing"


@value(kw_only=True)
class CircuitRules:
    """When a circuit opens and for how long; seconds.

    It opens when at least `least` attempts ended within `window_s`, a share of `failed` or more of them failed, and
    failures have gone on for `lasting_s`. It stays open for `first_s`, doubled by each try that fails, at most
    `most_s`, less a random part of up to a quarter; after `idle_s` in which nobody tried it is forgotten.
    """

    window_s: float = 30.0
    least: int = 10
    failed: float = 0.5
    lasting_s: float = 1.0
    first_s: float = 5.0
    most_s: float = 60.0
    idle_s: float = 60.0


def outcome_of(failure: CallFailed, *, timeout_s: float, own_timeout_s: float) -> Outcome:
    """Return what a failed attempt tells; `timeout_s` was its limit, `own_timeout_s` is the upstream's."""
    match failure.error.code:
        case ErrorCode.TIMEOUT:
            was_patient = timeout_s >= min(own_timeout_s, _PATIENCE_S)
            return Outcome.FAILED if was_patient else Outcome.NOTHING
        case ErrorCode.CONNECT:
            return Outcome.FAILED
        case ErrorCode.STATUS:
            status = failure.error.status or 0
            is_failing = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _NOT_ITS_HEALTH
            return Outcome.FAILED if is_failing else Outcome.ANSWERED
        case ErrorCode.DEADLINE:
            return Outcome.NOTHING
    return Outcome.ANSWERED if failure.phase is Phase.ANSWERED else Outcome.NOTHING


@dataclass(slots=True)
class _Bucket:
    """Attempts that ended within a tenth of the window, from `start` on."""

    start: float
    ended: int = 0
    failed: int = 0
    first_failed_at: float | None = None


class Circuit:
    """The circuit of one upstream. Times are of one clock, in seconds.

    `begin` gives a ticket for an attempt, of a closed circuit `ticket`; `end` takes it back. What began before the
    circuit opened no longer counts when it ends.
    """

    __slots__ = (
        "_buckets",
        "_opened",
        "_random",
        "_rules",
        "_width_s",
        "is_probed",
        "opened_at",
        "retry_at",
        "ticket",
    )

    def __init__(self, rules: CircuitRules, random: Callable[[], float]) -> None:
        self._rules, self._random = rules, random
        self._width_s = rules.window_s / _BUCKETS
        self._buckets: deque[_Bucket] = deque()
        self.ticket = 0
        self._opened = 0
        self.opened_at: float | None = None
        self.retry_at = 0.0
        self.is_probed = False

    @property
    def is_open(self) -> bool:
        """Whether it is not closed: open, or half-open."""
        return self.opened_at is not None

    def refuses(self, now: float) -> bool:
        """Tell whether an attempt would be refused."""
        return self.is_open and (self.is_probed or now < self.retry_at)

    def begin(self) -> int:
        """Return a ticket for an attempt that is not refused. Of an open circuit it is the one try."""
        if self.opened_at is not None:
            self.is_probed = True
        return self.ticket

    def count_answer(self, ticket: int, now: float) -> bool:
        """Take back the ticket of an attempt that was answered, where that changes a number and nothing else.

        Returns whether it does: the circuit is closed, and the attempt is not the first of its tenth of the window.
        """
        if ticket != self.ticket or not self._buckets:  # there are none while it is open
            return False
        bucket = self._buckets[-1]
        if now - bucket.start >= self._width_s:
            return False
        bucket.ended += 1
        return True

    def end(self, ticket: int, outcome: Outcome, now: float) -> bool:
        """Take a ticket back; returns whether the circuit opened, opened again, or closed."""
        if ticket != self.ticket:
            return False
        if self.is_open:
            return self._end_probe(outcome, now)
        if outcome is Outcome.NOTHING:
            return False
        self._count(outcome, now)
        if outcome is Outcome.ANSWERED or not self._fails(now):
            return False
        self.opened_at = now
        self._open(now)
        return True

    def _end_probe(self, outcome: Outcome, now: float) -> bool:
        self.is_probed = False
        if outcome is Outcome.NOTHING:  # cancelled, for one: the next attempt is the try
            return False
        if outcome is Outcome.FAILED:
            self._open(now)
        else:
            self.opened_at = None
            self._opened = 0
        return True

    def _open(self, now: float) -> None:
        rules = self._rules
        longest_s = min(rules.most_s, rules.first_s * 2.0**self._opened)
        if longest_s < rules.most_s:
            self._opened += 1
        # Not all processes at one moment.
        self.retry_at = now + longest_s * (1.0 - self._random() / 4.0)
        self._buckets.clear()
        self.ticket += 1

    def _count(self, outcome: Outcome, now: float) -> None:
        if not self._buckets or now - self._buckets[-1].start >= self._width_s:
            self._buckets.append(_Bucket(now))
        bucket = self._buckets[-1]
        bucket.ended += 1
        if outcome is Outcome.FAILED:
            bucket.failed += 1
            bucket.first_failed_at = now if bucket.first_failed_at is None else bucket.first_failed_at
        while now - self._buckets[0].start >= self._rules.window_s:
            self._buckets.popleft()

    def _fails(self, now: float) -> bool:
        ended = sum(bucket.ended for bucket in self._buckets)
        failed = sum(bucket.failed for bucket in self._buckets)
        if ended < self._rules.least or failed < ended * self._rules.failed:
            return False
        since = next(bucket.first_failed_at for bucket in self._buckets if bucket.first_failed_at is not None)
        return now - since >= self._rules.lasting_s
