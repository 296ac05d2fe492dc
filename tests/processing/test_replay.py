"""A replay of the largest answer there is takes the memory of a few of its parts."""

import asyncio
import tracemalloc
from typing import Any

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import Kept, KeyedRequest
from fanfold.processing.encoding import encode_end
from fanfold.processing.replay import replayed
from fanfold.processing.schemas import ProcessRequest
from tests.fixtures.app import SECRET
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures

MiB = 1024 * 1024


async def test_64_mebibytes_are_sent_part_by_part_and_no_connection_waits_for_the_client(
    database_urls: TestDatabase, figures: Figures
):
    keyed = KeyedRequest(tenant_id=uuid7(), route="/v1/process", key="k", body_hashes=(b"h",))
    request, body, sent = uuid7(), ProcessRequest(text="x"), []
    end = encode_end(units=1, characters=1, remaining=2)
    async with Database(database_urls.app_url, pool_size=1, pool_timeout_s=5) as database:
        answers = KeptAnswers(database, KeyRing([SECRET]))
        await answers.store(keyed, request, (bytes([place]) * MiB for place in range(64)))
        kept = Kept(
            request_id=request, status=200, headers={}, units=1, remaining=2, parts=65, length=64 * MiB
        )

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append((message["type"], len(message.get("body", b""))))
            async with database.begin():  # the pool's only one is free while the client takes its time
                pass

        tracemalloc.start()
        try:
            response = await replayed(answers, keyed, kept, body, media_type="application/json")
            await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sum(size for _, size in sent) == 64 * MiB + len(end) == int(response.headers["content-length"])
    assert max(size for _, size in sent) <= MiB
    assert peak < 12 * MiB
    figures(f"replay of 64 MiB: {peak / MiB:.1f} MiB of memory at most")
