"""Requests with an `Idempotency-Key`: what they are known by, and the answer to one that was answered before."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import orjson
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from fanfold.auth.principal import PrincipalTenant
from fanfold.core.errors import ValidationFailed
from fanfold.core.events import Event
from fanfold.idempotency.header import REPLAYED, keyed_request
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import Kept, KeyedRequest
from fanfold.processing import events
from fanfold.processing.encoding import LINE, RESULTS_BEGIN, RESULTS_BETWEEN, RESULTS_END, encode_end
from fanfold.processing.schemas import OnDisconnect, ProcessRequest
from fanfold.processing.streaming import READ_MARGIN_S, read_by

# How the answer is sent is no part of what is asked: a key's answer is replayed in either form.
HOW_IT_IS_SENT = frozenset({"stream"})
_EVENTS_A_TURN = 32


async def keyed_process(
    request: Request, tenant: PrincipalTenant, body: ProcessRequest, key: str | None
) -> KeyedRequest | None:
    """Return what the request is known by, None without a key; a 422 where it is to go on without one."""
    if key is not None:
        return await keyed_request(request, tenant_id=tenant.id, key=key, ignored=HOW_IT_IS_SENT)
    if body.on_disconnect is OnDisconnect.CONTINUE:
        message = "continue needs an Idempotency-Key: without one nobody could ask for the answer"
        errors = [{"loc": ["body", "on_disconnect"], "msg": message, "type": "value_error"}]
        raise ValidationFailed(message, errors=errors)
    return None


async def replayed(
    answers: KeptAnswers, keyed: KeyedRequest, kept: Kept, body: ProcessRequest, *, media_type: str
) -> Response:
    """Return the first answer once more, read part by part as it is sent, however large it is."""
    end = _end(kept, body)
    content = await _begun(answers.read(keyed, kept), end)
    headers = {"Content-Length": str(kept.length + len(end)), **REPLAYED}
    return StreamingResponse(content, kept.status, headers, media_type)


async def replayed_events(
    answers: KeptAnswers, keyed: KeyedRequest, kept: Kept, body: ProcessRequest
) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
    """Return the first answer as the events of a stream, read part by part, the results in the order of the answer.

    Who has not read it 30 s after the request's deadline, counted from now, gets `Unread`.
    """
    lines = _lines(await _begun(answers.read(keyed, kept), _end(kept, body)))
    limit = asyncio.get_running_loop().time() + body.deadline_s + READ_MARGIN_S

    @asynccontextmanager
    async def reading() -> AsyncIterator[AsyncIterator[Event]]:
        async with read_by(limit), aclosing(_events(lines, units=kept.units or 0)) as told:
            yield told

    return reading()


def _end(kept: Kept, body: ProcessRequest) -> bytes:
    return encode_end(units=kept.units or 0, characters=len(body.text), remaining=kept.remaining)


async def _begun(parts: AsyncIterator[bytes], end: bytes) -> AsyncIterator[bytes]:
    # Asked for before anything is sent: what cannot be read any more is a problem, not a broken answer.
    first = await anext(parts)

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part
        yield end

    return content()


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    unfinished: list[bytes] = []
    async for part in parts:
        first, *others = part.split(LINE)
        unfinished.append(first)
        if others:
            yield b"".join(unfinished)
            for line in others[:-1]:
                yield line
            unfinished = [others[-1]]
    yield b"".join(unfinished)


async def _events(lines: AsyncIterator[bytes], *, units: int) -> AsyncGenerator[Event, None]:
    """Yield the events: its first line is the answer before its results, its last one what follows them."""
    head = (await anext(lines)).removesuffix(RESULTS_BEGIN.strip(LINE))
    answer = orjson.loads(head + b"}")
    # What it may cost is what it did cost.
    yield events.accepted(answer["id"], total=answer["total"], units_max=units)
    closing = RESULTS_END.strip(LINE)
    number = 0
    async for line in lines:
        if line.startswith(closing):
            yield events.progress(answer["total"], total=answer["total"])
            yield Event("done", head + line.removeprefix(closing))
            return
        yield Event("chunk", line.removesuffix(RESULTS_BETWEEN.strip(LINE)))
        number += 1
        if number % _EVENTS_A_TURN == 0:
            await asyncio.sleep(0)
