"""What all runs of one process share."""

from fanfold.core.values import value
from fanfold.fanout.breaker import Breaker
from fanfold.fanout.caller import UpstreamCaller
from fanfold.fanout.counting import Counting
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.slots import Slots
from fanfold.fanout.turns import Turns
from fanfold.fanout.work import Work


@value(kw_only=True)
class Engine:
    """The parts of the engine, and its bounds: calls at once over all runs, of one owner; bytes of a run's answers."""

    caller: UpstreamCaller
    breaker: Breaker
    work: Work
    kinds: Kinds
    slots: Slots
    turns: Turns
    counting: Counting
    max_in_flight: int
    max_workers: int
    max_answers_bytes: int
