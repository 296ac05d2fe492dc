"""What a lenient decoder lets through, a database or a client chokes on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.core.errors import MalformedRequest
from fanfold.core.strict_json import MAX_DEPTH, MAX_DIGITS, MAX_MEMBERS, MAX_VALUES, loads

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: st.lists(inner)
    | st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\x00")), inner),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_valid_json_comes_back_as_it_was(value):
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1} x',
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\\u0000"}',
        b'{"a":"x\x00"}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        '{"a":1}'.encode("utf-16"),
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH,
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"1" * 5000,
        b"1" * (MAX_DIGITS + 1),
        b"[" + b"0," * MAX_VALUES + b"0]",
        b"[" + b"[]," * (MAX_VALUES // 2) + b"0]",
        b"[" + b'{"a":"\\\\"},' * (MAX_VALUES // 2) + b"0]",
        b"[" + b'"\\"",' * 10 * MAX_VALUES + b"0]",
        b"{" + b",".join(b'"%d":0' % number for number in range(MAX_MEMBERS + 1)) + b"}",
    ],
)
def test_refuses_what_is_not_strict_json(body):
    with pytest.raises(MalformedRequest):
        loads(body)


def test_takes_the_deepest_that_is_allowed():
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_takes_as_many_values_as_are_allowed():
    assert len(loads(b"[" + b"0," * (MAX_VALUES - 1) + b"0]")) == MAX_VALUES
    assert (
        len(loads(b"{" + b",".join(b'"%d":0' % number for number in range(MAX_MEMBERS)) + b"}"))
        == MAX_MEMBERS
    )


@pytest.mark.parametrize("ending", ["", "\\", '"', '\\"', '"\\', "\\\\"])
def test_what_separates_words_in_a_text_separates_no_values(ending):
    text = 'one, "two", [three], {four}, \\, \\", ' * 10_000 + ending
    for body in (
        json.dumps({"text": text, "size": 1}),
        json.dumps({"text": text}, indent=1, ensure_ascii=False),
    ):
        assert loads(body.encode())["text"] == text


def test_takes_emoji_written_as_surrogate_pairs():
    assert loads(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}
