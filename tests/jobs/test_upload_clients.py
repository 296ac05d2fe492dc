"""Uploads over real sockets: a hundred megabytes, and clients that leave, stall, say a wrong length or ask first."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.jobs.intake import JOBS, left
from tests.jobs.uploading import BOUNDARY, FORM, form
from tests.jobs.working import Jobs

MiB = 1024 * 1024
MAX_GROWTH_MIB = 24
PATIENCE_S = 60
NO_LIMITS = {
    "max_text_chars": 10**9,
    "max_chunks": 50_000,
    "monthly_units": 10**12,
    "max_stored_bytes": 10**12,
}
SENTENCES = "一个句子，里面有些字。 A second one, of words! 👨\u200d👩\u200d👧 第三句在这里结束。\n"


@pytest.fixture(scope="module")
async def server(
    database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    server = ServerProcess(database_urls, log, body_timeout_s=4)
    await asyncio.to_thread(lambda: server.start().wait())
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture
async def uploads(jobs: Jobs) -> Jobs:
    """Jobs of a tenant for which nothing is too much."""
    jobs.tenant = await jobs.product.tenant("scale", **NO_LIMITS)  # type: ignore[arg-type] # limits by their names
    await jobs.zoo("ok")
    return jobs


def head(jobs: Jobs, length: int | None, **others: str) -> bytes:
    headers = {
        "Host": "fanfold", "Authorization": f"Bearer {jobs.tenant.key}", **FORM, **others,
        **({} if length is None else {"Content-Length": str(length)}),
    }  # fmt: skip
    lines = [f"POST {JOBS} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class Connection:
    """A client's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def to(cls, server: ServerProcess) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def status(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reader.readline()).decode().strip()

    async def rest(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reader.read()).decode()

    def leave(self) -> None:
        self._writer.transport.abort()


async def until_rows(jobs: Jobs, *, some: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while bool(await left(jobs)) is not some:
            await asyncio.sleep(0.05)


LONG = form(SENTENCES.encode() * 60_000, request={"split": {"by": "sentences", "size": 2000}})


async def test_who_leaves_in_the_middle_leaves_nothing(server: ServerProcess, uploads: Jobs):
    client = await Connection.to(server)
    await client.send(head(uploads, len(LONG)) + LONG[: -2 * MiB])
    await until_rows(uploads, some=True)
    client.leave()
    await until_rows(uploads, some=False)


async def test_who_stalls_is_told_and_leaves_nothing(server: ServerProcess, uploads: Jobs):
    client = await Connection.to(server)
    await client.send(head(uploads, len(LONG)) + LONG[: -2 * MiB])
    await until_rows(uploads, some=True)
    assert "400" in await client.status()
    answer = await client.rest()  # the connection ends with the answer
    client.leave()
    assert "did not arrive in time" in answer
    assert await left(uploads) == {}


async def test_a_length_that_is_too_short_cuts_the_form_off(server: ServerProcess, uploads: Jobs):
    client = await Connection.to(server)
    await client.send(head(uploads, len(LONG) - 100) + LONG)
    assert "400" in await client.status()
    client.leave()
    await until_rows(
        uploads, some=False
    )  # what follows the form is refused at once, before its parts are gone


async def test_who_asks_first_is_told_to_go_on(server: ServerProcess, uploads: Jobs):
    client = await Connection.to(server)
    body = form("一二三".encode())
    await client.send(head(uploads, len(body), Expect="100-continue"))
    assert "100" in await client.status()
    await client.reader.readline()
    await client.send(body)
    assert "202" in await client.status()
    client.leave()


async def test_who_asks_first_with_too_much_or_without_a_scope_sends_nothing(
    server: ServerProcess, uploads: Jobs
):
    client = await Connection.to(server)
    await client.send(head(uploads, 10**12, Expect="100-continue"))
    assert "413" in await client.status()
    client.leave()
    uploads.tenant = await uploads.product.tenant(scopes=["process"])
    client = await Connection.to(server)
    await client.send(head(uploads, len(LONG), Expect="100-continue"))
    assert "403" in await client.status()
    client.leave()


def memory_mib(server: ServerProcess, name: str = "VmRSS") -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024


async def _upload(server: ServerProcess, jobs: Jobs, size: int) -> dict[str, Any]:
    piece = (SENTENCES * 500).encode()
    empty = form(b"", request={"split": {"by": "sentences", "size": 1500}})
    begin, end = empty[: -len(BOUNDARY) - 8], empty[-len(BOUNDARY) - 8 :]

    async def body() -> AsyncIterator[bytes]:
        yield begin
        for _ in range(size // len(piece)):
            yield piece
        yield end

    headers = {**FORM, "Authorization": f"Bearer {jobs.tenant.key}"}
    async with httpx.AsyncClient(base_url=server.url, timeout=600, trust_env=False) as http:
        answer = await http.post(JOBS, content=body(), headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert job["characters"] == size // len(piece) * 500 * len(SENTENCES)
    return job


async def test_a_hundred_megabytes_are_never_whole_in_memory(
    server: ServerProcess, uploads: Jobs, figures: Figures, full: bool
):
    size = 100_000_000 if full else 10_000_000
    # What one upload of any length takes, the splitters' tables among it, is there before.
    await _upload(server, uploads, 4_000_000)
    before, began = memory_mib(server), time.monotonic()
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak is counted anew (proc(5))
    job = await _upload(server, uploads, size)
    grown = memory_mib(server, "VmHWM") - before
    row = await uploads.row(UUID(job["id"]))
    figures(
        f"upload of {size / 1e6:.0f} MB: {job['counts']['total']} chunks, {row['stored_bytes'] / MiB:.0f} MiB stored "
        f"in {time.monotonic() - began:.0f} s; the server's memory grew by {grown:.0f} MiB at most"
    )
    assert grown < MAX_GROWTH_MIB
