"""The tutorials' endpoint with one aiohttp client for all requests: no key, no limit, no bill.

uvicorn benchmarks.comparison.applications.shared_aiohttp:app
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI, Request

from benchmarks.naive import Body

_TIMEOUT = aiohttp.ClientTimeout(total=30)


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, cookie_jar=jar) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=_client)


async def _call(client: aiohttp.ClientSession, url: str, chunk: str) -> dict[str, Any]:
    try:
        async with client.post(url, json={"text": chunk}) as response:
            response.raise_for_status()
            return {"success": True, "result": await response.json()}
    except aiohttp.ClientError as error:
        return {"success": False, "error": str(error)}


@app.post("/process/")
async def process(body: Body, request: Request) -> dict[str, Any]:
    """Cut by characters, gather."""
    size, urls = body.chunk_size, body.api_urls
    chunks = [body.text[start : start + size] for start in range(0, len(body.text), size)]
    calls = (
        _call(request.app.state.client, urls[index % len(urls)], chunk) for index, chunk in enumerate(chunks)
    )
    results = await asyncio.gather(*calls)
    return {"total": len(chunks), "successful": sum(r["success"] for r in results), "results": results}
