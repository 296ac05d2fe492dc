"""The least that an ASGI application can do: it answers what `/healthz` does.

uvicorn benchmarks.comparison.applications.raw:app
"""

from starlette.types import Receive, Scope, Send

BODY = b'{"status":"ok"}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))],
}
_END = {"type": "http.response.body", "body": BODY}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    await send(_START)
    await send(_END)


async def _live(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": f"{message['type']}.complete"})
