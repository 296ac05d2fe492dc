"""An answer whose body is there, but in pieces."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class PiecewiseResponse(Response):
    """Sends each piece by itself, with the length of the whole: nobody has to copy megabytes at once."""

    def __init__(
        self, pieces: Sequence[bytes], *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        length = sum(map(len, pieces))
        super().__init__(headers={**(headers or {}), "Content-Length": str(length)}, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
