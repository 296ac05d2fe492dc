"""The zoo itself: what it counts is what was written whole to somebody who was there."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.zoo import Zoo
from tests.zoo_behaviours import BEHAVIOURS
from tests.zoo_http import Answer

NEVER_SERVED = [
    "429",
    "500",
    "503",
    "status",
    "garbage",
    "noise",
    "wrong-type",
    "huge",
    "cut",
    "reset",
    "bomb",
]
NEVER_SERVED += ["redirect", "204", "long", "short", "none-such"]


async def ask(zoo: Zoo, target: str, body: bytes = b'{"text": "a"}') -> bytes:
    """Ask by hand, for one answer on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", zoo.port)
    writer.write(
        f"POST /{target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("path", NEVER_SERVED)
async def test_what_should_not_be_accepted_is_not_counted(path):
    async with Zoo() as zoo:
        await ask(zoo, path)
        assert zoo.requests[path] == 1
        assert zoo.served.total() == 0


async def test_an_answer_that_nobody_waits_for_is_not_counted():
    async with Zoo() as zoo:
        _, writer = await asyncio.open_connection("127.0.0.1", zoo.port)
        writer.write(b"GET /slow?ms=1000 HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(30):
            while not zoo.requests["slow"]:
                await asyncio.sleep(0.001)
            writer.close()
            while zoo.open:
                await asyncio.sleep(0.001)
        assert zoo.served.total() == 0


async def test_faults_come_in_about_the_share_asked_for():
    async with Zoo() as zoo:
        for _ in range(300):
            await ask(zoo, "faults?percent=30")
        assert 180 <= zoo.served["faults"] <= 240


def test_every_behaviour_says_what_it_does():
    assert len(BEHAVIOURS) >= 26
    assert Answer(b"{}").encoded().endswith(b"content-length: 2\r\n\r\n{}")


def test_it_runs_as_a_process_and_tells_its_counts():
    command = [sys.executable, "-m", "tests.zoo", "--port", "0", "--lifetime", "120"]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base = f"http://127.0.0.1:{int(process.stdout.readline())}"
            urllib.request.urlopen(f"{base}/ok?text=hi&tag=t", timeout=30).close()
            with urllib.request.urlopen(f"{base}/count", timeout=30) as answer:
                counts = json.load(answer)
        finally:
            process.kill()
    assert (counts["served"], counts["paths"], counts["tags"]) == (1, {"ok": 1}, {"t": 1})
