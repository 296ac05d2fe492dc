"""The tutorials' endpoint, as it is taught: no keys, no limits, no bill. It is here to be measured against.

uvicorn benchmarks.naive:app
"""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    """What a client posts."""

    text: str
    chunk_size: int = 500
    api_urls: list[str]


async def call(client: httpx.AsyncClient, url: str, chunk: str) -> dict[str, Any]:
    """Ask one upstream about one chunk."""
    try:
        response = await client.post(url, json={"text": chunk})
        response.raise_for_status()
        return {"success": True, "result": response.json()}
    except httpx.HTTPError as error:
        return {"success": False, "error": str(error)}


@app.post("/process/")
async def process(body: Body) -> dict[str, Any]:
    """Cut by characters, open a client, gather."""
    size = body.chunk_size
    chunks = [body.text[start : start + size] for start in range(0, len(body.text), size)]
    async with httpx.AsyncClient(timeout=30) as client:
        urls = body.api_urls
        results = await asyncio.gather(
            *(call(client, urls[index % len(urls)], chunk) for index, chunk in enumerate(chunks))
        )
    return {"total": len(chunks), "successful": sum(r["success"] for r in results), "results": results}
