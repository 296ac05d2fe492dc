from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.template import compiled
from fanfold.fanout.types import Prompt


def render(value, text="你好", index=2, total=7):
    return compiled(value).render(Prompt(text, index, total))


def test_placeholders_are_replaced_in_every_string_at_every_depth():
    template = {"a": ["{chunk}", {"b": "{index} of {total}: «{chunk}»"}], "n": 3, "none": None, "yes": True}
    assert render(template) == {
        "a": ["你好", {"b": "2 of 7: «你好»"}],
        "n": 3,
        "none": None,
        "yes": True,
    }


def test_a_string_that_is_only_a_placeholder_stays_a_string():
    assert render(["{index}", "{total}"]) == ["2", "7"]


@pytest.mark.parametrize(
    "text", ["{", "}}{{", "{chunk", "{0}", "{chunk.__class__}", "{chunk!r}", "{ chunk }", "%s"]
)
def test_other_braces_stay(text):
    assert render(text) == text


def test_placeholders_within_the_chunk_are_text():
    assert render("{chunk}|{index}", text="{index}{total}{chunk}") == "{index}{total}{chunk}|2"


def test_names_of_members_are_not_replaced():
    assert render({"{chunk}": 1}) == {"{chunk}": 1}


def test_one_template_rendered_twice_shares_nothing():
    template = compiled({"a": ["{chunk}"]})
    first = template.render(Prompt("x", 0, 2))
    first["a"].append("mine")
    assert template.render(Prompt("y", 1, 2)) == {"a": ["y"]}


@pytest.mark.parametrize("value", ["{chunk}" * 17, "x" * 70_000, {"a": object()}, float, "\ud800"])
def test_what_is_too_large_or_not_json_is_refused(value):
    with pytest.raises(InvalidPlan):
        compiled(value)


def deep(levels: int):
    value: Any = "{chunk}"
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_bounded():
    assert render(deep(50)) != deep(50)
    with pytest.raises(InvalidPlan):
        compiled(deep(5000))


words = st.text() | st.sampled_from(
    ["{chunk}", "{index}/{total}", 'say "{chunk}"\\n', "文{chunk}🎉", '{chunk}":', "\\{chunk}"]
)
values = st.recursive(
    words | st.integers(-9, 9) | st.none() | st.booleans(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(words, parts, max_size=3),
    max_leaves=6,
)


@given(values, st.text(), st.integers(0, 99))
def test_what_is_written_is_what_is_rendered(value, text, index):
    template, prompt = compiled(value), Prompt(text, index, 100)
    assert orjson.loads(template.write(prompt)) == template.render(prompt)
