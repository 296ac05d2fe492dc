"""`o200k_base`, the vocabulary of GPT-4o and later: counts of tokens, and the pieces they never reach across."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from string import ascii_letters, digits

import toktok

from fanfold.core.values import value
from fanfold.fanout.splitters.classes import Classes

_ENCODING = "o200k_base"
# Classes of the pattern in https://github.com/openai/tiktoken (tiktoken_ext/openai_public.py): ASCII letters for
# themselves, A for other capitals, a small letters, \x01 letters without case, \x02 marks, 0 digits, tab for white
# space, ! for all else.
_CLASSES = Classes(
    {
        "s": "\u017f",  # folds to s in contractions
        "A": r"[\p{Lu}\p{Lt}]",
        "a": r"\p{Ll}",
        "\x01": r"\p{L}",
        "\x02": r"\p{M}",
        "0": r"\p{N}",
        "\t": r"\p{White_Space}",
    },
    other="!",
)
_CLASSES.update({ord(letter): letter for letter in ascii_letters + digits + " \r\n/'"})
_CONTRACTION = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])"


def _pattern(most: str) -> re.Pattern[str]:
    """The pattern with runs of at most `most` code points, so that no search holds the interpreter for long."""
    before, space = r"[^\r\nA-Za-z0-9\x01]?", r"[\t \r\n]"
    return re.compile(
        rf"{before}[A-Z\x01\x02]{{0,{most}}}[a-z\x01\x02]{{1,{most}}}(?:{_CONTRACTION})?"
        rf"|{before}[A-Z\x01\x02]{{1,{most}}}[a-z\x01\x02]{{0,{most}}}(?:{_CONTRACTION})?"
        r"|([0-9]{1,3})"
        rf"|( ?[^\t \r\nA-Za-z0-9\x01]{{1,{most}}}[\r\n/]{{0,{most}}})"
        rf"|({space}{{0,{most}}}[\r\n]{{1,{most}}})"
        rf"|{space}{{1,{most}}}(?![^\t \r\n])"
        rf"|{space}{{1,{most}}}"
    )


_PIECE, _WHOLE_PIECE = _pattern("65535"), _pattern("")
_DIGITS, _SYMBOLS, _LINES = 1, 2, 3  # groups of the pattern
# Where a piece may not be cut, since its parts would be other pieces: within a contraction; before a line end behind
# symbols, or a symbol with a mark; among spaces before a line end.
_UNCUT = {
    None: re.compile(rf"(?<=')(?={_CONTRACTION[1:]}\Z)|(?<='.)(?=[lLeE]\Z)"),
    _SYMBOLS: re.compile(r"(?=[\r\n]|.\x02)", re.DOTALL),
    _LINES: re.compile(r"(?<![\r\n])"),
}
# Between these two nothing is ever merged, whatever stands around them.
_SAFE = re.compile(r"(?<=[^\W_])(?=[\s,.;:!?()\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])")
_BATCH = 1024
_SEARCHED = 16_384
_COUNTED = 131_072  # code points counted in one call, if a safe place follows
_UNSAFE = 1_000_000  # code points after which there is a cut without one


def load() -> None:
    """Load the vocabulary, 63 MiB. It holds the interpreter for 0.4 s: call it before serving, if it is needed."""
    _tokenizer()


def count(text: str) -> int:
    """Return the number of tokens of a text; special tokens count as the text they are.

    Linear for any text, and other threads run meanwhile; for that, a million code points with no space and no stop
    between them are counted in parts, where each cut may count one token too many.
    """
    return sum(counts([part])[0] for part in _counted_parts(text))


def counts(texts: list[str]) -> list[int]:
    """Return the number of tokens of each text. All are converted in one call: keep them short together."""
    numbers: list[int] = toktok.batch_count(texts, _ENCODING, threads=1)
    return numbers


def token_spans(text: str) -> list[tuple[int, int]]:
    """Return where each token begins and ends, in bytes of UTF-8."""
    spans: list[tuple[int, int]] = _tokenizer().encode_with_offsets(text)[1]
    return spans


class Pieces:
    """The pieces of a text, whose tokens are together those of the text. `batches`: the ends of full batches."""

    def __init__(self, text: str) -> None:
        self._classes = _CLASSES.of(text)
        self.batches: list[int] = []

    def ends(self) -> Iterator[list[int]]:
        """Yield in batches where the pieces end; long pieces come alone."""
        pieces = _PIECE.finditer(self._classes)
        while batch := list(islice(pieces, _BATCH)):
            if len(batch) == _BATCH:
                self.batches.append(batch[-1].end())
            if batch[-1].end() - batch[0].start() <= _COUNTED:
                yield [match.end() for match in batch]
            else:
                yield from ([match.end()] for match in batch)

    def cutting(self, start: int, end: int) -> "Cutting":
        """Return how the piece between may be cut."""
        classes = self._classes[start:end]
        match = _WHOLE_PIECE.fullmatch(classes)
        if match is None or match.lastindex == _DIGITS:
            return Cutting(adds_up=False, not_at=frozenset(), merges=True)
        not_at = frozenset(start + place.start() for place in _UNCUT[match.lastindex].finditer(classes))
        return Cutting(adds_up=True, not_at=not_at, merges=match.lastindex == _SYMBOLS)


@value
class Cutting:
    """How a piece may be cut: whether its parts count as they do in the whole, but for cuts `not_at` some places, and
    whether its last part may become one piece with what follows, as a symbol does with a word."""

    adds_up: bool
    not_at: frozenset[int]
    merges: bool


@cache
def _tokenizer() -> toktok._toktok.Tokenizer:
    return toktok._encoding(_ENCODING)  # noqa: SLF001 - the package documents it as its way to offsets


def _counted_parts(text: str) -> Iterator[str]:
    """Cuts where it changes no count, so that no call converts more than a part of the text."""
    start = 0
    while start < len(text):
        end = _safe(text, start + _COUNTED)
        yield text[start:end]
        start = end


def _safe(text: str, position: int) -> int:
    highest = min(position + _UNSAFE, len(text))
    for start in range(position, highest, _SEARCHED):
        match = _SAFE.search(text, start, start + _SEARCHED)
        if match is not None:
            return match.start()
    return max(highest, min(position, len(text)))
