"""The outbox as a test sees it: a topic of its own, messages written by hand, rows read past row-level security."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fanfold.core.identifiers import uuid7
from tests.fixtures.database import TestDatabase, connect


@dataclass(frozen=True, slots=True)
class Box:
    """The messages of one topic."""

    database: TestDatabase
    topic: str

    async def connect(self) -> Any:
        return await connect(self.database.app_url)

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[Any]:
        connection = await connect(self.database.superuser_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def put(self, *, tenant: UUID | None = None, due_in_s: float = 0, **payload: Any) -> UUID:
        """Write one message; returns its id."""
        message = uuid7()
        await self.change(
            "insert into fanfold.outbox (tenant_id, id, topic, payload, due_at) "
            "values ($1, $2, $3, $4, now() + make_interval(secs => $5))",
            tenant or uuid7(), message, self.topic, json.dumps(payload), due_in_s,
        )  # fmt: skip
        return message

    async def rows(self) -> list[Any]:
        """Return the topic's rows, the longest due first."""
        async with self.superuser() as connection:
            found: list[Any] = await connection.fetch(
                "select *, leased_until > now() as is_leased from fanfold.outbox where topic = $1 order by due_at, id",
                self.topic,
            )
        return found

    async def change(self, statement: str, *arguments: Any) -> None:
        async with self.superuser() as connection:
            await connection.execute(statement, *arguments)

    async def end_leases(self) -> None:
        """Let every lease end now."""
        await self.change(
            "update fanfold.outbox set leased_until = now() - interval '1 s' "
            "where topic = $1 and leased_until is not null",
            self.topic,
        )
