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
  from fanfold.jobs_commit({LEDGER_ARGUMENTS}, $9::text::fanfold.job_made[], $10::text::fanfold.job_portion[],
                           coalesce($12::fanfold.job_turn[], '{{}}'), $11::text::fanfold.job_answer[], $13)
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
    """Return the arguments; each rider refers to its item by its place in the batch.

    Rows travel as the ledger's do, as text. Clients' texts stand behind one another in the last argument, and rows say
    where; a turn brings few, and is a row of its own. None where there are no turns.
    """
    texts = _Texts()
    new: list[str] = []
    parts: list[str] = []
    turns: list[tuple[Any, ...]] = []
    results: list[str] = []
    for place, item in enumerate(batch, 1):
        rider = item.rider
        if isinstance(rider, NewJob):
            new.append(_new(place, rider, texts))
            parts += [
                f'"({place},{part.place},{part.first_index},{part.calls},{part.units_max},{texts.add(part.body)})"'
                for part in rider.parts
            ]
        elif isinstance(rider, Turn):
            turns.append(_turn(place, rider))
            results += [
                f'"({place},{number},{one.call_index},{"t" if one.success else "f"},'
                f'{sum(map(_units_of, one.events))},{texts.add(one.body)})"'
                for number, one in enumerate(rider.results)
            ]
    rows = [f"{{{','.join(column)}}}" for column in (new, parts, results)]
    return (*encode(batch), *rows, turns or None, b"".join(texts.all))


class _Texts:
    """Texts behind one another."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._next = 1

    def add(self, text: bytes) -> str:
        """Put a text at the end; returns where it begins, counted from 1, and how long it is, as two fields."""
        size = len(text)
        place = f"{self._next},{size}"
        self.all.append(text)
        self._next += size
        return place


def _new(place: int, job: NewJob, texts: _Texts) -> str:
    key = "" if job.api_key_id is None else f"{job.api_key_id.int:032x}"
    metadata, request = texts.add(_dumps(job.metadata)), texts.add(job.request)
    return (
        f'"({place},{job.source},{metadata},{request},{key},{job.total},{job.characters},{job.units_max},'
        f'{job.weight},{job.retention_days},{job.stored_bytes},{job.max_stored_bytes})"'
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
