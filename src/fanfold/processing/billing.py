"""How a request ends: its answer is stored where a key asks for it, then what was done is billed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import chain

from fanfold.core.errors import FanfoldError
from fanfold.fanout.types import CallResult, FanOutAnswer
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import KeyedRequest
from fanfold.processing.encoding import RESULTS_A_TURN, encode_beginning
from fanfold.processing.types import Admission, Billed
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Mark, Outcome, Settled, UsageEvent

ANSWERED = 200
_UNPAID = frozenset({Outcome.UNBILLED, Outcome.GONE})


class Billing:
    """Stores before it bills: a key that is billed has its answer, so a repetition never runs, or costs, again."""

    def __init__(self, ledger: Ledger, answers: KeptAnswers, count_calls: Callable[[str, int], None]) -> None:
        self._ledger, self._answers, self._count_calls = ledger, answers, count_calls

    def count(self, answer: FanOutAnswer) -> None:
        """Count how many calls ended how."""
        results = chain(answer.results, answer.fold_results)
        codes = [result.error.code if result.error else "ok" for result in results]
        for code in set(codes):
            self._count_calls(code, codes.count(code))

    async def bill(
        self, admission: Admission, answer: FanOutAnswer | None, *, is_whole: bool, store_by: float
    ) -> Billed:
        """Settle the reservation, of a request that never began (`answer` is None) for nothing.

        Of one that was cut off (not `is_whole`) before anything was billed no answer is kept: asked again it runs.

        `store_by` is the loop's time by which an answer with a key must be stored, else `TimeoutError`: then nothing is
        billed, and the reservation lapses. Raises NotReady, Rejected.
        """
        events = await _all_events(answer) if answer else []
        units = sum([event.units for event in events])
        if answer is None or admission.keyed is None or not (is_whole or events):
            settled = await self._ledger.settle(admission.reservation, events)
            return Billed(settled, _paid(settled, units), settled.remaining)
        keyed = admission.keyed
        beginning = await encode_beginning(admission, answer)
        async with asyncio.timeout_at(store_by):
            await self._answers.store(keyed, admission.id, beginning)
        mark = Mark(route=keyed.route, key=keyed.key, status=ANSWERED)
        settled = await self._ledger.settle(admission.reservation, events, mark)
        figures = await self._figures(keyed, admission)
        return Billed(settled, *(figures or (_paid(settled, units), settled.remaining)), beginning)

    async def _figures(self, keyed: KeyedRequest, admission: Admission) -> tuple[int, int | None] | None:
        """Return the units billed and left as they were written with the mark.

        A settle that had to be sent twice tells what is left now, and a replay what was left then.
        """
        with suppress(FanfoldError):
            kept = await self._answers.look_up(keyed)
            if kept is not None and kept.request_id == admission.id:
                return kept.units or 0, kept.remaining
        return None


def _paid(settled: Settled, units: int) -> int:
    return 0 if settled.outcome in _UNPAID else units


async def _all_events(answer: FanOutAnswer) -> list[UsageEvent]:
    # 50,000 calls would take the loop half a second at once.
    results = answer.results + answer.fold_results
    events = usage_events(*results[:RESULTS_A_TURN])
    for first in range(RESULTS_A_TURN, len(results) + 1, RESULTS_A_TURN):
        await asyncio.sleep(0)
        events += usage_events(*results[first : first + RESULTS_A_TURN])
    return events


def usage_events(*results: CallResult) -> list[UsageEvent]:
    """Return what is billed for calls: an event for each meter of an accepted answer."""
    return [
        UsageEvent(
            call_index=result.index,
            meter=reading.meter,
            units=reading.units,
            quantity=reading.quantity,
            rate=reading.rate,
            is_counted=reading.is_counted,
            upstream_id=result.upstream.id,
            upstream=result.upstream.slug,
        )
        for result in results
        for reading in result.readings
    ]
