"""The form of a key."""

import re

from hypothesis import given
from hypothesis import strategies as st

from fanfold.api_keys.keys import has_form, issue


def test_an_issued_key_has_the_contract_s_form():
    issued = issue()
    key = issued.key.get_secret_value()
    assert re.fullmatch(rf"ff_live_{issued.public_id}_[0-9A-Za-z]{{32}}_[0-9A-Za-z]{{6}}", key)
    assert has_form(key)


def test_keys_are_never_alike_and_never_shown_by_accident():
    keys = [issue() for _ in range(1000)]
    assert len({key.key.get_secret_value() for key in keys}) == len({key.public_id for key in keys}) == 1000
    assert keys[0].key.get_secret_value() not in repr(keys[0])


@given(st.text())
def test_garbage_is_no_key_and_no_error(text):
    assert not has_form(text)
