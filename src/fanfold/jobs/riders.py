"""A batch as the arguments of `jobs_commit`: the ledger's, and the rows that go with its items."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import Any

import orjson

from fanfold.core.values import value
from fanfold.jobs.types import Ending, NewJob, RecordedCall
from fanfold.usage.encoding import LEDGER_ARGUMENTS, encode
from fanfold.usage.items import Item
from fanfold.usage.types import UsageEvent

COMMIT = f"""
select status, remaining, quota_warning, budget_warning
  from fanfold.jobs_commit({LEDGER_ARGUMENTS}, $9, $10, $11, $12)
"""  # noqa: S608 (a constant)


class TurnKind(IntEnum):
    """What a job that is there does in a flush."""

    RECORD = 1
    END = 2
    RENEW = 3
    RETRY = 4


@value(kw_only=True)
class Turn:
    """What goes with an item of a job that is there, by whoever has its fence."""

    kind: TurnKind
    fence: int
    results: Sequence[RecordedCall] = ()
    ending: Ending | None = None


def encode_batch(batch: Sequence[Item]) -> tuple[Any, ...]:
    """Return the arguments; each rider refers to its item by its place in the batch."""
    placed = list(enumerate(batch, 1))
    new = [(place, item.rider) for place, item in placed if isinstance(item.rider, NewJob)]
    turns = [(place, item.rider) for place, item in placed if isinstance(item.rider, Turn)]
    return (
        *encode(batch),
        [_new(place, job) for place, job in new],
        [(place, *part) for place, job in new for part in job.parts],
        [_turn(place, turn) for place, turn in turns],
        [
            (place, number, one.call_index, one.success, sum(map(_units_of, one.events)), one.body)
            for place, turn in turns
            for number, one in enumerate(turn.results)
        ],
    )


def _new(place: int, job: NewJob) -> tuple[Any, ...]:
    return (
        place,
        job.source,
        _json(job.metadata),
        job.request,
        job.api_key_id,
        job.total,
        job.characters,
        job.units_max,
        job.weight,
        job.retention_days,
        job.stored_bytes,
        job.max_stored_bytes,
    )


def _turn(place: int, turn: Turn) -> tuple[Any, ...]:
    ending = turn.ending
    closed_units = sum([result.units_max for result in turn.results])
    row = (place, turn.kind, turn.fence, len(turn.results), closed_units)
    if ending is None:
        return (*row, None, None, None, None)
    return (*row, ending.status.value, _json(ending.error), ending.output, _json(ending.fold_error))


def _json(value: object) -> str | None:
    return None if value is None else _dumps(value).decode()


_dumps: Callable[[object], bytes] = orjson.dumps
_units_of: Callable[[UsageEvent], int] = attrgetter("units")
