"""How long a body may be, and how long it may take."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from fanfold.core.config import DatabaseSettings, JobsSettings, ServerSettings
from fanfold.core.errors import MalformedRequest, TooLarge
from fanfold.jobs.purge import ABANDONED
from fanfold.jobs.upload import LONGEST_S, Upload
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.jobs.intake import JOBS, refused
from tests.jobs.uploading import FORM, LINES, form, in_pieces, lines


class Client:
    """Sends pieces, each after so many seconds; what it has sent is counted."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0, then: str = "end") -> None:
        self._pieces, self._pause_s, self._then = list(pieces), pause_s, then
        self.sent = 0

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._pause_s)
        if self._pieces:
            self.sent += 1
            return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}
        if self._then == "hangs":
            await asyncio.Event().wait()
        if self._then == "leaves":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    def upload(self, *, length: bytes | None = None, **limits: Any) -> Upload:
        headers = [] if length is None else [(b"content-length", length)]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        return Upload(Request(scope, self.receive), **{"max_bytes": 100, "patience_s": 60, **limits})


async def read(upload: Upload) -> bytes:
    return b"".join([piece async for piece in upload])


async def test_pieces_come_as_they_are_asked_for():
    client = Client(b"ab", b"", b"cd")
    pieces = aiter(client.upload())
    assert await anext(pieces) == b"ab"
    assert client.sent == 1
    assert b"".join([piece async for piece in pieces]) == b"cd"


@pytest.mark.parametrize("length", [b"101", b"1" * 5000, None])
async def test_a_body_over_the_limit_is_refused_declared_or_not(length: bytes | None):
    client = Client(*[b"x" * 10] * 11)
    with pytest.raises(TooLarge, match="100 bytes"):
        await read(client.upload(length=length))
    assert client.sent == (11 if length is None else 0)


@pytest.mark.parametrize("length", [b"100", b"", b"-1", b"nonsense", None])
async def test_as_long_as_allowed_whatever_it_says(length: bytes | None):
    assert len(await read(Client(*[b"x" * 10] * 10).upload(length=length))) == 100


async def test_who_stalls_is_given_up():
    with pytest.raises(MalformedRequest, match="in time") as refusal:
        await asyncio.wait_for(read(Client(b"a", then="hangs").upload(patience_s=0.05)), 60)
    assert refusal.value.headers == {"Connection": "close"}


async def test_who_drips_is_given_up():
    """Each piece comes well within the patience; together they take longer than it."""
    client = Client(*[b"x"] * 100, pause_s=0.05)
    with pytest.raises(MalformedRequest, match="in time"):
        await asyncio.wait_for(read(client.upload(patience_s=1.5)), 60)
    assert 1 < client.sent < 100


async def test_what_comes_fast_enough_may_take_longer_than_the_patience():
    client = Client(*[b"x" * 100_000] * 10, pause_s=0.15)
    assert len(await read(client.upload(max_bytes=10**6, patience_s=1.2))) == 1_000_000


async def test_nothing_takes_longer_than_its_rows_are_safe():
    assert ABANDONED.total_seconds() > LONGEST_S
    client = Client(*[b"x" * 100_000] * 100, pause_s=0.01)
    with pytest.raises(MalformedRequest, match="in time"):
        await read(client.upload(max_bytes=10**9, longest_s=0.2))


async def test_who_leaves_is_gone():
    with pytest.raises(MalformedRequest, match="left"):
        await read(Client(b"a", then="leaves").upload())


@pytest.fixture(scope="module")
async def small(database_urls: TestDatabase) -> AsyncIterator[Product]:
    """An application with one connection, of whose uploads little is taken."""
    settings = product_settings(database_urls)
    changes = {
        "jobs": JobsSettings(worker=False, max_bytes=2_000_000),
        "server": ServerSettings(max_body_bytes=2048, body_timeout_s=120),
        "database": DatabaseSettings(url=settings.database.url, pool_size=2, pool_timeout_s=30),
    }
    async with running_product(database_urls, settings.model_copy(update=changes)) as product:
        yield product


async def test_uploads_have_a_limit_of_their_own(small: Product):
    tenant = await small.tenant()
    await tenant.upstream(small.zoo.url("ok"))
    fits = await tenant.http.post(JOBS, content=form(b"x" * 100_000), headers=FORM)
    assert fits.status_code == 202
    for content in (form(b"x" * 2_000_000), in_pieces(form(b"x" * 2_000_000), 50_000)):
        problem = refused(await tenant.http.post(JOBS, content=content, headers=FORM), 413, "too-large")
        assert "2000000 bytes" in problem["detail"]
    json = {"Content-Type": "application/json"}
    refused(await tenant.http.post(JOBS, content=b'"' + b"x" * 2048, headers=json), 413, "too-large")


async def test_a_line_is_no_longer_than_a_body_may_be(small: Product):
    tenant = await small.tenant()
    await tenant.upstream(small.zoo.url("ok"))
    problem = refused(
        await tenant.http.post(JOBS, content=lines("x" * 2048), headers=LINES), 413, "too-large"
    )
    assert "Line 1 " in problem["detail"]


async def test_no_connection_is_held_while_a_client_takes_its_time(small: Product):
    """With two connections, four uploads that have spooled and wait for their clients hold up nobody."""
    tenant = await small.tenant()
    await tenant.upstream(small.zoo.url("ok"))
    pool = small.app.state.database.engine.pool
    all_wait, asked = asyncio.Barrier(5), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        body = form(b"word " * 300_000, request={"split": {"size": 1000}})
        async for piece in in_pieces(body[:-1000], 50_000):
            yield piece
        await all_wait.wait()
        await asked.wait()
        yield body[-1000:]

    async with asyncio.TaskGroup() as tasks:
        uploads = [
            tasks.create_task(tenant.http.post(JOBS, content=slowly(), headers=FORM)) for _ in range(4)
        ]
        await all_wait.wait()
        others = await asyncio.gather(*[tenant.http.get(JOBS) for _ in range(10)])
        async with asyncio.timeout(60):
            while pool.checkedout() >= 2:  # what the server does by itself holds one for a moment
                await asyncio.sleep(0.01)
        asked.set()
    assert [answer.status_code for answer in others] == [200] * 10
    assert [upload.result().status_code for upload in uploads] == [202] * 4
