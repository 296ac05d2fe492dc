"""The events of a stream, the same on an event stream and on a WebSocket."""

from uuid import UUID

import orjson

from fanfold.core.errors import FanfoldError
from fanfold.core.events import Event
from fanfold.core.problems import problem_content
from fanfold.core.telemetry.context import request_server_id
from fanfold.fanout.types import CallResult, Delta
from fanfold.processing.encoding import encode_done, encode_result
from fanfold.processing.types import Admission, Processed

__all__ = ["Event", "accepted", "chunk", "delta", "done", "error", "progress"]


def accepted(request_id: UUID | str, *, total: int, units_max: int) -> Event:
    """Return the first event: the request runs, so many results will come, and it costs at most so many units."""
    return Event("accepted", orjson.dumps({"id": request_id, "total": total, "units_max": units_max}))


def chunk(admission: Admission, result: CallResult) -> Event:
    """Return one result, exactly as the JSON answer has it."""
    return Event("chunk", encode_result(result, with_url=admission.by_address))


def delta(words: Delta) -> Event:
    """Return the next words of a result that has not come yet."""
    return Event("delta", orjson.dumps({"index": words.index, "text": words.text}))


def progress(results: int, *, total: int) -> Event:
    """Return how many of the results there are."""
    return Event("progress", orjson.dumps({"done": results, "total": total}))


async def done(processed: Processed) -> Event:
    """Return the last event of a request that is billed: its answer without `results`."""
    return Event("done", b"".join(await encode_done(processed)))


def error(problem: FanfoldError) -> Event:
    """Return the last event of a stream that could not end well: the problem a plain answer would have been."""
    return Event("error", problem_content(problem, request_server_id()))
