"""The tutorials' `WS /chat/`: a plain text frame is a message."""

from fastapi import WebSocket

from fanfold.core.routing import Router
from fanfold.processing.dependencies import ProcessingServiceDep
from fanfold.processing.sockets.chat import ChatSession
from fanfold.processing.sockets.router import SocketLine

router = Router()


@router.websocket("/chat/")
async def chat_tutorial(socket: WebSocket, line: SocketLine, processing: ProcessingServiceDep) -> None:
    """Chat as on `/v1/chat/ws`."""
    await socket.accept()
    await ChatSession(line, processing, takes_plain_text=True).run()
