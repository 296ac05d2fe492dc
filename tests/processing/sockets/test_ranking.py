"""Passages ranked by words, in scripts with spaces and without."""

import math
from collections import Counter
from collections.abc import Iterator

import pytest

from fanfold.processing.sockets.question import MOST_CONTEXT, MOST_PASSAGES, chosen, composed, understood
from fanfold.processing.sockets.ranking import Ranked, rank, scores, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fan out, THEN fold!", ["fan", "out", "then", "fold"]),
        ("先展开，再折叠。", ["先", "展", "开", "再", "折", "叠"]),
        ("ﬁne Ｆｕｌｌ Straße", ["fine", "full", "strasse"]),
        ("don't stop 3.14", ["don't", "stop", "3.14"]),
        ("…，👩‍👩‍👧!", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]):
    assert words_of(text) == words


def test_the_score_is_that_of_the_formula():
    ((first), (second)) = rank("fold fold", ["fold it", "fold and fold again"])
    weight = math.log(1 + 0.5 / 2.5)
    short, long = 1 - 0.75 + 0.75 * 2 / 3, 1 - 0.75 + 0.75 * 4 / 3
    scores = {0: weight * 2.2 / (1 + 1.2 * short), 1: weight * 2 * 2.2 / (2 + 1.2 * long)}
    assert {first.index: first.score, second.index: second.score} == pytest.approx(scores)
    assert first.score > second.score


def test_rare_words_count_more_than_common_ones():
    passages = ["the cat sat", "the dog sat", "the bird sat", "the the the fox"]
    assert rank("the dog", passages)[0].index == 1


def test_a_chinese_question_finds_the_passage_that_speaks_of_it():
    passages = ["天气很好，适合散步。", "配额在每个月的第一天重新开始。", "API 密钥只显示一次。"]
    assert rank("什么时候配额重新开始？", passages)[0].index == 1


def test_what_shares_no_word_is_not_chosen_and_equals_stay_in_order():
    assert rank("zebra", ["cat", "dog"]) == []
    assert rank("?!", ["cat"]) == []
    assert rank("cat", []) == []
    assert rank("cat", ["…"]) == []
    assert [each.index for each in rank("cat", ["cat", "dog", "cat"])] == [0, 2]


class Looked(set[str]):
    """Words asked for; counts how often one is looked for."""

    times = 0

    def __contains__(self, word: object) -> bool:
        self.times += 1
        return super().__contains__(word)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("A long question takes as long for each passage.")


def test_a_long_question_takes_no_longer_than_its_passages_have_words():
    asked = Looked(map(str, range(20_000)))
    found = scores(asked, [Counter(["1", "x"]), Counter(["x", "y"]), Counter()])
    assert [score > 0 for score in found] == [True, False, False]
    assert asked.times == 4


def test_at_most_so_many_are_chosen_and_none_over_the_room_there_is():
    assert len(chosen("cat", ["cat"] * 20)) == MOST_PASSAGES
    half = "cat " + "x" * (MOST_CONTEXT // 2)
    assert [each.index for each in chosen("cat", [half, half, "cat"])] == [2, 0]
    assert [each.index for each in chosen("cat", ["cat " + "x" * MOST_CONTEXT, "cat"])] == [1]


def test_the_prompt_numbers_passages_as_they_were_sent():
    text = composed("为什么？", ["a", "b", "c"], [Ranked(2, 1.0), Ranked(0, 0.5)])
    assert text.index("[3] c") < text.index("[1] a") < text.index("Question: 为什么？")
    assert "[2]" not in text
    assert composed("为什么？", ["a"], []) == "为什么？"


def test_what_is_understood_is_length_and_scripts():
    assert understood("API 是什么？") == {"characters": 8, "words": 4, "scripts": ["Han", "Latin"]}
    assert understood("这是 API")["scripts"] == ["Latin", "Han"]
    assert understood("👋")["scripts"] == []
