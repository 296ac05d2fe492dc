"""Which pages may open a socket: CORS does not hold for them."""

import pytest

from fanfold.auth.origins import Origins


def asked(*origins: str, host: str = "api.example.com") -> dict[str, object]:
    sent = [(b"origin", origin.encode("latin-1")) for origin in origins]
    return {"type": "websocket", "headers": [(b"host", host.encode()), *sent]}


OURS = Origins("https://api.example.com/below", ["https://app.example.com", "http://localhost:3000"])


@pytest.mark.parametrize(
    "origin",
    ["https://api.example.com", "http://api.example.com", "https://app.example.com", "http://localhost:3000"],
)
def test_ours_and_those_that_the_operator_named_may(origin: str):
    assert OURS.allow(asked(origin))


def test_who_is_no_page_may():
    assert OURS.allow(asked())


def test_the_public_url_counts_also_where_a_proxy_dials_by_another_name():
    assert OURS.allow(asked("https://api.example.com", host="10.0.0.1:8000"))
    assert not OURS.allow(asked("http://api.example.com", host="10.0.0.1:8000"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "", "https://api.example.com.evil.example", "https://api.example.com:444",
        "https://app.example.com:444", "http://app.example.com", "http://localhost", "file://", "é",
    ],
)  # fmt: skip
def test_no_other_may(origin: str):
    assert not OURS.allow(asked(origin))


def test_of_two_neither_counts():
    assert not OURS.allow(asked("https://api.example.com", "https://api.example.com"))


def test_where_any_page_may_any_may():
    assert Origins("http://127.0.0.1:8000", ["*"]).allow(asked("https://anywhere.example"))
