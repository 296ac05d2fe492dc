"""The dangers to money under load and crashes: units lost, doubled, billed for nothing, or held for ever."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fanfold.processing.service import LEASE_MARGIN_S
from tests.chaos.accounts import Sums
from tests.chaos.books import Books, open_books
from tests.chaos.clients import DEADLINE_S
from tests.chaos.gauges import eventually
from tests.chaos.roulette import Table, Witness
from tests.chaos.world import World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo

SAFETY_S = 900
TRIES_AFTER = 100


@pytest.fixture
def three(database_urls: TestDatabase, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Three server processes on one database."""
    servers = [ServerProcess(database_urls, tmp_path / f"{name}.log") for name in ("one", "two", "three")]
    try:
        start_together(*servers)
        yield servers
    finally:
        for server in servers:
            server.stop()


async def _play(table: Table, kills: int) -> None:
    async with table.busy():
        async with asyncio.TaskGroup() as killers:
            for server in table.servers:
                killers.create_task(table.kill_and_revive(server, kills // len(table.servers)))
        revived_at = await table.books.now()
        await table.every_kind_is_shown()
    # Those who hung up are settled, also by who ends in order; what is held then died with a process.
    assert await asyncio.gather(*(asyncio.to_thread(server.stop) for server in table.servers[1:])) == [0, 0]
    lease_s = DEADLINE_S + LEASE_MARGIN_S
    await eventually(
        lambda: table.books.held_since(table.ids, revived_at, lease_s=lease_s), lambda held: held == 0
    )


async def _end_all_leases(table: Table) -> list[Any]:
    """Let every lease end; returns the outcomes, among which each of them is."""
    held = await table.books.held(table.all_ids)
    await table.books.sweep_as_if_later(table.all_ids)
    assert await table.books.reservations(table.all_ids) == 0
    listed = await table.books.outcomes(table.all_ids)
    assert held <= {one["request_id"] for one in listed}, "given back, and not listed"
    assert {one["kind"] for one in listed} == {"unknown"}
    assert len(listed) <= table.waiting_at_kills + table.left_at_kills
    seen = [one["units"] for one in listed if one["tenant_id"] == table.witness.tenant.id]
    assert seen == [Witness.UNITS] * table.kills
    return listed


async def _ask_what_had_no_answer(table: Table) -> int:
    """Ask again what was lost under a key: run now, or replayed, but billed once. Returns how many there were."""
    asked = 0
    for account in table.accounts:
        client = table.client(account, leaves=False)
        for one in account.told.to_ask_again:
            assert await client.ask_again(one, table.servers[:1], tries=TRIES_AFTER) is not None
            asked += 1
    assert await asyncio.to_thread(table.servers[0].stop) == 0
    return asked


async def _resolve(table: Table) -> int:
    """End every second outcome with a bill of one unit, the others with none; returns how many."""
    outcomes = await table.books.outcomes(table.all_ids)
    words = [
        await table.books.resolve(outcome, "billed" if place % 2 else "waived", place % 2)
        for place, outcome in enumerate(outcomes)
    ]
    dry = {account.tenant.id for account in table.accounts if account.kind.runs_dry}
    for outcome, word in zip(outcomes, words, strict=True):
        assert word == "ok" or (word == "insufficient" and outcome["tenant_id"] in dry)
    await table.check()
    assert len(await table.books.outcomes(table.all_ids)) == len(words) - words.count("ok")
    return words.count("ok")


@pytest.mark.proof
async def test_whatever_is_killed_the_books_are_right_at_every_moment(
    three: list[ServerProcess], world: World, books: Books, zoo: Zoo, database_urls: TestDatabase,
    figures: Figures, *, full: bool,
):  # fmt: skip
    async with asyncio.timeout(SAFETY_S), open_books(database_urls) as clients_books:
        table = Table(three, books, clients_books, await Witness.of(world, three[0], zoo))
        await table.seat(world, zoo)
        await _play(table, 30 if full else 3)
        listed = await _end_all_leases(table)
        asked_again = await _ask_what_had_no_answer(table)
        await table.check()
        assert all(truth.reserved == 0 for truth in await books.truths(table.all_ids))
        assert len(await books.outcomes(table.all_ids)) == len(listed)
        audits = [await account.audit(books, zoo, listed) for account in table.accounts]
        assert await books.billed(table.witness.tenant.id) == 0
        resolved = await _resolve(table)
    figures(_told(table, audits, listed=len(listed), resolved=resolved, asked_again=asked_again))


def _told(table: Table, audits: Sequence[Sums], *, listed: int, resolved: int, asked_again: int) -> str:
    units, calls, served = (sum(column) for column in zip(*audits, strict=True))
    ends = sum((account.told.ends for account in table.accounts), Counter[str]())
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return (
        f"roulette: 3 processes, {table.kills} kills -9, {len(table.accounts)} tenants, "
        f"{ends.total()} requests ({told}); {units} units for {calls} calls, "
        f"{served - calls} more served to those who left or were killed; unknown outcomes {listed} <= "
        f"{table.waiting_at_kills} in flight at the kills + {table.left_at_kills} just left, all listed, "
        f"{resolved} resolved; {asked_again} asked again under their key; "
        f"{table.reads} readings: lost 0, doubled 0, over quota 0"
    )
