"""Answers of requests that spend: stored in parts before the ledger settles, read in parts when they are replayed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from uuid import UUID

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.errors import NotReady
from fanfold.idempotency.judgement import judge
from fanfold.idempotency.repository import IdempotencyRepository
from fanfold.idempotency.sealing import Sealing, parts_of
from fanfold.idempotency.types import Kept, KeyedRequest

_PAUSE_S = 0.2


class KeptAnswers:
    """Answers of one process's requests with a key. Each part is a transaction: no connection waits for a client."""

    def __init__(self, database: Database, key_ring: KeyRing) -> None:
        self._database, self._key_ring = database, key_ring

    async def look_up(self, keyed: KeyedRequest) -> Kept | None:
        """Return the answer to replay, None where the request is to be carried out; raises 409, 422 and 503."""
        async with self._database.session(keyed.tenant_id) as session:
            return judge(await IdempotencyRepository(session, keyed).find(), keyed)

    async def store(self, keyed: KeyedRequest, request_id: UUID, pieces: Iterable[bytes]) -> None:
        """Store an answer; it counts when the ledger marks its key. Goes on while the database is away: bound it."""
        sealing = Sealing(self._key_ring, keyed, request_id)
        for place, part in enumerate(parts_of(pieces)):
            await self._store(keyed, request_id, place, sealing.seal(place, part))

    async def read(self, keyed: KeyedRequest, kept: Kept) -> AsyncIterator[bytes]:
        """Yield the parts of an answer, of at most 1 MiB each; raises `AnswerLost` and `NotReady`."""
        sealing = Sealing(self._key_ring, keyed, kept.request_id)
        for place in range(kept.parts):
            async with self._database.session(keyed.tenant_id) as session:
                sealed = await IdempotencyRepository(session, keyed).part(kept.request_id, place)
            yield sealing.open(place, sealed)

    async def _store(self, keyed: KeyedRequest, request_id: UUID, place: int, sealed: bytes) -> None:
        while True:
            try:
                async with self._database.session(keyed.tenant_id) as session, session.begin():
                    await IdempotencyRepository(session, keyed).add_part(request_id, place, sealed)
            except NotReady:
                await asyncio.sleep(_PAUSE_S)
            else:
                return
