"""Answers as bytes. A large one is encoded and sent in pieces, so that the loop stays free in between."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from fanfold.fanout.strategies.registry import strategy
from fanfold.fanout.types import CallError, CallResult, FanOutAnswer, Plan
from fanfold.processing.json_pieces import json_pieces
from fanfold.processing.types import Admission, Processed

PIECE_BYTES = 512 * 1024


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
            "error": encode_error(result.error),
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
    pieces: list[bytes] = []
    piece = bytearray()
    for part in _beginning(admission, answer):
        piece += part
        if len(piece) > PIECE_BYTES:
            pieces.append(bytes(piece))
            piece.clear()
            await asyncio.sleep(0)
    return [*pieces, bytes(piece)]


def _beginning(admission: Admission, answer: FanOutAnswer) -> Iterator[bytes]:
    successful = sum(result.success for result in answer.results)
    head = {
        "id": admission.id,
        "status": answer.status,
        "total": len(answer.results),
        "successful": successful,
        "failed": len(answer.results) - successful,
    }
    yield orjson.dumps(head)[:-1] + b',"results":['
    for place, result in enumerate(answer.results):
        yield b"," * (place > 0) + encode_result(result, with_url=admission.by_address)
    yield b'],"output":'
    yield from json_pieces(answer.output)
    fold = {
        "calls": sum(result.success for result in answer.fold_results),
        "units": answer.fold_units,
        "error": encode_error(answer.fold_error),
    }
    yield b',"fold":' + orjson.dumps(fold)


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
