"""The danger of telling too early: a message of what never happened, or none of what did; or of somebody else's."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.outbox.writer import NO_TENANT, add
from tests.outbox.box import Box


@pytest.fixture
async def database(box: Box) -> AsyncIterator[Database]:
    async with Database(box.database.app_url, pool_size=2) as database:
        yield database


async def test_a_message_is_there_with_the_commit_and_not_before(box: Box, database: Database):
    tenant = uuid7()
    async with database.session(tenant) as session, session.begin():
        message = await add(session, tenant, box.topic, {"text": "先写，再说 📮", "units": 3})
        assert await box.rows() == []
    (row,) = await box.rows()
    assert (row["tenant_id"], row["id"], row["attempts"], row["dead_at"]) == (tenant, message, 0, None)
    assert row["payload"] == '{"text": "先写，再说 📮", "units": 3}'
    assert row["due_at"] == row["created_at"]


async def test_rolled_back_is_never_written(box: Box, database: Database):
    tenant = uuid7()
    async with database.session(tenant) as session:
        await add(session, tenant, box.topic, {})
        await session.rollback()
    assert await box.rows() == []


async def test_a_tenant_cannot_write_as_another_nor_as_nobody(box: Box, database: Database):
    for other in (uuid7(), NO_TENANT):
        async with database.session(uuid7()) as session:
            with pytest.raises(ProgrammingError, match="row-level security"):
                await add(session, other, box.topic, {})
    assert await box.rows() == []


async def test_what_is_of_no_tenant_comes_through_the_operators_session(box: Box, database: Database):
    async with database.operator_session() as session, session.begin():
        await add(session, NO_TENANT, box.topic, {})
    assert [row["tenant_id"] for row in await box.rows()] == [NO_TENANT]


@pytest.mark.parametrize(
    "statement",
    ["select from fanfold.outbox", "delete from fanfold.outbox", "update fanfold.outbox set dead_at = now()"],
)
async def test_the_serving_role_can_neither_read_nor_change_what_was_written(
    database: Database, statement: str
):
    async with database.session(uuid7()) as session:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await session.execute(text(statement))
