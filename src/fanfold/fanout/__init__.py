"""Split a long text, fan the chunks out to many APIs at once, fold the answers into one."""

from fanfold.fanout.errors import FanOutError, InvalidPlan, TooManyChunks, UnknownKind
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.run import Run
from fanfold.fanout.service import FanOut
from fanfold.fanout.types import (
    CallError,
    CallResult,
    Chunk,
    Delta,
    ErrorCode,
    FanOutAnswer,
    FanOutRequest,
    FoldOptions,
    OnError,
    Plan,
    Price,
    Split,
    Status,
    Upstream,
)

__all__ = [
    "CallError",
    "CallResult",
    "Chunk",
    "Delta",
    "ErrorCode",
    "FanOut",
    "FanOutAnswer",
    "FanOutError",
    "FanOutRequest",
    "FoldOptions",
    "InvalidPlan",
    "Kinds",
    "OnError",
    "Plan",
    "Price",
    "Run",
    "Split",
    "Status",
    "TooManyChunks",
    "UnknownKind",
    "Upstream",
]
