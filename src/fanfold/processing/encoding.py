"""Answers as bytes. A large one is encoded and sent in pieces, so that the loop stays free in between."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import orjson

from fanfold.fanout.strategies.registry import strategy
from fanfold.fanout.types import CallError, CallResult, FanOutAnswer, Plan
from fanfold.processing.json_pieces import json_pieces
from fanfold.processing.types import Admission, Processed

PIECE_BYTES = 512 * 1024
# So many results are read or written in some 0.4 ms.
RESULTS_A_TURN = 100

# Each result is a line of its own, so that one by one they are found again in an answer that was kept: no JSON of ours
# has line feeds anywhere else.
LINE = b"\n"
RESULTS_BEGIN, RESULTS_BETWEEN, RESULTS_END = b',"results":[' + LINE, b"," + LINE, LINE + b"]"

_NOBODY_ASKED = b',"fold":{"calls":0,"units":0,"error":null}'
_NOTHING_FOLDED = b',"output":null' + _NOBODY_ASKED


def encode_error(error: CallError | None) -> dict[str, Any] | None:
    """Return a call's error as the wire shows it."""
    if error is None:
        return None
    return {"code": error.code, "status": error.status, "detail": error.detail}


def encode_result(result: CallResult, *, with_url: bool) -> bytes:
    """Return one result as JSON; `with_url` for the short form, which names upstreams by address."""
    chunk, upstream = result.chunk, result.upstream
    return orjson.dumps(
        {
            "index": result.index,
            "start": chunk.start,
            "end": chunk.end,
            "upstream": upstream.slug,
            "url": upstream.url if with_url else None,
            "success": result.success,
            "result": result.result,
            "error": result.error and encode_error(result.error),
            "attempts": result.attempts,
            "latency_ms": round(result.latency_ms, 1),
            "units": result.units,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            "tokens_counted": result.tokens_counted,
            "finish_reason": result.finish_reason,
        }
    )


async def encode_answer(processed: Processed) -> Sequence[bytes]:
    """Return the whole answer as JSON, in pieces: one of 64 MB would take 0.1 s to put together."""
    billed, characters = processed.billed, len(processed.admission.plan.request.text)
    beginning = billed.beginning
    if beginning is None:
        beginning = await encode_beginning(processed.admission, processed.answer)
    return [*beginning, encode_end(units=billed.units, characters=characters, remaining=billed.remaining)]


async def encode_beginning(admission: Admission, answer: FanOutAnswer) -> Sequence[bytes]:
    """Return the answer as far as it is known before it is billed; `encode_end` completes it."""
    if len(answer.results) == 1 and answer.output is None:  # as for most texts of one chunk
        result = encode_result(answer.results[0], with_url=admission.by_address)
        return [b"".join([_head(admission, answer), RESULTS_BEGIN, result, RESULTS_END, *_tail(answer)])]
    return await _collected(_beginning(admission, answer))


async def _collected(parts: Iterable[bytes]) -> Sequence[bytes]:
    pieces: list[bytes] = []
    piece = bytearray()
    for place, part in enumerate(parts, 1):
        piece += part
        if len(piece) > PIECE_BYTES:
            pieces.append(bytes(piece))
            piece.clear()
            await asyncio.sleep(0)
        elif not place % RESULTS_A_TURN:
            await asyncio.sleep(0)
    return [*pieces, bytes(piece)]


def _beginning(admission: Admission, answer: FanOutAnswer) -> Iterator[bytes]:
    yield _head(admission, answer) + RESULTS_BEGIN
    for place, result in enumerate(answer.results):
        yield RESULTS_BETWEEN * (place > 0) + encode_result(result, with_url=admission.by_address)
    yield RESULTS_END
    yield from _tail(answer)


def _head(admission: Admission, answer: FanOutAnswer) -> bytes:
    successful = len([result for result in answer.results if result.success])
    head = {
        "id": admission.id,
        "status": answer.status,
        "total": len(answer.results),
        "successful": successful,
        "failed": len(answer.results) - successful,
    }
    return orjson.dumps(head)[:-1]


def _tail(answer: FanOutAnswer) -> Iterator[bytes]:
    nobody_asked = not answer.fold_results and answer.fold_error is None
    if nobody_asked and answer.output is None:
        yield _NOTHING_FOLDED
        return
    yield b',"output":'
    yield from json_pieces(answer.output)
    if nobody_asked:
        yield _NOBODY_ASKED
        return
    fold = {
        "calls": len([result for result in answer.fold_results if result.success]),
        "units": answer.fold_units,
        "error": encode_error(answer.fold_error),
    }
    yield b',"fold":' + orjson.dumps(fold)


async def encode_done(processed: Processed) -> Sequence[bytes]:
    """Return the answer without its results, in pieces."""
    answer, billed = processed.answer, processed.billed
    pieces = await _collected(chain([_head(processed.admission, answer)], _tail(answer)))
    characters = len(processed.admission.plan.request.text)
    return [*pieces, encode_end(units=billed.units, characters=characters, remaining=billed.remaining)]


def encode_end(*, units: int, characters: int, remaining: int | None) -> bytes:
    """Return the last member of an answer, its usage: what the request cost, and what is left."""
    usage = {"units": units, "characters": characters, "quota_remaining": remaining}
    return b',"usage":' + orjson.dumps(usage) + b"}"


async def encode_quote(plan: Plan, remaining: int | None) -> bytes:
    """Return a quote as JSON; `remaining` is None where neither plan nor budget sets an end."""
    preferred = strategy(plan.request.strategy).preferred
    chunks = [
        {
            "index": call.index,
            "start": call.chunk.start,
            "end": call.chunk.end,
            "upstream": upstream.slug if (upstream := preferred(call.candidates)) else None,
        }
        for call in plan.calls
    ]
    return orjson.dumps(
        {
            "chunks": chunks,
            "units_max": plan.units_max,
            "fold_units_max": plan.fold_units_max,
            "quota_remaining": remaining,
            "allowed": remaining is None or plan.units_reserved <= remaining,
        }
    )
