"""`multipart/form-data` (RFC 7578) as it comes: `request`, which is short, then `file`, which may be long."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fanfold.core.errors import MalformedRequest, TooLarge, ValidationFailed
from fanfold.core.values import value

MAX_REQUEST_BYTES = 1024 * 1024
_BROKEN = "The body is not multipart/form-data as RFC 7578 has it: send it with its boundary, complete."
_MOST_PARTS = 2
_ORDER = "Send the part file, before it request (JSON) where there is one, and nothing else."


@dataclass(slots=True)
class _Head:
    """What a part says of itself."""

    fields: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self._disposition.get(b"name", b"").decode(errors="replace")

    @property
    def filename(self) -> str:
        return self._disposition.get(b"filename", b"").decode(errors="replace")

    @property
    def media_type(self) -> str:
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def _disposition(self) -> dict[bytes, bytes]:
        return parse_options_header(self.fields.get("content-disposition", ""))[1]


@value
class FileHead:
    """What the file says of itself: its name and its media type, each may be empty."""

    filename: str
    media_type: str


class JobForm:
    """A job's form. `head` reads up to the file, `content` yields the file's bytes. Raises 400, 413 and 422."""

    def __init__(self, pieces: AsyncIterator[bytes], content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise MalformedRequest(_BROKEN)
        self._pieces = pieces
        self._told: deque[_Head | bytes | None] = deque()  # a part's head, its bytes, its end
        self._names: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._head = _Head()
        self._begun = 0
        self._is_complete = False
        self.request = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._names[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._names[1].extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": lambda: self._told.append(self._head),
                    "on_part_data": lambda data, start, end: self._told.append(data[start:end]),
                    "on_part_end": lambda: self._told.append(None),
                    "on_end": self._complete,
                },
            )
        except FormParserError:
            raise MalformedRequest(_BROKEN) from None

    async def head(self) -> FileHead:
        """Read `request`, where there is one, and return what the file says of itself."""
        part = await self._next_head()
        if part is not None and part.name == "request":
            self.request = await self._short()
            part = await self._next_head()
        if part is None or part.name != "file":
            raise _wrong(_ORDER)
        return FileHead(part.filename, part.media_type)

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes; nothing may follow it."""
        while (told := await self._next()) is not None:
            assert isinstance(told, bytes)  # noqa: S101 (a part's head is read, and it ends before the next)
            yield told
        if await self._next_head() is not None:
            raise _wrong(_ORDER)

    async def _short(self) -> bytes:
        body = bytearray()
        while isinstance(told := await self._next(), bytes):
            body += told
            if len(body) > MAX_REQUEST_BYTES:
                raise TooLarge(
                    f"The part request is over {MAX_REQUEST_BYTES} bytes; the text belongs into file."
                )
        return bytes(body)

    async def _next_head(self) -> _Head | None:
        told = await self._next()
        return told if isinstance(told, _Head) else None

    async def _next(self) -> _Head | bytes | None:
        """Return what is told next; None at the end of a part, and of the whole."""
        while not self._told:
            piece = await anext(self._pieces, None)
            if piece is None:
                if not self._is_complete:
                    raise MalformedRequest(_BROKEN)
                return None
            try:
                self._parser.write(piece)
            except FormParserError:
                raise MalformedRequest(_BROKEN) from None
        return self._told.popleft()

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > _MOST_PARTS:  # here, and not when its turn comes: one piece may hold thousands
            raise _wrong(_ORDER)
        self._head = _Head()

    def _end_header(self) -> None:
        name, value = (bytes(part).decode("latin-1") for part in self._names)
        self._head.fields[name.lower()] = value
        for part in self._names:
            part.clear()

    def _complete(self) -> None:
        self._is_complete = True


def _wrong(message: str) -> ValidationFailed:
    return ValidationFailed(message, errors=[{"loc": ["body"], "msg": message, "type": "value_error"}])
