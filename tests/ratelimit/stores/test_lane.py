import asyncio
from typing import Any

import asyncpg
import pytest

from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.lane import Lane
from fanfold.ratelimit.stores.postgres import MAX_ITEMS, PostgresStore
from tests.ratelimit.stores.processes import a_bucket


class Dying:
    """A connection that works `uses` times and then turns out to be dead, though nobody has noticed."""

    def __init__(self, uses: int) -> None:
        self._uses = uses

    def is_closed(self) -> bool:
        return False

    async def execute(self, _statement: str) -> None: ...

    async def fetchrow(self, _statement: str) -> list[int]:
        if not self._uses:
            raise asyncpg.ConnectionDoesNotExistError
        self._uses -= 1
        return [7]

    def terminate(self) -> None: ...


async def test_a_connection_that_turns_out_to_be_dead_is_replaced_once() -> None:
    made = [Dying(1), Dying(1), Dying(0), Dying(1)]
    left = iter(made)

    async def connect() -> Any:
        return next(left)

    lane = Lane(connect, timeout_s=5)
    assert await lane.fetchrow("select") == [7]
    assert await lane.fetchrow("select") == [7]
    with pytest.raises(StoreUnavailable):  # dead, and so is the new one: not for ever
        await lane.fetchrow("select")
    assert await lane.fetchrow("select") == [7]


class Silent:
    def __init__(self) -> None:
        self.tries = 0

    async def __call__(self) -> Any:
        self.tries += 1
        await asyncio.Event().wait()


async def test_a_call_has_a_deadline() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable):
            await PostgresStore(Silent(), timeout_s=0.1).round()


async def test_a_request_waits_for_its_deadline_and_not_for_those_of_the_calls_before_its_own() -> None:
    silent = Silent()
    store = PostgresStore(silent, timeout_s=0.3)
    asks = [store.take((a_bucket(60, 5),)) for _ in range(4 * MAX_ITEMS)]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*asks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert silent.tries < 4
