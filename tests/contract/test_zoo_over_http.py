"""Every way in which an upstream can misbehave, through a real server process with both transports: code and bill."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.books import Books, open_books
from tests.chaos.world import Answer, Tenant, open_world
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo
from tests.zoo_behaviours import BEHAVIOURS

# Three: with three attempts each they are fewer than a circuit opens upon.
CHUNKS = ("展开", "مع", "👩‍👩‍👧‍👦🇨🇳")
TEXT = "".join(CHUNKS)


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour, and what the contract says of each chunk; None: any of its failures.

    `says` tells apart what is refused for its own reason from what another check would have caught too.
    """

    path: str
    code: str | None = "ok"
    status: int | None = None
    attempts: int = 1
    says: str = ""
    query: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join((self.path, *(f"{name}={value}" for name, value in self.query.items())))


IMPATIENT = {"timeout_s": 0.5}
THRICE = {"max_attempts": 3}
CASES = (
    Case("ok"),
    Case("ok", query={"bytes": 2 * 1024 * 1024}),
    Case("slow", query={"ms": 50}),
    Case("held"),
    Case("chunked"),
    Case("close"),
    Case("leave"),
    Case("headers"),
    Case("json", query={"value": '["名前", 1]'}),
    Case("json", "invalid-answer", 200, query={"value": "NaN"}),
    Case("v1/chat/completions", options={"kind": "openai", "model": "m"}),
    Case("faults", query={"percent": 0}),
    Case("faults", None, query={"percent": 100}),
    Case("flaky", attempts=2, query={"fail": 1}, options=THRICE),
    Case("flaky", "status", 503, attempts=3, query={"fail": 3}, options=THRICE),
    Case("429", attempts=2, query={"succeed": 2}, options=THRICE),
    Case("429", "status", 429, attempts=3, options=THRICE),
    Case("429", "status", 429, query={"after": 3600}, options=THRICE),
    Case("down", "status", 503),
    Case("down", query={"seconds": 0}),
    Case("flapping", attempts=3, query={"bad": 2, "good": 1}, options=THRICE),
    Case("500", "status", 500),
    Case("503", "status", 503),
    Case("status", "status", 404, query={"code": 404}, options=THRICE),
    Case("status", "status", 304, query={"code": 304}),
    Case("redirect", "status", 302, options=THRICE),
    Case("204", "invalid-answer", 204, says="no content", options=THRICE),
    Case("garbage", "invalid-answer", 200, options=THRICE),
    Case("noise", "invalid-answer", options=THRICE),
    Case("wrong-type", "invalid-answer", 200, says="must be application/json", options=THRICE),
    Case("bomb", "invalid-answer", 200, says="compressed", options=THRICE),
    Case("short", "invalid-answer"),
    Case("huge", "too-large", options=THRICE),
    Case("huge", "too-large", query={"chunked": 1}, options=THRICE),
    Case("hang", "timeout", options=IMPATIENT),
    Case("drip", "timeout", query={"ms": 100, "bytes": 900}, options=IMPATIENT),
    Case("drip", query={"ms": 1}),
    Case("cut", "connect", options=THRICE),
    Case("long", "connect", options=THRICE),
    Case("reset", "connect", options=THRICE),
    Case("reset", "connect", attempts=2, options={"max_attempts": 2, "idempotent": True}),
)


