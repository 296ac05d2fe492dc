"""What the kinds that chat share."""

import pytest

from fanfold.fanout.adapters.chat import finish_reason, text_of
from fanfold.fanout.errors import CallFailed


@pytest.mark.parametrize("word", ["stop", "end_turn", "敏感", "a" * 64])
def test_a_finish_reason_is_the_vendors_own_word(word):
    assert finish_reason(word) == word


def test_a_long_one_is_cut():
    assert finish_reason("多" * 65) == "多" * 64


@pytest.mark.parametrize("value", [None, "", 7, [], {"type": "stop"}, "a\nb", "a\x00", "\u202estop"])
def test_what_is_no_word_is_none(value):
    assert finish_reason(value) is None


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "another", None])
def test_text_is_an_answer_whatever_ended_it(reason):
    assert text_of("text", reason, 200, has_tool_call=False, is_refusal=False) == "text"


@pytest.mark.parametrize("reason", ["stop", "end_turn", "stop_sequence", None])
def test_a_model_that_ended_by_itself_may_have_said_nothing(reason):
    assert text_of("", reason, 200, has_tool_call=False, is_refusal=False) == ""
    with pytest.raises(CallFailed, match="no text"):
        text_of(None, reason, 200, has_tool_call=False, is_refusal=False)


@pytest.mark.parametrize(
    ("reason", "words"),
    [("length", "max_tokens"), ("content_filter", "refused"), ("refusal", "refused"), ("another", "no text")],
)
@pytest.mark.parametrize("text", ["", None])
def test_else_nothing_said_is_no_answer(reason, words, text):
    with pytest.raises(CallFailed, match=words):
        text_of(text, reason, 200, has_tool_call=False, is_refusal=False)


@pytest.mark.parametrize(
    ("has_tool_call", "is_refusal", "words"), [(True, False, "tool"), (False, True, "refused")]
)
def test_words_beside_a_tool_call_or_a_refusal_are_no_answer(has_tool_call, is_refusal, words):
    with pytest.raises(CallFailed, match=words):
        text_of("text", "stop", 200, has_tool_call=has_tool_call, is_refusal=is_refusal)
