"""Which serial orders explain what concurrent callers were told. Every flush of a lane is one step of an order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from tests.chaos.ledger_model import Answer, Asked, Kind, LedgerModel

# What an operation is told when it is sent again, because the first attempt was not answered.
_REPEATED = {"AlreadyReserved": "reserved", "duplicate": "settled", "gone": "released"}

# A poisoned settle is refused where it would write.
_WRITTEN = {"settled", "late", "unbilled"}


@dataclass(frozen=True, slots=True)
class Told:
    """An operation and its answer. `was_cut`: its lane lost the connection; it may be sent a second time (`again`).

    `in_company`: others were asked at once.
    """

    asked: Asked
    answer: Answer
    was_cut: bool = False
    again: bool = False
    in_company: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether its caller knows nothing: the lane was killed, or the caller left."""
        return self.answer[0] in {"NotReady", "cancelled"}

    @property
    def may_be_missing(self) -> bool:
        """Whether it may have done nothing.

        A settle whose caller leaves is written all the same; a reserve may be dropped before it is sent. A person whose
        outcome changes in the same moment is told to look again.
        """
        if self.in_company and self.asked.kind is Kind.RESOLVE:
            return self.answer == ("resolved",)
        return self.answer[0] == "NotReady" or (self.is_unknown and self.asked.kind is Kind.RESERVE)

    def agrees(self, expected: Answer) -> bool:
        if self.is_unknown or self.answer == expected[: len(self.answer)]:
            return True
        word = _REPEATED.get(expected[0]) if self.was_cut else None
        if word == "released" and self.asked.events:
            return False
        return word is not None and self.answer == (word, *expected[1:])


def explanations(model: LedgerModel, told: Sequence[Told]) -> Iterator[LedgerModel]:
    """Yield the state after each order that explains the answers, the plainest orders first."""
    lanes: dict[int, tuple[Told, ...]] = {}
    for one in (replace(one, in_company=len(told) > 1) for one in told):
        lanes[one.asked.lane] = (*lanes.get(one.asked.lane, ()), one)
    yield from _orders(model, lanes)


def _orders(model: LedgerModel, lanes: Mapping[int, tuple[Told, ...]]) -> Iterator[LedgerModel]:
    if all(one.may_be_missing for waiting in lanes.values() for one in waiting):
        yield model
    for lane, waiting in lanes.items():
        for block in _blocks(waiting):
            for after, released in _outcomes(model, block):
                rest = (*(one for one in waiting if one not in block), *released)
                yield from _orders(after, {**lanes, lane: rest})


def _blocks(waiting: Sequence[Told]) -> Iterator[Sequence[Told]]:
    """Yield what the lane's next flush may hold: all that waits in its order first, single ones last."""
    for size in range(len(waiting), 0, -1):
        for block in permutations(waiting, size):
            alone = any(one.asked.kind in {Kind.SWEEP, Kind.RESOLVE} for one in block)
            if size == 1 or not alone:
                yield block


def _outcomes(model: LedgerModel, block: Sequence[Told]) -> Iterator[tuple[LedgerModel, list[Told]]]:
    after = model.copy()
    answers = after.apply([one.asked for one in block])
    writes = zip(block, answers, strict=True)
    if any(one.asked.is_poisoned and answer[0] in _WRITTEN for one, answer in writes):
        if len(block) > 1:  # refused as a whole, and sent again in halves
            return
        after, answers = model, [("Rejected",)]
    again = [replace(one, again=True) for one in block]
    may_be_repeated = block[0].was_cut and not any(one.again for one in block)
    if all(one.agrees(answer) for one, answer in zip(block, answers, strict=True)):
        yield after, _given_back(block, answers)
        if may_be_repeated:  # the first attempt came after the second, which was answered
            yield after, [replace(one, answer=("NotReady",)) for one in again]
    if may_be_repeated:  # the first attempt was written, and its answer lost
        yield after, again


def _given_back(block: Sequence[Told], answers: Sequence[Answer]) -> list[Told]:
    """Return the releases of what was granted to callers that had left."""
    return [
        Told(replace(one.asked, kind=Kind.SETTLE, units=0, claim=None), ("cancelled",))
        for one, answer in zip(block, answers, strict=True)
        if one.answer == ("cancelled",) and one.asked.kind is Kind.RESERVE and answer[0] == "reserved"
    ]
