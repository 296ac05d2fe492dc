"""Others who are in the way of a turn: it comes again, instead of being parked as one that failed."""

from typing import Any

import asyncpg
import pytest

from fanfold.core.errors import NotReady
from fanfold.core.identifiers import uuid7
from fanfold.jobs.lane import JobLane
from fanfold.jobs.taken import Claiming
from fanfold.jobs.turn_repository import TurnRepository
from tests.jobs.making import create, turns_of
from tests.usage.books import Books, connected


class _Failing:
    """A database each of whose statements fails in the same way."""

    def __init__(self, error: Exception) -> None:
        self.statements, self._error = self, error

    async def row(self, _statement: str, *_values: Any) -> Any:
        raise self._error


async def _steps(error: Exception) -> list[type[Exception]]:
    """Return what each step of a turn raises."""
    repository = TurnRepository(_Failing(error))  # type: ignore[arg-type]  # a fake database
    raised = []
    for step in (
        repository.take(1, uuid7(), Claiming(worker_id=uuid7())),
        repository.begin(1),
        repository.queue_next(uuid7(), most=4),
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
            await step
        raised.append(caught.type)
    return raised


@pytest.mark.parametrize(
    "error",
    [asyncpg.DeadlockDetectedError(), asyncpg.SerializationError(), asyncpg.LockNotAvailableError()],
    ids=lambda error: type(error).__name__,
)
async def test_every_step_of_a_turn_may_be_made_again(error: Exception):
    assert await _steps(error) == [NotReady] * 3


async def test_a_fault_of_its_own_is_none_of_theirs():
    assert await _steps(asyncpg.UniqueViolationError()) == [asyncpg.UniqueViolationError] * 3


class _Impatient:
    """A database whose statements wait for no lock."""

    def __init__(self, url: str) -> None:
        self.statements, self._url = self, url

    async def row(self, statement: str, *values: Any) -> Any:
        async with connected(self._url) as connection:
            await connection.execute("set lock_timeout = '10ms'")
            return await connection.fetchrow(statement, *values)


async def test_a_turn_whose_row_is_locked_comes_again(books: Books, lane: JobLane):
    tenant = await books.new_tenant(100)
    await create(lane, tenant)
    (turn,) = await turns_of(books, tenant)
    repository = TurnRepository(_Impatient(books.database.app_url))  # type: ignore[arg-type]  # a fake database
    claiming = Claiming(worker_id=uuid7())
    async with books.superuser() as other, other.transaction():
        await other.execute("select from fanfold.pgqueuer where id = $1 for update", turn["id"])
        with pytest.raises(NotReady):
            await repository.take(turn["id"], tenant, claiming)
    assert await repository.take(turn["id"], tenant, claiming)
