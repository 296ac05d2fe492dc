import pytest

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.splitters.registry import SPLITTERS, splitter


def test_six_kinds():
    assert set(SPLITTERS) == {"characters", "words", "sentences", "paragraphs", "markdown", "tokens"}
    assert all(splitter(kind) is SPLITTERS[kind] for kind in SPLITTERS)


def test_an_unknown_kind_says_which_there_are():
    with pytest.raises(UnknownKind, match="markdown, tokens"):
        splitter("pages")
