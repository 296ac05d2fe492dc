"""The tutorials' endpoint with what every article advises next: one httpx client for all requests.

uvicorn benchmarks.comparison.applications.shared_httpx:app
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request

from benchmarks.naive import Body, call


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=30) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=_client)


@app.post("/process/")
async def process(body: Body, request: Request) -> dict[str, Any]:
    """Cut by characters, gather."""
    size, urls = body.chunk_size, body.api_urls
    chunks = [body.text[start : start + size] for start in range(0, len(body.text), size)]
    calls = (
        call(request.app.state.client, urls[index % len(urls)], chunk) for index, chunk in enumerate(chunks)
    )
    results = await asyncio.gather(*calls)
    return {"total": len(chunks), "successful": sum(r["success"] for r in results), "results": results}
