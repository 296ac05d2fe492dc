"""Files and lines as clients send them, in pieces and without their length."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson

from tests.jobs.intake import JOBS
from tests.jobs.working import Jobs

JSON = "application/json"
TEXT = "第一句话。A second one! 👨\u200d👩\u200d👧 第三句，长一点。\n\n" * 60
LINES = {"Content-Type": "application/x-ndjson"}
BOUNDARY = "fanfold-测试".encode().hex()
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(
    content: bytes, *, request: Any = None, name: str = "text.txt", media_type: str = "text/plain"
) -> bytes:
    parts = []
    if request is not None:
        asked = request if isinstance(request, bytes) else orjson.dumps(request)
        parts.append(part_of('name="request"', JSON, asked))
    parts.append(part_of(f'name="file"; filename="{name}"', media_type, content))
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def part_of(disposition: str, media_type: str, content: bytes) -> bytes:
    head = (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {media_type}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n"


def lines(*texts: str) -> bytes:
    return b"".join(
        orjson.dumps({"custom_id": f"行-{number}", "text": text}) + b"\n" for number, text in enumerate(texts)
    )


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(0)


async def sent(jobs: Jobs, body: bytes, headers: dict[str, str], *, piece: int = 1000) -> httpx.Response:
    """Send a body without its length, in pieces."""
    return await jobs.tenant.http.post(JOBS, content=in_pieces(body, piece), headers=headers)


async def taken(jobs: Jobs, body: bytes, headers: dict[str, str], *, piece: int = 1000) -> dict[str, Any]:
    answer = await sent(jobs, body, headers, piece=piece)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    return job
