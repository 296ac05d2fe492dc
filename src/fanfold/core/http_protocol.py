"""HTTP of uvicorn, for answers of many headers."""

from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

# What most answers have, and that neither ends the connection nor says how the body is framed.
_PLAIN = frozenset(
    {
        b"cache-control",
        b"content-length",
        b"content-security-policy",
        b"content-type",
        b"cross-origin-resource-policy",
        b"date",
        b"location",
        b"ratelimit",
        b"ratelimit-policy",
        b"referrer-policy",
        b"server",
        b"server-timing",
        b"strict-transport-security",
        b"vary",
        b"x-content-type-options",
        b"x-frame-options",
        b"x-process-time",
        b"x-request-id",
    }
)
_PERMITTED = bytes({*range(0x20, 0x100), 0x09} - {0x7F})  # in a value (RFC 9110, section 5.5)


class _Form(NamedTuple):
    """What answers with headers of the same names have in common: the lines of their heads, but for the values."""

    lines: bytes
    length_at: int  # which of the values is that of Content-Length
    line_ends: bytes


@lru_cache(maxsize=256)
def _form(names: tuple[bytes, ...]) -> _Form | None:
    """Return the form of a plain answer, whose length is known; else None."""
    if b"content-length" not in names or not _PLAIN.issuperset(names):
        return None
    lines = b"".join([name + b": %b\r\n" for name in names]) + b"\r\n"
    return _Form(lines, names.index(b"content-length"), b"\r\n" * (len(names) + 1))


class HttpProtocol(HttpToolsProtocol):
    """Writes plain answers at once, head and body together: one call of the system instead of two.

    Of each header uvicorn asks two patterns; an answer of ours has a dozen, and is looked at as a whole: its names are
    nearly always those of another one, so that its head is theirs with other values.
    """

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = _Cycle  # uvicorn makes it where nobody can say of which class
        super()._start_asgi_task(cycle, app)


class _Cycle(RequestResponseCycle):
    """A request and its answer: keeps the start of a plain answer until its body is there."""

    _start: Any = None
    _form: _Form
    _values: tuple[bytes, ...]

    async def send(self, message: Any) -> None:
        start = self._start
        if start is None:
            if message["type"] != "http.response.start" or not self._keeps(message):
                await super().send(message)
            return
        self._start = None
        if not self._has_sent(start, message):
            await super().send(start)
            await super().send(message)

    async def send_500_response(self) -> None:
        self._start = None  # an answer that was begun, and never had a body
        await super().send_500_response()

    def _keeps(self, start: Any) -> bool:
        """Keep the start of an answer, if it is plain."""
        if "headers" not in start or self.response_started or self.scope["method"] == "HEAD":
            return False
        headers = [*self.default_headers, *start["headers"]]
        names, values = zip(*headers, strict=True) if headers else ((), ())
        form = _form(names)
        if form is None:
            return False
        self._start, self._form, self._values = start, form, values
        return True

    def _has_sent(self, start: Any, end: Any) -> bool:
        """Send the whole answer, if uvicorn has nothing to say to it: then false, and nothing is sent."""
        if end.get("more_body") or self.disconnected or not self.keep_alive or self.flow.write_paused:
            return False
        form, values, body = self._form, self._values, end.get("body", b"")
        if values[form.length_at] != b"%d" % len(body):
            return False
        lines = form.lines % values
        if lines.translate(None, _PERMITTED) != form.line_ends:
            return False  # a value would end its line
        self.transport.writelines((STATUS_LINE[start["status"]] + lines, body))
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True
