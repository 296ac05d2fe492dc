"""Writing into the outbox: in the transaction that the message tells of, so that both happen or neither."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.identifiers import uuid7
from fanfold.outbox.models import OutboxMessage

NO_TENANT = UUID(int=0)


async def add(session: AsyncSession, tenant_id: UUID, topic: str, payload: Mapping[str, Any]) -> UUID:
    """Write a message in the session's own transaction; returns its id.

    `NO_TENANT` is for what belongs to none, and takes the operator's session. The payload is plain JSON.
    """
    message_id = uuid7()
    row = {"tenant_id": tenant_id, "id": message_id, "topic": topic, "payload": dict(payload)}
    # Every default is the server's and none is returned: the serving role may write here, not read.
    await session.execute(insert(OutboxMessage).values(row))
    return message_id