@pytest.fixture(scope="module", params=["aiohttp", "httptools", "httpx"])
def server(
    request: pytest.FixtureRequest, database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("zoo") / f"{request.param}.log"
    server = ServerProcess(database_urls, log, transport=request.param)
    try:
        yield server.start().wait()
    finally:
        server.stop()


@dataclass(slots=True)
class Scene:
    """A tenant with an upstream for every case, its server, its books and the zoo."""

    server: str
    tenant: Tenant
    zoo: Zoo
    books: Books
    slugs: dict[str, str] = field(default_factory=dict)

    async def register(self) -> None:
        self.zoo.lets_go.set()
        for number, case in enumerate(CASES):
            url = self.zoo.url(
                "v1" if case.path.startswith("v1/") else case.path, tag=case.name, **case.query
            )
            options = {"max_attempts": 1, **case.options}
            self.slugs[key(number)] = await self.tenant.upstream(self.server, url, **options)

    async def ask(self, text: str, cases: list[int], **options: Any) -> Answer:
        slugs = [self.slugs[key(number)] for number in cases]
        answer = await self.tenant.process(self.server, text, split={"size": 2}, upstreams=slugs, **options)
        assert answer.status == 200, answer
        return answer

    async def bill(self) -> tuple[int, int, int]:
        """Return the units used, as the client, the ledger's rows and the zoo say."""
        used = await self.tenant.used(self.server)
        return used, await self.books.billed(self.tenant.id), self.zoo.served.total()


def key(number: int) -> str:
    return f"{number} {CASES[number].name}"


@pytest.fixture
async def scene(server: ServerProcess, database_urls: TestDatabase) -> AsyncIterator[Scene]:
    async with open_world(database_urls) as world, open_books(database_urls) as books, Zoo() as zoo:
        scene = Scene(server.url, await world.tenant(max_upstreams=len(CASES)), zoo, books)
        await scene.register()
        yield scene


def seen(result: dict[str, Any], case: Case) -> tuple[Any, ...]:
    """Return what a result says, as far as the contract fixes it for this case."""
    error = result["error"] or {"code": "ok", "status": None, "detail": ""}
    assert case.says in error["detail"]
    code = error["code"] if case.code or error["code"] == "ok" else None
    status = error["status"] if case.status else None
    return code, status, result["attempts"], result["units"], result["success"]


def expected(case: Case) -> tuple[Any, ...]:
    return case.code, case.status, case.attempts, int(case.code == "ok"), case.code == "ok"


def test_the_table_names_every_behaviour_of_the_zoo():
    assert {case.path for case in CASES} == set(BEHAVIOURS)


async def test_each_behaviour_has_the_contracts_code_and_is_billed_as_the_zoo_counted(
    scene: Scene, server: ServerProcess, figures: Figures
):
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(scene.ask(TEXT, [number])) for number in range(len(CASES))]
    found = {
        key(number): sorted(
            {seen(result, CASES[number]) for result in task.result().body["results"]}, key=str
        )
        for number, task in enumerate(asked)
    }
    assert found == {key(number): [expected(case)] for number, case in enumerate(CASES)}
    assert all(task.result().body["total"] == len(CHUNKS) for task in asked)
    assert scene.zoo.served_by_tag == {case.name: len(CHUNKS) for case in CASES if case.code == "ok"}
    used, rows, counted = await scene.bill()
    assert used == rows == counted > 0
    figures(
        f"zoo over HTTP, {server.log.stem}: {len(CASES)} cases of {len(BEHAVIOURS)} behaviours x {len(CHUNKS)} "
        f"chunks: each its code; billed {used}, the zoo counted {counted}"
    )


async def test_all_behaviours_in_one_request_leave_each_other_alone(
    scene: Scene, server: ServerProcess, figures: Figures
):
    numbers = list(range(len(CASES)))
    text = "".join(itertools.islice(itertools.cycle(CHUNKS), 2 * len(CASES)))
    answer = await scene.ask(text, numbers)
    results = answer.body["results"]
    assert [result["index"] for result in results] == list(range(2 * len(CASES)))
    assert "".join(text[result["start"] : result["end"]] for result in results) == text
    found = [seen(result, CASES[result["index"] % len(CASES)]) for result in results]
    assert found == [expected(case) for case in CASES] * 2
    assert answer.body["status"] == "partial"
    assert scene.zoo.served_by_tag == {case.name: 2 for case in CASES if case.code == "ok"}
    used, rows, counted = await scene.bill()
    assert used == rows == counted == answer.body["usage"]["units"] == answer.body["successful"]
    figures(
        f"zoo over HTTP, {server.log.stem}: one request over all: {answer.body['successful']} answered, "
        f"{answer.body['failed']} failed, billed {used}, counted {counted}"
    )


async def test_each_behaviour_as_the_one_that_folds_loses_no_answer_and_is_billed_as_the_zoo_counted(
    scene: Scene, server: ServerProcess, figures: Figures
):
    folds = [{"by": "reduce", "upstream": scene.slugs[key(number)]} for number in range(len(CASES))]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(scene.ask(TEXT, [0], fold=fold)) for fold in folds]
    for case, task in zip(CASES, asked, strict=True):
        answer = task.result().body
        fold, code = answer["fold"], answer["fold"]["error"] and answer["fold"]["error"]["code"]
        assert (code or "ok") == (case.code or code), case.name
        assert (fold["calls"], fold["units"]) == ((1, 1) if code is None else (0, 0))
        assert (answer["successful"], answer["usage"]["units"]) == (len(CHUNKS), len(CHUNKS) + fold["units"])
        assert (answer["status"], answer["output"] is None) == (
            ("succeeded", False) if code is None else ("partial", True)
        )
    used, rows, counted = await scene.bill()
    assert used == rows == counted
    figures(
        f"zoo over HTTP, {server.log.stem}: {len(CASES)} cases as the fold's: billed {used}, counted {counted}"
    )
