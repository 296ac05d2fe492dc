"""What was asked in a chat, and the text that asks it of an upstream."""

from collections.abc import Sequence
from typing import Any

import regex

from fanfold.processing.sockets.ranking import Ranked, rank, words_of

MOST_PASSAGES = 8
MOST_CONTEXT = 24_000  # code points
_SCRIPTS = (
    "Arabic", "Armenian", "Bengali", "Cyrillic", "Devanagari", "Georgian", "Greek", "Hangul", "Han", "Hebrew",
    "Hiragana", "Katakana", "Latin", "Tamil", "Telugu", "Thai",
)  # fmt: skip
_OF_SCRIPT = {script: regex.compile(rf"\p{{Script={script}}}+") for script in _SCRIPTS}
_TASK = "Answer the question by the passages, in the language of the question. Name the passages by number."


def understood(text: str) -> dict[str, Any]:
    """Return what can be told of a question without a model: its length, and the scripts it is written in."""
    found = {script: sum(map(len, pattern.findall(text))) for script, pattern in _OF_SCRIPT.items()}
    scripts = sorted((script for script in found if found[script]), key=lambda script: -found[script])
    return {"characters": len(text), "words": len(words_of(text)), "scripts": scripts}


def chosen(text: str, passages: Sequence[str]) -> list[Ranked]:
    """Return the best passages: at most 8 that share words with the question, of 24,000 code points together."""
    kept: list[Ranked] = []
    room = MOST_CONTEXT
    for ranked in rank(text, passages):
        if len(passages[ranked.index]) <= room:
            kept.append(ranked)
            room -= len(passages[ranked.index])
    return kept[:MOST_PASSAGES]


def composed(text: str, passages: Sequence[str], best: Sequence[Ranked]) -> str:
    """Return what is sent to the upstream: the question alone, or behind the passages, numbered as they were sent."""
    if not best:
        return text
    quoted = "\n\n".join(f"[{ranked.index + 1}] {passages[ranked.index]}" for ranked in best)
    return f"{_TASK}\n\n{quoted}\n\nQuestion: {text}"
