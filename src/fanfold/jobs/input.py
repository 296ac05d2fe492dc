"""A job's input as it comes: bytes become chunks. Synchronous, so that it is taken off the loop piece by piece."""

import codecs
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from pydantic import ValidationError

from fanfold.core import strict_json
from fanfold.core.errors import MalformedRequest, TooLarge, ValidationFailed
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.splitters.streaming import StreamedText
from fanfold.fanout.types import Chunk
from fanfold.jobs.intake_schemas import JobLine
from fanfold.jobs.stored import StoredChunk
from fanfold.processing.refusals import check_length

_BOM = "\ufeff"
_MEMBERS = frozenset(JobLine.model_fields)
# `\uXXXX\uXXXX` for one code point, and what stands around the text.
_BYTES_A_CODE_POINT, _BYTES_AROUND = 12, 1024

Cut = Callable[[str], Sequence[Chunk]]


class Input(Protocol):
    """What comes in; `characters` are the code points so far."""

    characters: int

    def feed(self, data: bytes) -> Sequence[StoredChunk]:
        """Return the chunks that are complete with these bytes."""
        ...

    def end(self) -> Sequence[StoredChunk]:
        """Return the rest: no more comes."""
        ...


class TextInput:
    """One text in UTF-8, a byte order mark at its beginning left out. Raises 400, 413 and 422."""

    def __init__(self, text: StreamedText, *, max_characters: int) -> None:
        self._text, self._max_characters = text, max_characters
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes = 0
        self.characters = 0

    def feed(self, data: bytes) -> Sequence[StoredChunk]:
        """Return the chunks that are certain by now."""
        self._take(self._decoded(data, is_last=False))
        return _stored(self._text.cut()) if self._text.is_due else ()

    def end(self) -> Sequence[StoredChunk]:
        """Return the last chunks."""
        self._take(self._decoded(b"", is_last=True))
        if not self.characters:
            raise InvalidPlan("text must not be empty.")
        return _stored(self._text.end())

    def _take(self, piece: str) -> None:
        if not self.characters:
            piece = piece.removeprefix(_BOM)
        self.characters += len(piece)
        check_length(self.characters, self._max_characters)
        self._text.add(piece)

    def _decoded(self, data: bytes, *, is_last: bool) -> str:
        begun = self._bytes - len(self._decoder.getstate()[0])
        try:
            piece = self._decoder.decode(data, is_last)
        except UnicodeDecodeError as error:
            raise MalformedRequest(
                f"The file is not UTF-8 at byte {begun + error.start}, counted from 0."
            ) from None
        if "\x00" in piece:
            at = begun + len(piece[: piece.index("\x00")].encode())
            raise MalformedRequest(f"The file holds NUL at byte {at}, counted from 0.")
        self._bytes += len(data)
        return piece


class NdjsonInput:
    """Lines `{"custom_id", "text"}`, each cut by itself; `characters` of their texts. Raises 400, 413 and 422."""

    def __init__(self, cut: Cut, *, max_characters: int, max_line_bytes: int) -> None:
        self._cut, self._max_characters = cut, max_characters
        self._max_line = min(max_line_bytes, max_characters * _BYTES_A_CODE_POINT + _BYTES_AROUND)
        self._unfinished = bytearray()
        self._lines = self._chunks = 0
        self._ids: set[bytes] = set()
        self.characters = 0

    def feed(self, data: bytes) -> Sequence[StoredChunk]:
        """Return the chunks of the lines that these bytes end."""
        *ended, rest = data.split(b"\n")
        chunks: list[StoredChunk] = []
        for part in ended:
            self._extend(part)
            chunks.extend(self._read())
        self._extend(rest)
        return chunks

    def end(self) -> Sequence[StoredChunk]:
        """Return those of a last line without an end."""
        chunks = list(self._read())
        if not self._ids:
            raise InvalidPlan("There must be a line at least.")
        return chunks

    def _extend(self, part: bytes) -> None:
        if len(self._unfinished) + len(part) > self._max_line:
            raise TooLarge(f"Line {self._lines + 1} is over {self._max_line} bytes.")
        self._unfinished += part

    def _read(self) -> Iterator[StoredChunk]:
        data = bytes(self._unfinished)
        self._unfinished.clear()
        self._lines += 1
        if self._lines == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        if not data.strip():
            return
        line = self._line(data)
        self.characters += len(line.text)
        for chunk in self._cut(line.text):
            yield StoredChunk(self._chunks, chunk.start, chunk.end, chunk.text, line.custom_id)
            self._chunks += 1

    def _line(self, data: bytes) -> JobLine:
        number = self._lines
        try:
            line = JobLine.model_validate(strict_json.loads(data))
        except MalformedRequest as error:
            raise MalformedRequest(f"Line {number}: {error.detail.replace('The body', 'It')}") from None
        except ValidationError as error:
            raise _wrong_line(number, error) from None
        if len(line.text) > self._max_characters:
            raise TooLarge(f"Line {number}: the text is over the plan's {self._max_characters} characters.")
        known = hashlib.blake2b(line.custom_id.encode(), digest_size=16).digest()
        if known in self._ids:
            message = f"Line {number}: another line before it has the same custom_id."
            raise ValidationFailed(
                message,
                errors=[{"loc": ["body", number, "custom_id"], "msg": message, "type": "value_error"}],
            )
        self._ids.add(known)
        return line


def _wrong_line(number: int, error: ValidationError) -> ValidationFailed:
    errors = [
        {
            # A client's own member names are input too.
            "loc": ["body", number, *(part if part in _MEMBERS else "*" for part in one["loc"])],
            "msg": one["msg"],
            "type": one["type"],
        }
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return ValidationFailed(f"Line {number}: {len(errors)} error(s); see `errors`.", errors=errors[:20])


def _stored(chunks: Sequence[Chunk]) -> list[StoredChunk]:
    return [StoredChunk(one.index, one.start, one.end, one.text) for one in chunks]
