"""The tutorials' endpoints beside us: the same request to each, so many chunks of 200 characters."""

import json

from benchmarks.comparison.load import Call
from benchmarks.comparison.mocks import instant
from benchmarks.comparison.server import Server
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Contestant

CHUNK = 200
NAIVE, SHARED_HTTPX, SHARED_AIOHTTP = "tutorial", "shared httpx", "shared aiohttp"
_APPLICATIONS = {
    NAIVE: "benchmarks.naive:app",
    SHARED_HTTPX: "benchmarks.comparison.applications.shared_httpx:app",
    SHARED_AIOHTTP: "benchmarks.comparison.applications.shared_aiohttp:app",
}
_TEXT = "The quick brown fox jumps over the lazy dog. "


def body(chunks: int, url: str) -> bytes:
    """Return a request of so many chunks, all for one upstream."""
    length = CHUNK * chunks
    text = (_TEXT * (length // len(_TEXT) + 1))[:length]
    return json.dumps({"text": text, "chunk_size": CHUNK, "api_urls": [url]}).encode()


def endpoint(stage: Stage, name: str, chunks: int) -> Contestant:
    """Return one of the tutorials' endpoints with a request of so many chunks, zero delay."""

    def start() -> tuple[Server, str]:
        return stage.uvicorn(name, _APPLICATIONS[name])

    server, url = stage.once(name, start)
    return Contestant(name, Call(f"{url}/process/", body(chunks, f"http://{instant(stage)}/instant")), server)
