"""Which of some passages speak of what was asked: BM25 over words of Unicode Standard Annex #29.

Okapi BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3,
with its usual k1 and b; the inverse document frequency has 1 added, so that a word of most passages never counts
against one. Each ideograph is a word, so that texts without spaces are ranked too.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import chain

from fanfold.core.values import value
from fanfold.fanout.splitters.words import word_ends

_K1, _B = 1.2, 0.75
_NO_WORD = re.compile(r"^\W+|\W+$")


@value
class Ranked:
    """A passage that shares words with the question: its place among those sent, and its score."""

    index: int
    score: float


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared: without case, compatibility forms or what stands around them."""
    words = []
    start = 0
    for end in _ends(text):
        word = _NO_WORD.sub("", text[start:end])
        if word:
            words.append(unicodedata.normalize("NFKC", word).casefold())
        start = end
    return words


def rank(question: str, passages: Sequence[str]) -> list[Ranked]:
    """Return the passages that share words with the question, the best first, of equals the earlier."""
    scored = scores(set(words_of(question)), [Counter(words_of(passage)) for passage in passages])
    ranked = [Ranked(index, score) for index, score in enumerate(scored) if score > 0]
    return sorted(ranked, key=lambda each: (-each.score, each.index))


def scores(asked: Set[str], counts: Sequence[Counter[str]]) -> list[float]:
    """Return the score of each passage, by how often it has which word.

    Takes as long as the passages have words: asking each of a long question's words of each passage takes seconds.
    """
    shared = [{word: count[word] for word in count if word in asked} for count in counts]
    holding = Counter(chain.from_iterable(shared))
    weights = {word: math.log(1 + (len(counts) - n + 0.5) / (n + 0.5)) for word, n in holding.items()}
    lengths = [count.total() for count in counts]
    average = sum(lengths) / len(counts) if counts else 0.0
    return [
        sum(weights[word] * _saturated(n, length / average) for word, n in found.items())
        for found, length in zip(shared, lengths, strict=True)
    ]


def _ends(text: str) -> Iterator[int]:
    for ends in word_ends(text, 0, len(text)):
        yield from ends
    yield len(text)


def _saturated(times: int, length: float) -> float:
    """Return what a word counts that a passage has so many times; `length` is in average passages."""
    return times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * length))
