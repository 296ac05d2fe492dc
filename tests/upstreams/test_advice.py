"""Every way to fail has advice of its own, and a trial's bounds hold whatever the upstream says."""

from dataclasses import replace

import pytest

from fanfold.fanout.service import FanOut
from fanfold.fanout.types import CallError, Cause, ErrorCode, Upstream
from fanfold.upstreams.advice import advice
from fanfold.upstreams.trial import SAMPLE, try_upstream

UPSTREAM = Upstream(kind="http_json", url="https://a.example/")


def said(code, *, status=None, cause=None):
    error = CallError(code=code, status=status, detail="A detail.", cause=cause)
    return advice(error, UPSTREAM, called="POST /", timeout_s=10.0)


@pytest.mark.parametrize("cause", Cause)
def test_of_every_cause(cause):
    assert len(said(ErrorCode.CONNECT, cause=cause)) > len("A detail.")


def test_no_two_causes_are_told_alike():
    assert len({said(ErrorCode.CONNECT, cause=cause) for cause in Cause}) == len(Cause)


@pytest.mark.parametrize("code", ErrorCode)
def test_of_every_code(code):
    assert said(code)


@pytest.mark.parametrize(
    ("code", "words"),
    [(ErrorCode.DEADLINE, "`max_concurrency`"), (ErrorCode.CIRCUIT_OPEN, "Try again in a minute"),
     (ErrorCode.CONNECT, "A detail.")],
)  # fmt: skip
def test_of_what_a_zoo_cannot_do(code, words):
    assert words in said(code)


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 452), 499, 529, 599, 700])
def test_of_every_status(status):
    assert said(ErrorCode.STATUS, status=status)


class Recorded(FanOut):
    """Keeps what it is asked."""

    async def run(self, request):
        self.asked = request
        return await super().run(request)


@pytest.mark.parametrize(("own_s", "timeout_s"), [(300.0, 30.0), (2.0, 2.0)])
async def test_it_waits_for_the_upstream_s_own_time_and_30_s_at_most(own_s, timeout_s):
    echo = replace(UPSTREAM, kind="echo", timeout_s=own_s, max_attempts=10)
    async with Recorded() as fan_out:
        assert (await try_upstream(fan_out, echo)).result == SAMPLE
        first = fan_out.asked
        await try_upstream(fan_out, echo)
    assert (first.timeout_s, first.deadline_s, first.max_attempts) == (timeout_s, timeout_s + 5, 1)
    assert first.owner != fan_out.asked.owner
