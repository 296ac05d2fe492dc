"""`/v1/process/ws` and `/v1/chat/ws`."""

from typing import Annotated

from fastapi import Depends, WebSocket

from fanfold.core.routing import Router
from fanfold.processing.answering import ProcessPrincipal
from fanfold.processing.dependencies import KeptAnswersDep, ProcessingServiceDep
from fanfold.processing.sockets.channel import Channel
from fanfold.processing.sockets.chat import ChatSession
from fanfold.processing.sockets.gate import Gate
from fanfold.processing.sockets.keyed import Keys
from fanfold.processing.sockets.process import ProcessSession
from fanfold.processing.sockets.session import Line

router = Router()


async def _line(socket: WebSocket, _principal: ProcessPrincipal) -> Line:
    state = socket.app.state
    gate = Gate(
        watched=socket.scope["state"]["watched"],
        drain=state.drain,
        rate_limits=state.rate_limit_store,
        concurrency=state.concurrency,
        count=state.count,
    )
    return Line(
        receive=socket.receive,
        channel=Channel(socket.send),
        gate=gate,
        offload=state.offload,
        max_frame_bytes=state.settings.server.max_body_bytes,
    )


SocketLine = Annotated[Line, Depends(_line)]


@router.websocket("/v1/process/ws")
async def process_socket(
    socket: WebSocket, line: SocketLine, processing: ProcessingServiceDep, answers: KeptAnswersDep
) -> None:
    """Process texts over one socket: `docs/websockets.md` has the frames."""
    await socket.accept()
    keys = Keys(answers, socket.app.state.key_ring, line.offload)
    await ProcessSession(line, processing, keys).run()


@router.websocket("/v1/chat/ws")
async def chat_socket(socket: WebSocket, line: SocketLine, processing: ProcessingServiceDep) -> None:
    """Ask one question after another, over passages that come with it."""
    await socket.accept()
    await ChatSession(line, processing).run()
