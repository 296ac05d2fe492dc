"""A million events leave the server whole, and leave nothing behind: memory, statements, connections."""

import asyncio
import io
import json
import secrets
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.books import Books, open_books
from tests.chaos.gauges import eventually
from tests.chaos.world import World, open_world
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess

MAX_GROWTH_MIB = 32
EVENTS = """
insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, upstream,
                                  quantity, occurred_at)
select $1, gen_random_uuid(), 0, 'calls', '2026-03-01', n % 10, 'billed', 'summarize', 1,
       timestamptz '2026-03-01T00:00Z' + (n / 50) * interval '100 ms' from generate_series($2::int, $3::int) n
"""
COUNTER = """
insert into fanfold.quota_periods (tenant_id, period_start, granted, ceiling, used)
select $1, '2026-03-01', 0, null, sum(units) from fanfold.usage_events where tenant_id = $1 returning used
"""


@pytest.fixture
async def server(own_database: TestDatabase, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(own_database, tmp_path / "server.log")
    await asyncio.to_thread(lambda: server.start().wait())
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture
async def world(own_database: TestDatabase) -> AsyncIterator[World]:
    async with open_world(own_database) as world:
        yield world


@pytest.fixture
async def books(own_database: TestDatabase) -> AsyncIterator[Books]:
    async with open_books(own_database) as books:
        yield books


def _rss_mib(server: ServerProcess) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


async def _fill(database: TestDatabase, tenant, count: int) -> int:
    connection = await connect(database.superuser_url)
    try:
        for start in range(1, count + 1, 100_000):
            await connection.execute(EVENTS, tenant, start, min(start + 99_999, count))
        await connection.execute("vacuum analyze fanfold.usage_events")
        return int(await connection.fetchval(COUNTER, tenant))
    finally:
        await connection.close()


def _units(lines: Iterator[bytes]) -> tuple[int, int]:
    units = [json.loads(line)["units"] for line in lines]
    return len(units), sum(units)


@pytest.mark.proof
async def test_a_million_events_are_exported_whole_in_constant_memory(
    own_database: TestDatabase, server: ServerProcess, world: World, figures: Figures, *, full: bool
):
    count = 1_000_000 if full else 50_000
    tenant = await world.tenant()
    counter = await _fill(own_database, tenant.id, count)
    headers = {"Authorization": f"Bearer {tenant.key}"}
    url = f"{server.url}/v1/usage/export?format=ndjson&period=2026-03"
    async with world.session.get(f"{server.url}/v1/usage/export?period=2026-02", headers=headers) as answer:
        await answer.read()  # what the first request loads is not the export's
    before = peak = _rss_mib(server)
    rows = units = size = 0
    rest = b""
    patient = aiohttp.ClientTimeout(sock_read=60)  # however many there are
    async with world.session.get(url, headers=headers, timeout=patient) as answer:
        assert answer.status == 200
        async for part in answer.content.iter_chunked(1 << 20):
            *lines, rest = (rest + part).split(b"\n")
            found, billed = _units(iter(lines))
            rows, units, size = rows + found, units + billed, size + len(part)
            peak = max(peak, _rss_mib(server))
    after = _rss_mib(server)
    assert (rows, units, rest) == (count, counter, b"")
    assert peak - before <= MAX_GROWTH_MIB
    figures(
        f"export: {rows} events, {size / 2**20:.0f} MiB of NDJSON, {units} units = the counter; the server's memory "
        f"{before:.0f} MiB before, {peak:.0f} at most, {after:.0f} after"
    )


@pytest.mark.proof
async def test_a_tenant_s_whole_export_is_a_zip_made_in_constant_memory(
    own_database: TestDatabase, server: ServerProcess, world: World, figures: Figures, *, full: bool
):
    count = 1_000_000 if full else 50_000
    tenant = await world.tenant()
    await _fill(own_database, tenant.id, count)
    headers, url = {"Authorization": f"Bearer {tenant.key}"}, f"{server.url}/v1/tenant/export"
    async with world.session.get(f"{server.url}/v1/tenant", headers=headers) as answer:
        await answer.read()
    before = peak = _rss_mib(server)
    body = io.BytesIO()
    async with world.session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(sock_read=60)) as answer:
        assert answer.status == 200
        async for part in answer.content.iter_chunked(1 << 20):
            body.write(part)
            peak = max(peak, _rss_mib(server))
    with zipfile.ZipFile(body) as archive, archive.open("usage_events.ndjson") as lines:
        found = {json.loads(line)["request_id"] for line in lines}
    assert len(found) == count
    assert peak - before <= MAX_GROWTH_MIB
    figures(
        f"tenant export: {count} events and all else, {body.tell() / 2**20:.0f} MiB of zip; the server's memory "
        f"{before:.0f} MiB before, {peak:.0f} at most"
    )


async def test_a_slow_reader_costs_one_batch_and_one_who_left_nothing(
    own_database: TestDatabase, server: ServerProcess, world: World, books: Books
):
    tenant = await world.tenant()
    await _fill(own_database, tenant.id, 60_000)
    before = _rss_mib(server)
    leaving = [await _begin(server, tenant.key) for _ in range(20)]
    await asyncio.sleep(1)

    async def busy() -> int:
        return (await books.sessions()).get("active", 0) + (await books.sessions()).get(
            "idle in transaction", 0
        )

    # They read nothing, and hold nothing: no statement, no transaction.
    await eventually(busy, lambda sessions: sessions == 0)
    assert _rss_mib(server) - before <= MAX_GROWTH_MIB
    for writer in leaving:
        writer.close()
    assert await tenant.used(server.url) == 0
    await eventually(busy, lambda sessions: sessions == 0)


async def _begin(server: ServerProcess, key: str) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    request = (
        f"GET /v1/usage/export?period=2026-03 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    )
    writer.write(request.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    return writer


async def test_an_error_in_the_middle_is_seen_by_the_client(
    own_database: TestDatabase, server: ServerProcess, world: World
):
    tenant = await world.tenant()
    await _fill(own_database, tenant.id, 60_000)
    headers = {"Authorization": f"Bearer {tenant.key}"}
    url = f"{server.url}/v1/usage/export?period=2026-03"
    async with world.session.get(url, headers=headers) as answer:
        assert answer.status == 200
        await answer.content.readany()
        superuser = await connect(own_database.superuser_url)
        await superuser.execute(f"alter table fanfold.usage_events rename to gone_{secrets.token_hex(4)}")
        await superuser.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
