"""A JSON template whose strings take `{chunk}`, `{index}` and `{total}`: parsed once, rendered for each call.

Replaced literally, after parsing and in one pass: never `str.format`, other braces stay, and a placeholder that
stands in the chunk's own text stays too.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.types import Chunk, Prompt

_PLACEHOLDER = re.compile(r"\{(chunk|index|total)\}")
_MAX_BYTES = 64 * 1024
_MAX_CHUNKS = 16


class _Text:
    """A string in pieces: literals at even places, names of placeholders at odd ones."""

    __slots__ = ("_pieces", "literals")

    def __init__(self, text: str) -> None:
        self._pieces = _PLACEHOLDER.split(text)
        # What takes nothing but the chunk has it between its literals.
        self.literals = self._pieces[::2] if set(self._pieces[1::2]) <= {"chunk"} else None

    def render(self, prompt: Prompt, chunk: str) -> str:
        if self.literals is not None:
            return chunk.join(self.literals)
        values = {"chunk": chunk, "index": str(prompt.index), "total": str(prompt.total)}
        pieces = self._pieces.copy()
        pieces[1::2] = [values[name] for name in pieces[1::2]]
        return "".join(pieces)


class Template:
    """A JSON value to be rendered for each chunk."""

    __slots__ = ("_parsed", "_text", "_written")

    def __init__(self, source: bytes) -> None:
        value = orjson.loads(source)
        self._parsed = _parse(value)
        # What looks like a place in a member's name is none.
        self._text = None if _names_a_place(value) else _Text(source.decode())
        literals = None if self._text is None else self._text.literals
        self._written = None if literals is None else [literal.encode() for literal in literals]

    def render(self, prompt: Prompt) -> Any:
        """Return the JSON value with the prompt's text in place of `{chunk}`."""
        return _render(self._parsed, prompt)

    def write(self, prompt: Prompt) -> bytes:
        """Return the same as JSON, without making the value first."""
        if self._text is None:
            return orjson.dumps(self.render(prompt))
        chunk = orjson.dumps(prompt.text)[1:-1]
        if self._written is not None:
            return chunk.join(self._written)
        return self._text.render(prompt, chunk.decode()).encode()


class PromptTemplate:
    """What is sent for a chunk: the chunk alone, or a request's own words with the chunk in them.

    Raises `InvalidPlan` for words without one place for the chunk: what a request_template repeats is the prompt, and
    16 times 16 chunks of 100,000 characters would be held for every call.
    """

    __slots__ = ("_template",)

    def __init__(self, words: str | None) -> None:
        if words is not None and words.count("{chunk}") != 1:
            raise InvalidPlan("prompt needs {chunk} once: the place where the text goes.")
        self._template = None if words is None else compiled(words)

    def prompt(self, chunk: Chunk, total: int) -> Prompt:
        """Return what is sent for `chunk`, the `chunk.index`-th (from 0) of `total`."""
        alone = Prompt(chunk.text, chunk.index, total)
        return alone if self._template is None else Prompt(self._template.render(alone), chunk.index, total)


def compiled(value: Any) -> Template:
    """Return the template of a JSON value, parsed once for equal values.

    Raises `InvalidPlan` where it is not JSON, over 64 KiB, or takes the chunk more than 16 times: rendering is
    done on the event loop and held in memory for every call.
    """
    try:
        source = orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise InvalidPlan("request_template, options and prompt must be JSON.") from None
    if len(source) > _MAX_BYTES or source.count(b"{chunk}") > _MAX_CHUNKS:
        raise InvalidPlan(
            "request_template (with options) and prompt must be under 64 KiB and take {chunk} at most 16 times."
        )
    return _compiled(source)


@lru_cache(maxsize=256)
def _compiled(source: bytes) -> Template:
    return Template(source)


def _parse(value: Any) -> Any:
    match value:
        case str():
            return _Text(value) if _PLACEHOLDER.search(value) else value
        case dict():
            return {name: _parse(member) for name, member in value.items()}
        case list():
            return [_parse(element) for element in value]
        case _:
            return value


def _names_a_place(value: Any) -> bool:
    match value:
        case dict():
            return any(_PLACEHOLDER.search(name) for name in value) or any(
                map(_names_a_place, value.values())
            )
        case list():
            return any(map(_names_a_place, value))
        case _:
            return False


def _render(parsed: Any, prompt: Prompt) -> Any:
    match parsed:
        case _Text():
            return parsed.render(prompt, prompt.text)
        case dict():
            return {name: _render(member, prompt) for name, member in parsed.items()}
        case list():
            return [_render(element, prompt) for element in parsed]
        case _:
            return parsed
