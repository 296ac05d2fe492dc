"""The danger of one large request: a loop that stands still for all others."""

import asyncio
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import regex

from tests.chaos.world import Tenant, World
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import ServerProcess
from tests.zoo import Zoo

LIMIT_MS = 50.0
SIZE = 5 * 1024 * 1024
CHUNKS = 1_000
TEXTS = {
    "ascii": "The quick brown fox jumps over the lazy dog, then folds what it found. ",
    "chinese": "把一篇很长的文章切成小块，同时送到许多接口，再把回答折叠成一个。",
    "one letter": "a",
    "emoji": "👩‍👩‍👧‍👦🇨🇳👍🏽",
    "quotes": 'He said: "a\\b"\n',
}
# Escaped, a text is longer on the wire, and dearer to read.
ONE_FORM_EACH = (
    ("ascii", False),
    ("chinese", True),
    ("one letter", False),
    ("emoji", False),
    ("quotes", True),
)


@pytest.fixture(scope="module")
def watched(database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log: Path = tmp_path_factory.mktemp("watched") / "watched.log"
    server = ServerProcess(database_urls, log, app="tests.chaos.watched:app")
    try:
        yield server.start().wait()
    finally:
        server.stop()


def text_of(name: str) -> str:
    """Return 5 MB of text, as UTF-8, of whole samples."""
    sample = TEXTS[name]
    return sample * (SIZE // len(sample.encode()))


def graphemes(name: str) -> int:
    sample = TEXTS[name]
    return len(regex.findall(r"\X", sample)) * (SIZE // len(sample.encode()))


async def longest(tenant: Tenant, server: ServerProcess) -> dict[str, float]:
    async with tenant.session.get(f"{server.url}/watch") as answer:
        told: dict[str, float] = json.loads(await answer.read())
    return told


async def post(tenant: Tenant, server: ServerProcess, body: bytes) -> Any:
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": "application/json"}
    async with tenant.session.post(
        f"{server.url}/v1/process", data=io.BytesIO(body), headers=headers
    ) as answer:
        content = await answer.read()
        assert answer.status == 200, content[:1000]
    return await asyncio.to_thread(json.loads, content)


@pytest.fixture
async def tenant(world: World, watched: ServerProcess, zoo: Zoo) -> Tenant:
    tenant = await world.tenant("scale")
    await tenant.upstream(watched.url, zoo.url("ok"))
    await tenant.process(watched.url, "warm 热 🔥 " * 2_000, split={"size": 100})
    return tenant


@pytest.mark.proof
async def test_1000_chunks_of_5_mb_hold_the_loop_for_less_than_50_ms(
    watched: ServerProcess, tenant: Tenant, figures: Figures, *, full: bool
):
    idle, held = 0.0, dict[str, float]()
    for name, escaped in itertools.product(TEXTS, (False, True)) if full else ONE_FORM_EACH:
        text = text_of(name)
        split = {"size": graphemes(name) // CHUNKS}
        body = json.dumps({"text": text, "split": split}, ensure_ascii=escaped).encode()
        await longest(tenant, watched)
        await asyncio.sleep(0.1)
        idle = max(idle, (await longest(tenant, watched))["held_ms"])
        answer = await post(tenant, watched, body)
        busy = await longest(tenant, watched)
        assert answer["status"] == "succeeded"
        assert answer["usage"]["characters"] == len(text)
        assert CHUNKS <= answer["total"] <= CHUNKS + 5
        assert busy["ticks"] > 10
        held[f"{name}, escaped" if escaped else name] = busy["held_ms"]
    told = "; ".join(f"{name} {ms:.0f}" for name, ms in held.items())
    figures(f"event loop: 5 MB in {CHUNKS} chunks hold it for at most (ms): {told}; idle {idle:.0f}")
    assert {name: ms for name, ms in held.items() if ms > LIMIT_MS} == {}
