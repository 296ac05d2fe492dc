"""The danger of reading in pieces: an escape or a pair cut in two, an end overlooked."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.core.errors import MalformedRequest
from fanfold.core.long_json import PIECE, decode_utf8
from fanfold.core.strict_json import loads

SAMPLES = (
    "a",
    "ab",
    '"',
    "\\",
    '\\"',
    "\n",
    "é",
    "语",
    "😀",
    "👩‍👩‍👧‍👦",
    'a"',
    "\\u00e9",
    "x😀",
    "\\\\",
    "/",
)


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("shift", range(13))
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_long_text_comes_back_wherever_it_is_cut(sample, shift, escaped):
    text = "x" * shift + sample * (PIECE // len(sample) + 20)
    value = {"text": text, "size": 3, "more": ["", text[:PIECE], None]}
    assert loads(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), st.booleans())
def test_any_text_comes_back(sample, escaped):
    text = sample * (PIECE // len(sample) + 1)
    assert loads(json.dumps([text], ensure_ascii=escaped).encode()) == [text]


@pytest.mark.parametrize(
    "end",
    [
        "", "\\", "\\u", "\\u12", "\\uzzzz", "\\x", "\\ud800", "\\udc00", "\\ud800\\u0041", "\\ud83d\\ude0", "\x01",
        "\\u0000", "\x00", '"', '" x', '\\"', "\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("shift", [0, 1, 6, PIECE - 13])
def test_a_long_text_that_is_not_json_is_refused(end, shift):
    for close in ("", '"]'):
        body = '["' + "语" * PIECE + "x" * shift + end + close
        if (end, close) == ('\\"', '"]'):
            assert len(loads(body.encode())[0]) == PIECE + shift + 1
        elif (end, close) != ("", '"]'):
            with pytest.raises(MalformedRequest):
                loads(body.encode())


@pytest.mark.parametrize("body", [b"\xff", b"\xe8\xaf", "语".encode() * PIECE + b"\xe8", b"\xed\xa0\x80"])
def test_what_is_no_utf8_is_refused(body):
    with pytest.raises(UnicodeDecodeError):
        decode_utf8(b"a" * PIECE + body)
