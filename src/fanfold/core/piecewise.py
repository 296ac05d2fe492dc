"""An answer whose body is there, but in pieces."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# Up to here one piece is dearer to send than to copy.
_SMALL = 64 * 1024
_OK = HTTPStatus.OK.value  # a call each time, before Python 3.12


class PiecewiseResponse(Response):
    """Sends each piece by itself, with the length of the whole: nobody has to copy megabytes at once."""

    def __init__(
        self, pieces: Sequence[bytes], *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._pieces, self._length = pieces, sum(map(len, pieces))
        # Written here: a third of the work of Starlette's own, which reads what it is given.
        self.status_code = _OK
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % self._length),
            (b"content-type", media_type.encode("latin-1")),
        ]
        if headers:
            own = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ]
            self.raw_headers[:0] = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        *first, last = self._pieces if self._length > _SMALL else [b"".join(self._pieces)]
        for piece in first:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": last, "more_body": False})
