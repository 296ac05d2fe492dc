"""Every splitter by its kind. A new one: a file beside this, and two lines here."""

from fanfold.core.lazily import on_call
from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.splitters.base import Splitter
from fanfold.fanout.splitters.characters import character_units, characters
from fanfold.fanout.splitters.markdown import markdown, markdown_units
from fanfold.fanout.splitters.paragraphs import paragraph_units, paragraphs
from fanfold.fanout.splitters.sentences import sentence_units, sentences
from fanfold.fanout.splitters.units import UnitsOf
from fanfold.fanout.splitters.words import word_units, words

# Most servers split by no tokens, and the tokenizer is a library of its own.
_TOKENS = "fanfold.fanout.splitters.tokens"

SPLITTERS: dict[str, Splitter] = {
    "characters": characters,
    "words": words,
    "sentences": sentences,
    "paragraphs": paragraphs,
    "markdown": markdown,
    "tokens": on_call(_TOKENS, "tokens"),
}

# What each of them packs, for texts that come in pieces.
UNITS: dict[str, UnitsOf] = {
    "characters": character_units,
    "words": word_units,
    "sentences": sentence_units,
    "paragraphs": paragraph_units,
    "markdown": markdown_units,
    "tokens": on_call(_TOKENS, "token_units"),
}


def splitter(kind: str) -> Splitter:
    """Return the splitter of this kind. Raises `UnknownKind`."""
    try:
        return SPLITTERS[kind]
    except KeyError:
        raise UnknownKind("splitter", kind, tuple(SPLITTERS)) from None


def units_of(kind: str) -> UnitsOf:
    """Return what makes the units that the splitter of this kind packs. Raises `UnknownKind`."""
    try:
        return UNITS[kind]
    except KeyError:
        raise UnknownKind("splitter", kind, tuple(UNITS)) from None
