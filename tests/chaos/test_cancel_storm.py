"""The dangers of clients that hang up: slots, sockets and units that are never given back, and work done for nobody."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.chaos.books import Books
from tests.chaos.gauges import GAUGES, eventually, gauges, metrics
from tests.chaos.hanging_up import hang_up, request_bytes
from tests.chaos.world import Tenant, World
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

AT_ONCE = 50
GOOD_CALLS = 100
KINDS = ("ok", "slow", "faults")
TEXT = "取消しても、残りは残らない。" * 6
QUIET = dict.fromkeys(GAUGES, 0.0)
Servers = tuple[ServerProcess, ServerProcess]


class Storm:
    """One server, one tenant, a zoo; and what of them must come back to where it was."""

    def __init__(self, server: ServerProcess, tenant: Tenant, books: Books, zoo: Zoo) -> None:
        self.server, self.tenant, self._books, self._zoo = server, tenant, books, zoo
        self._session = tenant.session

    async def open_upstreams(self) -> list[str]:
        """Register one that answers, one that answers late and large, and one that fails often."""
        urls = (
            self._zoo.url("ok"),
            self._zoo.url("slow", ms=80, bytes=200_000),
            self._zoo.url("faults", percent=50, ms=20),
        )
        return [await self.tenant.upstream(self.server.url, url, max_attempts=3) for url in urls]

    async def warm_up(self) -> None:
        """Let the pools grow to their size, so that what is open after it is the baseline."""
        async with asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(self.tenant.used(self.server.url))
        await self.good(GOOD_CALLS)

    async def good(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self.tenant.process(self.server.url, TEXT)) for _ in range(count)]
        for task in asked:
            assert task.result().status == 200, task.result()
            assert set(task.result().codes) == {"ok"}

    async def settled(self) -> None:
        """Wait until nothing is under way and nothing held."""
        await eventually(lambda: gauges(self._session, self.server), lambda seen: seen == QUIET)
        await eventually(self._reservations, lambda count: count == 0)

    async def forgotten(self) -> None:
        """Wait until there are no more circuits and retry budgets than upstreams, and none that refuses."""
        await eventually(
            lambda: metrics(self._session, self.server),
            lambda seen: (
                seen["fanfold_circuits_open"] == 0
                and seen["fanfold_circuits"] <= len(KINDS)
                and seen["fanfold_retry_budgets"] <= len(KINDS)
            ),
        )

    async def quiet(self, *, at_most: float = float("inf")) -> int:
        """Wait until no TCP connection is open either; returns the server's other open files, once so few are left."""
        await self.settled()
        await eventually(self._upstream_connections, lambda count: count == 0)
        # What servers do by themselves is under way for a moment too.
        await eventually(
            self._books.sessions, lambda seen: not {"active", "idle in transaction"} & seen.keys()
        )
        _, others = await eventually(self._open_files, lambda seen: seen[0] == 1 and seen[1] <= at_most)
        return others

    async def begin(self, data: bytes, *, leave: bool = True) -> Callable[[], None]:
        """Send this much; leave, or return what leaves."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(data)
        await writer.drain()
        if leave:
            writer.close()
            await writer.wait_closed()
        return writer.close

    async def _reservations(self) -> int:
        return await self._books.reservations([self.tenant.id])

    async def _upstream_connections(self) -> int:
        return self._zoo.open

    async def _open_files(self) -> tuple[int, int]:
        return self.server.open_files()


@pytest.fixture
async def storm(servers: Servers, world: World, books: Books, zoo: Zoo) -> Storm:
    return Storm(servers[0], await world.tenant(), books, zoo)


@pytest.mark.proof
async def test_after_a_storm_of_hang_ups_everything_is_as_before(
    storm: Storm, books: Books, zoo: Zoo, figures: Figures, *, full: bool
):
    count = 2_000 if full else 200
    chance = random.Random(7)
    slugs = await storm.open_upstreams()
    await storm.warm_up()
    baseline = await storm.quiet()
    body = {"text": TEXT, "split": {"size": 5}, "upstreams": slugs, "deadline_s": 10}
    left: Counter[str] = Counter()
    for _ in range(count // AT_ONCE):
        async with asyncio.TaskGroup() as group:
            leaving = [
                group.create_task(hang_up(storm.tenant, storm.server.url, body, chance=chance))
                for _ in range(AT_ONCE)
            ]
        left.update(task.result() for task in leaving)
    await storm.good(GOOD_CALLS)
    after = await storm.quiet(at_most=baseline)
    await storm.forgotten()
    truth = await books.truth(storm.tenant.id)
    events = await books.events(storm.tenant.id)
    assert truth.holds
    assert truth.reserved == 0
    assert truth.used == len(events) <= zoo.served.total()
    assert len(left) == 3
    assert len(events) > 2 * GOOD_CALLS  # what the storm had done is billed too
    figures(
        f"cancel storm: {count} hung up ({', '.join(f'{n} {where}' for where, n in sorted(left.items()))}), then "
        f"{GOOD_CALLS} of {GOOD_CALLS} good; gauges 0, held units 0, open files {baseline} before and {after} after; "
        f"billed {truth.used} of {zoo.served.total()} served"
    )


async def test_what_was_done_before_the_hang_up_is_billed_to_the_unit_and_the_rest_is_cancelled(
    storm: Storm, world: World, books: Books, zoo: Zoo
):
    slugs = [
        await storm.tenant.upstream(storm.server.url, zoo.url(path), timeout_s=300) for path in ("ok", "hang")
    ]
    body = {"text": "十个字分成十块要一半", "split": {"size": 1}, "upstreams": slugs, "deadline_s": 900}
    leave = await storm.begin(request_bytes(storm.tenant, storm.server.url, body), leave=False)
    # The answered calls have given their slots back; the five that hang hold theirs.
    await eventually(
        lambda: gauges(world.session, storm.server),
        lambda seen: seen["fanfold_fan_out_slots_in_use"] == 5 and zoo.served["ok"] == 5,
    )
    assert (await books.truth(storm.tenant.id)).reserved == 10
    leave()
    await storm.settled()
    truth = await books.truth(storm.tenant.id)
    assert truth.holds
    assert truth.used == zoo.served["ok"] == zoo.requests["hang"] == 5


async def test_a_hang_up_amid_the_body_starts_nothing(storm: Storm, zoo: Zoo):
    await storm.tenant.upstream(storm.server.url, zoo.url("ok"))
    data = request_bytes(storm.tenant, storm.server.url, {"text": TEXT})
    for sent in (len(data) - 1, len(data) - 300, 40):
        await storm.begin(data[:sent])
    await storm.settled()
    assert zoo.requests.total() == 0
