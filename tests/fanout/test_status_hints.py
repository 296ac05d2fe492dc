"""What a client reads about a status that its upstream answered."""

import pytest

from fanfold.fanout.status_hints import status_hint


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (302, "register the final address"),
        (400, "options"),
        (401, "credential"),
        (402, "paid"),
        (403, "credential"),
        (404, "url and model"),
        (405, "method"),
        (413, "smaller chunks"),
        (422, "request_template"),
        (429, "fewer requests"),
        (529, "overloaded"),
    ],
)
def test_it_says_what_to_do(status, words):
    assert words in status_hint(status)


@pytest.mark.parametrize("status", [418, 500, 503, 599])
def test_where_nothing_is_known_nothing_is_said(status):
    assert status_hint(status) == ""
