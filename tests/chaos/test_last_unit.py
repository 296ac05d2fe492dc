"""The dangers of the last unit: granted twice by two processes at once, or refused while it was free."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.chaos.books import Books
from tests.chaos.world import Answer, World
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

Servers = tuple[ServerProcess, ServerProcess]


class Race:
    """One tenant, all its clients at once, half of them at each server."""

    def __init__(self, servers: Servers, world: World, books: Books, zoo: Zoo) -> None:
        self._servers, self._world, self._books, self._zoo = servers, world, books, zoo

    async def run(self, sizes: Sequence[int], *, units: int) -> Counter[int]:
        """Let one client ask for each of `sizes` (units), and check the books; returns how often each status came."""
        tenant = await self._world.tenant(monthly_units=units)
        tag = str(tenant.id)
        await tenant.upstream(self._servers[0].url, self._zoo.url("slow", ms=30, tag=tag))
        start = asyncio.Event()

        async def ask(turn: int, size: int) -> Answer:
            await start.wait()
            server = self._servers[turn % 2].url
            return await tenant.process(server, "四" * size, split={"size": 1})

        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(*turn)) for turn in enumerate(sizes)]
            start.set()
        answers = [task.result() for task in asked]
        truth = await self._books.truth(tenant.id)
        assert truth.holds
        assert truth.reserved == 0
        granted = [size for size, answer in zip(sizes, answers, strict=True) if answer.status == 200]
        assert truth.used == sum(granted) == self._zoo.served_by_tag[tag] <= units
        self._check(answers, free=units - truth.used)
        return Counter(answer.status for answer in answers)

    def _check(self, answers: Sequence[Answer], *, free: int) -> None:
        """Nothing comes back in a race without failures: what is free at its end was free at each refusal."""
        for answer in answers:
            assert answer.status in {200, 402}, answer
            if answer.status == 402:
                assert answer.body["code"] == "quota-exhausted"
                assert answer.body["needed"] > answer.body["remaining"] >= 0
                assert answer.body["needed"] > free, "refused while there was room"
            else:
                assert set(answer.codes) == {"ok"}


@pytest.fixture
def race(servers: Servers, world: World, books: Books, zoo: Zoo) -> Race:
    return Race(servers, world, books, zoo)


@pytest.mark.proof
async def test_of_200_clients_exactly_50_get_the_50_units_that_are_left(
    race: Race, figures: Figures, *, full: bool
):
    rounds = 10 if full else 2
    for _ in range(rounds):
        assert await race.run([1] * 200, units=50) == {200: 50, 402: 150}
    figures(
        f"last unit: {rounds} x 200 clients, 2 processes, 50 units left: 50 granted, 150 refused, 0 false"
    )


@pytest.mark.proof
async def test_whatever_the_numbers_nothing_is_over_and_nothing_refused_in_vain(
    race: Race, figures: Figures, *, full: bool
):
    clients = (2, 3, 8, 32, 128, 512) if full else (2, 8, 32)
    races = granted = refused = 0
    for count in clients:
        for units in sorted({1, count // 2, count - 1, count, count + 1}):
            statuses = await race.run([1] * count, units=units)
            assert statuses[200] == min(units, count)
            races, granted, refused = races + 1, granted + statuses[200], refused + statuses[402]
    for count in clients:  # sizes of 1 to 5: a big one that does not fit refuses no smaller one
        statuses = await race.run([1 + turn % 5 for turn in range(count)], units=2 * count)
        races, granted, refused = races + 1, granted + statuses[200], refused + statuses[402]
    figures(
        f"last unit, sweep: {races} races of up to {max(clients)}: {granted} granted, {refused} refused, 0 false"
    )
