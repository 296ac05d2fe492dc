"""A client that sends pings and reads no pongs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from fanfold.core.socket_protocol import SocketProtocol
from tests.fixtures.sockets import served

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: fanfold.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# Masked with zeros: 125 bytes is all that a ping holds.
PING = b"\x89\xfd\0\0\0\0" + b"x" * 125
PONG = b"\x8a\x7d" + b"x" * 125
BATCH = 1_000
# Far more than the kernel keeps for both sides.
MOST = 400 * BATCH
MESSAGE, ECHO = b"\x81\x82\0\0\0\0hi", b"\x81\x02hi"


def echoing() -> FastAPI:
    app = FastAPI()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(await websocket.receive_text())

    return app


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with served(echoing(), ws=SocketProtocol, ws_ping_interval=None) as sockets:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", sockets.port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=64 * 1024)
        writer.write(HANDSHAKE)
        assert b"101 Switching Protocols" in await reader.readuntil(b"\r\n\r\n")
        try:
            yield reader, writer
        finally:
            writer.close()


async def flood(writer: asyncio.StreamWriter) -> int:
    """Send pings until nobody takes them any more; returns how many."""
    sent = 0
    with suppress(TimeoutError):
        while sent < MOST:
            writer.write(PING * BATCH)
            sent += BATCH
            async with asyncio.timeout(3):
                await writer.drain()
    return sent


async def test_pings_are_left_unread_while_pongs_are_and_each_is_answered_in_the_end():
    async with connected() as (reader, writer), asyncio.timeout(60):
        sent = await flood(writer)
        assert sent < MOST
        assert await reader.readexactly(sent * len(PONG)) == PONG * sent


async def test_messages_come_through_between_pings():
    async with connected() as (reader, writer), asyncio.timeout(60):
        for _ in range(3):
            writer.write(PING + MESSAGE)
            answers = await reader.readexactly(len(PONG) + len(ECHO))
            assert answers == PONG + ECHO
