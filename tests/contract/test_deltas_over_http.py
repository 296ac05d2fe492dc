"""Tokens of the three AI kinds, from the upstream through our own stream to the client."""

import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.chaos.books import Books, open_books
from tests.chaos.gauges import eventually
from tests.chaos.streaming import open_stream, streamed
from tests.chaos.world import World, open_world
from tests.fixtures.database import TestDatabase
from tests.fixtures.event_streams import Stream
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

KINDS = ("openai", "anthropic", "ollama")
TEXT = "展开叠👩‍👩‍👧‍👦\n\u2028x"


@pytest.fixture(scope="module")
def server(database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(database_urls, tmp_path_factory.mktemp("deltas") / "server.log")
    try:
        yield server.start().wait()
    finally:
        server.stop()


@pytest.fixture
async def world(database_urls: TestDatabase) -> AsyncIterator[World]:
    async with open_world(database_urls) as world:
        yield world


@pytest.fixture
async def books(database_urls: TestDatabase) -> AsyncIterator[Books]:
    async with open_books(database_urls) as books:
        yield books


@pytest.fixture
async def zoo() -> AsyncIterator[Zoo]:
    async with Zoo() as zoo:
        yield zoo


def words(stream: Stream) -> dict[int, str]:
    """Return what was told of each result; all of it must come before the result."""
    told: defaultdict[int, str] = defaultdict(str)
    ended = set()
    for event in stream.events:
        if event.name == "delta":
            assert event.data.keys() == {"index", "text"}
            assert event.data["text"], "an empty delta"
            assert event.data["index"] not in ended, "words after their result"
            told[event.data["index"]] += event.data["text"]
        elif event.name == "chunk":
            ended.add(event.data["index"])
    return dict(told)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_words_of_a_result_come_before_it_and_cost_what_it_costs_without(
    server: ServerProcess, world: World, books: Books, zoo: Zoo, kind: str, figures: Figures
):
    tenant = await world.tenant()
    url = zoo.url("streams/good", ms=50)
    slug = await tenant.upstream(server.url, url, kind=kind, model="m", units_per_1k_input_tokens=1000)
    options: dict[str, Any] = {"split": {"size": 2}, "upstreams": [slug]}
    plain = await tenant.process(server.url, TEXT, **options)
    stream = await streamed(tenant, server, TEXT, **options)
    results = {result["index"]: result["result"] for result in stream.chunks}
    assert results == {result["index"]: result["result"] for result in plain.body["results"]}
    assert words(stream) == results
    assert len(stream.data("delta")) > len(results)
    units = stream.answer["usage"]["units"]
    assert units == plain.body["usage"]["units"] == len(results) * 13
    assert (await books.truth(tenant.id)).used == 2 * units
    figures(
        f"deltas of {kind}: {len(stream.data('delta'))} of {len(results)} results, units as without: {units}"
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_words_of_what_fails_are_void_and_not_billed_and_a_replay_tells_none(
    server: ServerProcess, world: World, books: Books, zoo: Zoo, kind: str
):
    tenant, key = await world.tenant(), secrets.token_hex(8)
    slugs = [
        await tenant.upstream(server.url, zoo.url(f"streams/{how}"), kind=kind, model="m", max_attempts=1)
        for how in ("good", "cut")
    ]
    options = {"split": {"size": 2}, "upstreams": slugs, "key": key}
    first = await streamed(tenant, server, "展开叠好", **options)
    assert [result["success"] for result in first.chunks] == [True, False]
    assert words(first)[0] == first.chunks[0]["result"]
    replay = await streamed(tenant, server, "展开叠好", **options)
    assert (replay.answer, replay.data("delta")) == (first.answer, [])
    assert (await books.truth(tenant.id)).used == first.answer["usage"]["units"] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_who_leaves_amid_the_words_pays_for_no_half_answer(
    server: ServerProcess, world: World, books: Books, zoo: Zoo, kind: str
):
    tenant = await world.tenant()
    slug = await tenant.upstream(server.url, zoo.url("streams/silent"), kind=kind, model="m")
    async with open_stream(tenant, server, "展开", upstreams=[slug]) as stream:
        await stream.until(lambda so_far: "delta" in so_far.names)
    await eventually(lambda: books.reservations([tenant.id]), lambda count: count == 0)
    truth = await books.truth(tenant.id)
    assert (truth.holds, truth.used, zoo.served.total()) == (True, 0, 0)
