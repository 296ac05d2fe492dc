"""The whole zoo through event streams: each behaviour with the contract's code, no unit lost, none billed too much."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.chaos.books import open_books
from tests.chaos.streaming import streamed
from tests.chaos.world import open_world
from tests.contract.test_zoo_over_http import CASES, CHUNKS, TEXT, Scene, expected, key, seen
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo
from tests.zoo_behaviours import BEHAVIOURS


@pytest.fixture(scope="module")
def server(database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(database_urls, tmp_path_factory.mktemp("zoo") / "streams.log")
    try:
        yield server.start().wait()
    finally:
        server.stop()


@pytest.fixture
async def scene(server: ServerProcess, database_urls: TestDatabase) -> AsyncIterator[Scene]:
    async with open_world(database_urls) as world, open_books(database_urls) as books, Zoo() as zoo:
        scene = Scene(server.url, await world.tenant(max_upstreams=len(CASES)), zoo, books)
        await scene.register()
        yield scene


async def test_each_behaviour_is_told_with_its_code_and_billed_as_the_zoo_counted(
    scene: Scene, server: ServerProcess, figures: Figures
):
    slugs = [scene.slugs[key(number)] for number in range(len(CASES))]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(streamed(scene.tenant, server, TEXT, split={"size": 2}, upstreams=[slug]))
            for slug in slugs
        ]
    streams = [task.result() for task in tasks]
    found = {
        key(number): sorted({seen(result, CASES[number]) for result in stream.chunks}, key=str)
        for number, stream in enumerate(streams)
    }
    assert found == {key(number): [expected(case)] for number, case in enumerate(CASES)}
    assert all(stream.events[0].data["total"] == len(stream.chunks) == len(CHUNKS) for stream in streams)
    assert scene.zoo.served_by_tag == {case.name: len(CHUNKS) for case in CASES if case.code == "ok"}
    told = sum(stream.answer["usage"]["units"] for stream in streams)
    used, rows, counted = await scene.bill()
    assert told == used == rows == counted > 0
    figures(
        f"zoo over streams: {len(CASES)} cases of {len(BEHAVIOURS)} behaviours x {len(CHUNKS)} chunks: each its "
        f"code; told {told}, billed {used}, counted {counted}: units lost 0, over-billed 0"
    )
