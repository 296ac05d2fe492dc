"""Clients that hang up at a random point of their request, over sockets of their own."""

import asyncio
import contextlib
import json
import random
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

from tests.chaos.world import Tenant

RESET = struct.pack("ii", 1, 0)


def request_bytes(tenant: Tenant, server: str, body: Any) -> bytes:
    payload = json.dumps(body).encode()
    lines = (
        "POST /v1/process HTTP/1.1",
        f"host: {urlsplit(server).netloc}",
        f"authorization: Bearer {tenant.key}",
        "content-type: application/json",
        f"content-length: {len(payload)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + payload


async def hang_up(
    tenant: Tenant, server: str, body: Any, *, chance: random.Random, patience_s: float = 0.15
) -> str:
    """Send the request and leave: amid sending it, while it runs, or amid its answer. Returns where."""
    data = request_bytes(tenant, server, body)
    where = chance.choice(("sending", "waiting", "waiting", "reading"))
    sent = chance.randrange(1, len(data)) if where == "sending" else len(data)
    parts = urlsplit(server)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=64)
    try:
        writer.write(data[:sent])
        await writer.drain()
        if where == "waiting":
            await asyncio.sleep(chance.uniform(0, patience_s))
        elif where == "reading":
            await reader.read(chance.randrange(1, 200))
    finally:
        if chance.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return where
