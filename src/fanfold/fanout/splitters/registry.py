"""Every splitter by its kind. A new one: a file beside this, and one line here."""

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.splitters.base import Splitter
from fanfold.fanout.splitters.characters import characters
from fanfold.fanout.splitters.markdown import markdown
from fanfold.fanout.splitters.paragraphs import paragraphs
from fanfold.fanout.splitters.sentences import sentences
from fanfold.fanout.splitters.tokens import tokens
from fanfold.fanout.splitters.words import words

SPLITTERS: dict[str, Splitter] = {
    "characters": characters,
    "words": words,
    "sentences": sentences,
    "paragraphs": paragraphs,
    "markdown": markdown,
    "tokens": tokens,
}


def splitter(kind: str) -> Splitter:
    """Return the splitter of this kind. Raises `UnknownKind`."""
    try:
        return SPLITTERS[kind]
    except KeyError:
        raise UnknownKind("splitter", kind, tuple(SPLITTERS)) from None
