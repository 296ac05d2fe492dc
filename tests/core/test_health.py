import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from fanfold.core.drain import Drain
from fanfold.core.health import Check, LivenessMiddleware, health_router
from fanfold.core.problems import install_problem_handlers


class FakeCheck:
    """A dependency whose state a test sets."""

    def __init__(self) -> None:
        self.holds: bool | Exception = True
        self.hangs = False
        self.asked = 0

    async def __call__(self) -> bool:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.holds, Exception):
            raise self.holds
        return self.holds


@pytest.fixture
def database() -> FakeCheck:
    return FakeCheck()


@pytest.fixture
def migrations() -> FakeCheck:
    return FakeCheck()


@pytest.fixture
async def client(database: FakeCheck, migrations: FakeCheck) -> AsyncIterator[httpx.AsyncClient]:
    async with serve({"database": database, "migrations": migrations}) as made:
        yield made


def serve(checks: Mapping[str, Check], *, deadline_s: float = 20.0) -> httpx.AsyncClient:
    app = FastAPI()
    health_router(checks, Drain(), deadline_s=deadline_s).put_into(app)
    install_problem_handlers(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


class TestHealthz:
    async def test_is_alive_whatever_the_checks_say(
        self, client: httpx.AsyncClient, database: FakeCheck
    ) -> None:
        database.hangs = True
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json(), database.asked) == (200, {"status": "ok"}, 0)


class TestReadyz:
    async def test_is_ready_when_every_check_holds(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    @pytest.mark.parametrize(
        "fault", [False, RuntimeError("password=hunter2"), OSError(111, "refused"), "hangs"]
    )
    async def test_names_the_check_that_failed_and_nothing_else(
        self, database: FakeCheck, migrations: FakeCheck, fault: bool | Exception | str
    ) -> None:
        if isinstance(fault, str):
            migrations.hangs = True
        else:
            migrations.holds = fault
        checks = {"database": database, "migrations": migrations}
        async with asyncio.timeout(20), serve(checks, deadline_s=0.5) as client:
            answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["code"], answer.json()["failed"]) == ("not-ready", ["migrations"])
        assert "hunter2" not in answer.text

    async def test_checks_run_at_the_same_time(self) -> None:
        met = asyncio.Barrier(3)

        async def meets() -> bool:
            await met.wait()
            return True

        async with serve({"a": meets, "b": meets, "c": meets}) as client:
            assert (await client.get("/readyz")).status_code == 200

    async def test_many_askers_at_once_cost_one_asking(
        self, client: httpx.AsyncClient, database: FakeCheck
    ) -> None:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert database.asked == 1

    async def test_recovers(self, client: httpx.AsyncClient, database: FakeCheck) -> None:
        database.holds = False
        assert (await client.get("/readyz")).status_code == 503
        database.holds = True
        async with asyncio.timeout(20):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)


async def test_alive_is_answered_before_anything_that_could_be_at_fault():
    async def fault(*_: object) -> Any:
        raise AssertionError("asked further")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/healthz", "state": {}}
    await LivenessMiddleware(fault)(scope, fault, send)
    assert (sent[0]["status"], sent[1]["body"]) == (200, b'{"status":"ok"}')
    for other in ({"method": "PUT"}, {"path": "/healthz/"}):
        with pytest.raises(AssertionError, match="asked further"):
            await LivenessMiddleware(fault)(scope | other, fault, send)
