"""Texts that splitters are likely to get wrong, and what they are measured by, computed apart from the product."""

from itertools import accumulate

import regex
from hypothesis import strategies as st

PIECES = (
    "Hello, world! ", "a", "B", "don't ", "Mr. Smith ", "3.14", "x.y", "_id", " ", "  ", "\t", "\n", "\r\n", "\n\n",
    "\r\n\r\n", "\r", "\u2028", "\u2029", "\x85", "\u00a0", "\u200b", "\u00ad", "...", "?! ", ") ", "\u201cYes.\u201d ",
    "中文字", "，", "。", "！」", "日本語のテスト", "カタカナ", "한국어 ", "ᄀ", "ᅡ", "ᆨ", "각",
    "العربية ", "لُغَةٌ", "؟ ", "١٢٣٤", "\u0600", "हिन्दी ", "क्", "ष", "कि", "।", "ก", "ำ", "ภาษา", "ក្ក",
    "👨\u200d👩\u200d👧\u200d👦", "🇩🇪", "🇩", "1\ufe0f\u20e3", "👍🏽", "❤\ufe0f", "😀", "\u200d", "\ufe0f",
    "e\u0301", "\u0301", "z\u0334\u0321\u034e", "Ⓜ", "㊗", "©",
    "# Title\n", "## Part\n\n", "Title\n===\n", "---\n", "```py\nx = 1\n", "```\n", "~~~\n", "| a | b |\n", "- item\n",
    "> quote\n", "    code\n", "<|endoftext|>",
)  # fmt: skip
texts = (
    st.lists(
        st.one_of(
            st.sampled_from(PIECES),
            st.sampled_from(PIECES),
            st.text(st.characters(codec="utf-8"), max_size=3),
        ),
        min_size=1,
        max_size=60,
    )
    .map("".join)
    .filter(bool)
)
sizes = st.sampled_from((1, 2, 3, 5, 8, 20, 60, 300))


def grapheme_bounds(text: str) -> list[int]:
    """Every grapheme boundary, by the library's own rule over the whole text."""
    return list(accumulate(map(len, regex.findall(r"\X", text)), initial=0))


def chunks(text: str, spans: list[tuple[int, int]]) -> list[str]:
    return [text[start:end] for start, end in spans]
