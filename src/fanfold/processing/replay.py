"""Requests with an `Idempotency-Key`: what they are known by, and the answer to one that was answered before."""

from collections.abc import AsyncIterator

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from fanfold.auth.principal import PrincipalTenant
from fanfold.core.errors import ValidationFailed
from fanfold.idempotency.header import REPLAYED, keyed_request
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import Kept, KeyedRequest
from fanfold.processing.encoding import encode_end
from fanfold.processing.schemas import OnDisconnect, ProcessRequest


async def keyed_process(
    request: Request, tenant: PrincipalTenant, body: ProcessRequest, key: str | None
) -> KeyedRequest | None:
    """Return what the request is known by, None without a key; a 422 where it is to go on without one."""
    if key is not None:
        return await keyed_request(request, tenant_id=tenant.id, key=key)
    if body.on_disconnect is OnDisconnect.CONTINUE:
        message = "continue needs an Idempotency-Key: without one nobody could ask for the answer"
        errors = [{"loc": ["body", "on_disconnect"], "msg": message, "type": "value_error"}]
        raise ValidationFailed(message, errors=errors)
    return None


async def replayed(
    answers: KeptAnswers, keyed: KeyedRequest, kept: Kept, body: ProcessRequest, *, media_type: str
) -> Response:
    """Return the first answer once more, read part by part as it is sent, however large it is."""
    end = encode_end(units=kept.units or 0, characters=len(body.text), remaining=kept.remaining)
    parts = answers.read(keyed, kept)
    # Asked for before anything is sent: what cannot be read any more is a problem, not a broken answer.
    first = await anext(parts)

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part
        yield end

    headers = {"Content-Length": str(kept.length + len(end)), **REPLAYED}
    return StreamingResponse(content(), kept.status, headers, media_type)
