"""Routes that create: the claim, the work and the answer commit together, in the endpoint's own transaction.

An endpoint gets it by one parameter, `Once` or `OperatorOnce` of `auth.dependencies`, and this route class.
"""

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from fanfold.core.crypto import KeyRing
from fanfold.core.identifiers import uuid7
from fanfold.core.requests import StrictRoute
from fanfold.idempotency.errors import in_progress
from fanfold.idempotency.header import REPLAYED, keyed_request
from fanfold.idempotency.judgement import judge
from fanfold.idempotency.repository import IdempotencyRepository
from fanfold.idempotency.sealing import Sealing, parts_of
from fanfold.idempotency.types import Kept, KeyedRequest

_HEADERS = ("content-type", "location", "cache-control")
_STATE = "idempotent_work"


class Replay(Exception):
    """The request was answered before: `IdempotentRoute` sends `response` in place of the endpoint's."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class IdempotentWork:
    """A request with a key that is being carried out, within the endpoint's transaction."""

    def __init__(self, session: AsyncSession, keyed: KeyedRequest, key_ring: KeyRing) -> None:
        self._known = IdempotencyRepository(session, keyed)
        self._keyed, self._key_ring = keyed, key_ring

    async def begin(self) -> None:
        """Claim the key until the transaction ends; raises `Replay`, 409 or 422 where it is taken."""
        if not await self._known.try_lock():
            raise in_progress()
        if kept := judge(await self._known.find(), self._keyed):
            raise Replay(await self._read(kept))

    async def keep(self, response: Response) -> None:
        """Write the endpoint's answer beside what it did: both are committed, or neither."""
        request_id = uuid7()
        headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        await self._known.keep(request_id, status=response.status_code, headers=headers)
        sealing = Sealing(self._key_ring, self._keyed, request_id)
        for place, part in enumerate(parts_of([bytes(response.body)])):
            await self._known.add_part(request_id, place, sealing.seal(place, part))

    async def _read(self, kept: Kept) -> Response:
        sealing = Sealing(self._key_ring, self._keyed, kept.request_id)
        body = b"".join(
            [
                sealing.open(place, await self._known.part(kept.request_id, place))
                for place in range(kept.parts)
            ]
        )
        return Response(body, kept.status, {**kept.headers, **REPLAYED})


async def begin_once(
    request: Request, session: AsyncSession, *, tenant_id: UUID, asker: UUID, key: str
) -> None:
    """Let the endpoint run, whose `session` this is, unless its request was answered before."""
    keyed = await keyed_request(request, tenant_id=tenant_id, key=key, asker=asker)
    work = IdempotentWork(session, keyed, request.app.state.key_ring)
    await work.begin()
    request.scope["state"][_STATE] = work


class IdempotentRoute(StrictRoute):
    """A strict route that keeps the answer of a request with a key, and replays it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the strict handler. What surrounds it, the session's commit among it, ends after this one."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            try:
                response = await handle(request)
            except Replay as replay:
                return replay.response
            work: IdempotentWork | None = request.scope["state"].pop(_STATE, None)
            if work is not None:
                await work.keep(response)
            return response

        return once
