"""Extractive summaries without a model: the sentences that hold the most of what the text repeats."""

from collections import Counter
from collections.abc import Sequence
from math import sqrt

import regex

from fanfold.core.values import value
from fanfold.demo.words import is_stop_word, language_of, words_of

MAX_SENTENCES = 5
MAX_KEYWORDS = 5
MAX_SENTENCE_GRAPHEMES = 400

# A full stop ends a sentence before a space only ("3.5", "fanfold.dev"); the ideographic ones always do.
_SENTENCE = regex.compile(r"""[^\n]+?(?:[.!?…؟۔]+["'”’»)\]]*(?=\s|$)|[。！？]+[」』）”]*|(?=\n)|$)""")
_ENDS_WELL = regex.compile(r"""[.!?…؟۔。！？]["'”’»)\]」』）]*$""")
_CJK = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Block=CJK_Symbols_And_Punctuation}\uFF01-\uFF65ー…]"
)
_GRAPHEMES = regex.compile(rf"\X{{0,{MAX_SENTENCE_GRAPHEMES}}}")


@value
class Summary:
    """The chosen sentences in their order, what the text is about, its length in code points and its language."""

    summary: str
    keywords: tuple[str, ...]
    characters: int
    language: str


def summarise(text: str) -> Summary:
    """Summarise a text to about a quarter of its sentences, at most five. The same text gives the same summary."""
    language = language_of(text)
    counts = Counter(word for word in words_of(text, language) if not is_stop_word(word))
    sentences = [stripped for match in _SENTENCE.finditer(text) if (stripped := match[0].strip())]
    wanted = min(max(1, len(sentences) // 4), MAX_SENTENCES)
    best = sorted(
        sorted(range(len(sentences)), key=lambda place: -_score(sentences[place], counts, language))[:wanted]
    )
    return Summary(
        summary=_joined([_shortened(sentences[place]) for place in best]),
        keywords=_keywords(counts),
        characters=len(text),
        language=language,
    )


def _score(sentence: str, counts: Counter[str], language: str) -> float:
    words = words_of(sentence, language)
    if not words:
        return 0.0
    weight = sum(counts[word] for word in set(words)) / sqrt(len(words))
    # A chunk cut from a longer text begins and ends in the middle of sentences: whole ones read better.
    if sentence[0].islower() or not _ENDS_WELL.search(sentence):
        weight /= 2
    return weight


def _joined(sentences: Sequence[str]) -> str:
    """Join sentences by a space, and without one where Chinese or Japanese meets the same, which write none."""
    joined = ""
    for sentence in sentences:
        writes_none = _CJK.match(sentence) is not None and _CJK.match(joined[-1:]) is not None
        joined += sentence if writes_none or not joined else f" {sentence}"
    return joined


def _shortened(sentence: str) -> str:
    found = _GRAPHEMES.match(sentence)
    start = found[0] if found else ""
    return start if len(start) == len(sentence) else f"{start}…"


def _keywords(counts: Counter[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    for word, _ in counts.most_common(MAX_KEYWORDS * 4):
        if not _overlaps(word, chosen):
            chosen.append(word)
    return tuple(chosen[:MAX_KEYWORDS])


def _overlaps(word: str, chosen: Sequence[str]) -> bool:
    """Whether a pair of ideographs is the neighbour of one already chosen: of 修道院, 修道 is enough."""
    return regex.fullmatch(r"\p{Han}{2}", word) is not None and any(
        word[0] == other[-1] or word[-1] == other[0] for other in chosen
    )
