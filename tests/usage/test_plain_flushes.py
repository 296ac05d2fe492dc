"""A flush of which nothing can be refused is decided in one go. The danger: another answer than one by one."""

from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.items import Item, Operation, Status
from tests.usage.books import Books, events

ROUNDS, ITEMS = 12, 7
COUNTED = ("reserved", "used", "granted", "prepaid")


@dataclass
class World:
    """Three tenants, the last with overage, and a key of each; worlds of one seed get the same items."""

    tenants: list[UUID]
    keys: list[UUID]
    held: list[tuple[int, UUID | None, UUID, int]] = field(default_factory=list)

    def batch(self, random: Random) -> list[Item]:
        """Return some settles of what is held, sometimes one of something else, and reserves."""
        random.shuffle(self.held)
        ends, self.held = self.held[:ITEMS], self.held[ITEMS:]
        items = [self._settle(random, *end) for end in ends] + [self._reserve(random) for _ in range(ITEMS)]
        if random.random() < 0.2:
            items.append(self._settle(random, 0, None, uuid7(), 2))
        random.shuffle(items)
        return items

    def _settle(self, random: Random, who: int, key: UUID | None, request: UUID, units: int) -> Item:
        billed = events(*random.choice([(), (units,), (units, 1), (1,)]))
        return Item(
            operation=Operation.SETTLE, tenant_id=self.tenants[who], request_id=request,
            period_start=period_of(utc_now()), api_key_id=key, events=billed,
        )  # fmt: skip

    def _reserve(self, random: Random) -> Item:
        who, units = random.randrange(len(self.tenants)), random.randint(0, 9)
        key = random.choice([None, self.keys[who]])
        item = Item(
            operation=Operation.RESERVE, tenant_id=self.tenants[who], request_id=uuid7(),
            period_start=period_of(utc_now()), units=units, lease_s=60, api_key_id=key,
        )  # fmt: skip
        self.held.append((who, key, item.request_id, units))
        return item


async def new_world(books: Books) -> World:
    tenants = [await books.new_tenant(units, overage=units == 1) for units in (60, 90, 1)]
    return World(tenants, [await books.new_key(tenant, 40) for tenant in tenants])


async def flush(lane: Any, *items: Item) -> list[tuple[Status, int | None]]:
    status, remaining, *_ = await lane.fetchrow(COMMIT, *encode(items))
    return list(zip(status, remaining, strict=True))


async def counters(books: Books, world: World) -> list[Any]:
    quotas = [await books.rows("quota_periods", tenant) for tenant in world.tenants]
    budgets = [await books.rows("key_periods", tenant) for tenant in world.tenants]
    return [
        [[row[column] for column in COUNTED if column in row] for row in rows] for rows in (*quotas, *budgets)
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_a_flush_answers_as_its_items_would_one_by_one(books: Books, seed: int):
    together, alone = await new_world(books), await new_world(books)
    first, second = Random(seed), Random(seed)
    seen: set[int] = set()
    async with books.app() as lane:
        for round_ in range(ROUNDS):
            for world in (together, alone):
                await books.change_limit(world.tenants[1], 90 if round_ % 3 else 20)
            answers = await flush(lane, *together.batch(first))
            assert answers == [(await flush(lane, item))[0] for item in alone.batch(second)]
            assert await counters(books, together) == await counters(books, alone)
            seen.add(sum(status != Status.OK for status, _ in answers))
    assert seen > {0}, "both kinds of flush were tried"
    await books.check_truths(*together.tenants, *alone.tenants)


@pytest.mark.parametrize("is_budget", [False, True])
async def test_what_a_settle_frees_is_not_there_for_a_reserve_before_it(books: Books, *, is_budget: bool):
    tenant = await books.new_tenant(1_000 if is_budget else 10)
    key = await books.new_key(tenant, 10) if is_budget else None
    about: dict[str, Any] = {"tenant_id": tenant, "period_start": period_of(utc_now()), "api_key_id": key}
    held, early, late = (
        Item(operation=Operation.RESERVE, request_id=uuid7(), units=units, lease_s=60, **about)
        for units in (10, 5, 3)
    )
    settle = Item(operation=Operation.SETTLE, request_id=held.request_id, events=events(1), **about)
    refused = (Status.OVER_BUDGET, 0) if is_budget else (Status.INSUFFICIENT, 0)
    async with books.app() as lane:
        assert [status for status, _ in await flush(lane, held)] == [Status.OK]
        assert (await flush(lane, early, settle, late))[0] == refused
    assert [row["id"] for row in await books.rows("reservations", tenant)] == [late.request_id]
    await books.check_truths(tenant)
