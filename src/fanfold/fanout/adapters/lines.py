"""Lines and server-sent events out of pieces that are cut anywhere. Pure: bytes in, lines out, nothing waits."""

from collections.abc import Iterator

from fanfold.fanout.adapters.json_exchange import too_large

# The longest event there is reason for is a whole answer in one.
MAX_LINE_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_ENDS = b"\r\n"


class Lines:
    """Whole lines, as soon as their end has come: CR, LF or CRLF, none of which can be a part of a UTF-8 character.

    Raises `CallFailed` with `too-large` beyond a mebibyte without an end.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0
        self._ended_by_cr = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give the lines that end in this piece, without their ends."""
        if self._ended_by_cr and piece.startswith(b"\n"):
            piece = piece[1:]  # the second half of a CRLF
            self._ended_by_cr = False
        for line in piece.splitlines(keepends=True):
            self._ended_by_cr = line.endswith(b"\r")
            if line[-1] in _ENDS:
                yield self._whole(line.rstrip(_ENDS))
            else:
                self._take(line)

    def rest(self) -> bytes:
        """Return what has come without an end."""
        return self._whole(b"")

    def _take(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_LINE_BYTES:
            raise too_large(f"The upstream's stream has a line of more than {MAX_LINE_BYTES} bytes.")
        self._begun.append(part)

    def _whole(self, end: bytes) -> bytes:
        self._take(end)
        line = b"".join(self._begun)
        self._begun.clear()
        self._size = 0
        return line


class JsonLines:
    """Newline-delimited JSON, as Ollama streams it: the lines that are not empty."""

    media_type = "application/x-ndjson"

    def __init__(self) -> None:
        self._lines = Lines()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give the lines that end in this piece."""
        return filter(None, self._lines.feed(piece))

    def rest(self) -> bytes:
        """Return the last line, where it has no end: newline-delimited JSON may leave it out."""
        return self._lines.rest()


class EventStream:
    """The data of server-sent events: what an event is called and where one would resume is of no use here.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    media_type = "text/event-stream"

    def __init__(self) -> None:
        self._lines = Lines()
        self._is_first = True
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give the data of the events that end in this piece, where they have any."""
        for line in self._lines.feed(piece):
            if (data := self._read(line)) is not None:
                yield data

    def rest(self) -> bytes:
        """Return nothing: an event that has no empty line behind it is none."""
        return b""

    def _read(self, line: bytes) -> bytes | None:
        if self._is_first:
            line, self._is_first = line.removeprefix(_BOM), False
        if not line:
            return self._dispatched()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._take(value.removeprefix(b" "))
        return None

    def _take(self, value: bytes) -> None:
        self._size += len(value) + 1
        if self._size > MAX_LINE_BYTES:
            raise too_large(f"The upstream's stream has an event of more than {MAX_LINE_BYTES} bytes.")
        self._data.append(value)

    def _dispatched(self) -> bytes | None:
        data = b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        return data or None
