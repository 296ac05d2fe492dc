"""Languages by their script, and words by their language."""

import regex

_SCRIPTS = {
    "zh": regex.compile(r"\p{Han}"),
    "ja": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    "ar": regex.compile(r"\p{Arabic}"),
    "ko": regex.compile(r"\p{Hangul}"),
    "ru": regex.compile(r"\p{Cyrillic}"),
    "el": regex.compile(r"\p{Greek}"),
    "hi": regex.compile(r"\p{Devanagari}"),
    "en": regex.compile(r"\p{Latin}"),
}
UNDETERMINED = "und"

_EMOJI = r"\p{Extended_Pictographic}[\uFE0F\p{Emoji_Modifier}]*"
_WORD = regex.compile(
    rf"""\p{{Han}}+ | [\p{{Katakana}}ー]{{2,}}
    | {_EMOJI}(?:\u200D{_EMOJI})* | \p{{Regional_Indicator}}{{2}}
    | [[\p{{L}}\p{{M}}\p{{N}}]--[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}]]+(?:['’]\p{{L}}+)*""",
    regex.VERBOSE | regex.VERSION1,
)
_IDEOGRAPHS = regex.compile(r"\p{Han}+")
_ARABIC_ARTICLE = regex.compile(r"^(?:و|ب|ف|ك)?ال(?=\p{Arabic}{3})")
_MARKS = regex.compile(r"[\p{M}ـ]+")

# Ideographs that join words and mean little by themselves: a pair that holds one is not counted.
_JOINING_IDEOGRAPHS = frozenset(
    "的了是在和也就都而及与着或这那他她它我你们个一不有以为之其到得被把从对又很还没"
)
_ENGLISH = """
    a about after again all also an and any are as at be because been before being between both but by can could
    did do does each even every for from had has have he her here him his how i if in into is it it's its just like
    made make many may more most much must my no not now of off on once one only or other our out over own same she
    should so some such than that the their them then there these they this those through to too two under until up
    us very was we were what when where which while who whom whose why will with without would you your
"""
_ARABIC = """
    في من على إلى عن أن إن كان كانت هذا هذه ذلك تلك التي الذي الذين ما لا لم لن قد كل بعد قبل ثم أو كما هو هي
    هم مع بين عند حتى إذا لكن غير أي منه فيه
"""
_RUSSIAN = "и в на не что он она они мы вы это как из за для по от к но"
_STOP_WORDS = frozenset(f"{_ENGLISH} {_ARABIC} {_RUSSIAN}".split())
_SHORTEST_WORD = 3


def language_of(text: str) -> str:
    """Return the ISO 639 code that the most frequent script stands for, or "und". Latin letters count as English."""
    counts = {code: len(script.findall(text)) for code, script in _SCRIPTS.items()}
    # Japanese mixes both scripts, Chinese has no kana at all.
    if counts["ja"] * 8 >= counts["zh"]:
        counts["ja"] += counts["zh"] if counts["ja"] else 0
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] else UNDETERMINED


def words_of(text: str, language: str) -> list[str]:
    """Return the words of a text as they are counted: lower case, Chinese in pairs, Arabic without its article."""
    words: list[str] = []
    for match in _WORD.finditer(text):
        word = match[0]
        if language == "zh" and _IDEOGRAPHS.fullmatch(word):
            words += [word[place : place + 2] for place in range(len(word) - 1)]
        elif language == "ar":
            words.append(_ARABIC_ARTICLE.sub("", _MARKS.sub("", word)).lower())
        else:
            words.append(word.lower())
    return words


def is_stop_word(word: str) -> bool:
    """Whether a word says nothing about what a text is about."""
    if word in _STOP_WORDS or word.isdecimal():
        return True
    if _IDEOGRAPHS.match(word):
        return len(word) == 1 or not _JOINING_IDEOGRAPHS.isdisjoint(word)
    return word.isalpha() and len(word) < _SHORTEST_WORD
