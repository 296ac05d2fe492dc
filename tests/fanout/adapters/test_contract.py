"""What every kind of upstream must do alike. A new kind is in the registry, and so in here."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.adapters.registry import ADAPTERS, adapter
from fanfold.fanout.errors import CallFailed, InvalidPlan, Phase, UnknownKind
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import ErrorCode, Price, Prompt, Upstream
from tests.fanout.adapters.vendors import VENDORS, Said

TEXTS = [
    "plain",
    "多語言",
    "مرحبا",
    "👩‍🚀🇯🇵",
    '"quotes" \\ and {braces} {chunk}',
    "line\nline\r\n\t",
    "x" * 50_000,
]
CREDENTIAL = "sk-secret"


def answer_for(kind: str, text: str = "an answer") -> bytes:
    """An answer as this kind's vendor gives it."""
    return orjson.dumps(VENDORS[kind].answer(Said(text))) if kind in VENDORS else b""


class Wire:
    """Answers `body`, and keeps what it was sent."""

    def __init__(self, body: bytes, *, content_type: str | None = "application/json") -> None:
        self.sent: list[UpstreamRequest] = []
        self._response = UpstreamResponse(200, {"content-type": content_type} if content_type else {}, body)

    async def __call__(self, request: UpstreamRequest) -> UpstreamResponse:
        self.sent.append(request)
        await asyncio.sleep(0)
        return self._response


@pytest.fixture(params=sorted(ADAPTERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def upstream(kind: str) -> Upstream:
    return Upstream(
        kind=kind,
        url="https://api.test/v1",
        model="m",
        options={"max_tokens": 100},
        credential=SecretStr(CREDENTIAL),
        price=Price(units_per_1k_input_tokens=1, units_per_1k_output_tokens=1),
    )


async def call(upstream: Upstream, text: str, wire: Wire) -> AdapterAnswer:
    return await adapter(upstream.kind).call(upstream, Prompt(text, 4, 9), wire)


@pytest.mark.parametrize("text", TEXTS)
async def test_the_answer_is_json_and_the_chunk_is_sent_whole(upstream, text):
    wire = Wire(answer_for(upstream.kind))
    answer = await call(upstream, text, wire)
    assert orjson.loads(orjson.dumps(answer.result)) == answer.result
    for sent in wire.sent:
        assert orjson.dumps(text)[1:-1] in (sent.body or b"")
        assert sent.url.startswith("https://api.test/v1")


def assert_credential(upstream: Upstream, sent: UpstreamRequest) -> None:
    defaults = adapter(upstream.kind).defaults
    scheme = f"{defaults.auth_scheme} " if defaults.auth_scheme else ""
    assert sent.headers[defaults.auth_header.lower()] == scheme + CREDENTIAL


async def test_the_credential_goes_into_the_header_alone(upstream):
    wire = Wire(answer_for(upstream.kind))
    await call(upstream, "text", wire)
    for sent in wire.sent:
        assert_credential(upstream, sent)
        assert CREDENTIAL not in sent.url
        assert CREDENTIAL.encode() not in (sent.body or b"")


@pytest.mark.parametrize(
    ("auth_header", "auth_scheme", "value"),
    [
        ("X-API-Key", None, CREDENTIAL),
        ("api-key", "", CREDENTIAL),
        ("Authorization", "Token", f"Token {CREDENTIAL}"),
    ],
)
async def test_header_and_scheme_of_the_credential_are_the_upstreams(
    upstream, auth_header, auth_scheme, value
):
    wire = Wire(answer_for(upstream.kind))
    await call(replace(upstream, auth_header=auth_header, auth_scheme=auth_scheme), "text", wire)
    for sent in wire.sent:
        assert sent.headers[auth_header.lower()] == value


async def test_own_headers_are_sent_once_whatever_their_case(upstream):
    wire = Wire(answer_for(upstream.kind))
    headers = {
        "X-Team": "a",
        "AUTHORIZATION": "mine",
        "X-Api-Key": "mine",
        "Content-Type": "application/vnd.own+json",
    }
    await call(replace(upstream, headers=headers), "text", wire)
    for sent in wire.sent:
        assert sent.headers["x-team"] == "a"
        assert sent.headers["content-type"] == "application/vnd.own+json"
        assert_credential(upstream, sent)
        assert len({name.lower() for name in sent.headers}) == len(sent.headers)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"", ErrorCode.INVALID_ANSWER),
        ("application/json", b"<html>", ErrorCode.INVALID_ANSWER),
        ("application/json", b'{"choices": [', ErrorCode.INVALID_ANSWER),
        ("application/json", b'{"a": NaN}', ErrorCode.INVALID_ANSWER),
        ("application/json", b'{"a": 1e999}', ErrorCode.INVALID_ANSWER),
        ("application/json", b'"\\ud800"', ErrorCode.INVALID_ANSWER),
        ("application/json", b'"\xff\xfe"', ErrorCode.INVALID_ANSWER),
        ("application/json", b"[" * 65 + b"]" * 65, ErrorCode.INVALID_ANSWER),
        ("application/json", b"[" * 5000 + b"]" * 5000, ErrorCode.INVALID_ANSWER),
        ("application/json", b"[" + b"[]," * 60_000 + b"1]", ErrorCode.TOO_LARGE),
        ("text/html", None, ErrorCode.INVALID_ANSWER),
        ("application/octet-stream", None, ErrorCode.INVALID_ANSWER),
        ("application/jsonp", None, ErrorCode.INVALID_ANSWER),
        ("text/event-stream", None, ErrorCode.INVALID_ANSWER),
        ("application/x-ndjson", None, ErrorCode.INVALID_ANSWER),
    ],
)
async def test_an_answer_that_is_not_what_was_asked_is_refused_and_not_repeated(
    upstream, content_type, body, code
):
    body = answer_for(upstream.kind) if body is None else body
    wire = Wire(body, content_type=content_type)
    if upstream.kind == "echo":  # asks nobody
        assert (await call(upstream, "text", wire)).result == "text"
        return
    with pytest.raises(CallFailed) as failure:
        await call(upstream, "text", wire)
    assert failure.value.error.code == code
    assert failure.value.phase is Phase.ANSWERED
    assert not body or body[:8].decode(errors="replace") not in failure.value.error.detail


@pytest.mark.parametrize(
    "content_type", [None, "application/json; charset=utf-8", "application/problem+json", "text/json"]
)
async def test_json_is_taken_under_its_names(upstream, content_type):
    answer = await call(upstream, "text", Wire(answer_for(upstream.kind), content_type=content_type))
    assert answer.result


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_sent_is_counted_whole(upstream, text):
    assert text in "".join(adapter(upstream.kind).texts(upstream, Prompt(text, 0, 1)))


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({"max_tokens": 100}, 100),
        ({}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": "9"}, None),
    ],
)
def test_options_bound_the_tokens_of_an_answer(upstream, options, bound):
    assert adapter(upstream.kind).output_tokens_bound(replace(upstream, options=options)) == bound


def test_an_ai_kind_takes_its_time_and_is_asked_again(kind):
    one = adapter(kind)
    assert (one.defaults.timeout_s, one.defaults.idempotent) == ((60.0, True) if one.is_ai else (10.0, False))


@pytest.mark.parametrize("tokens", [-1, 1.5, "7", None, True, 2**31, 2**63, [1]])
async def test_tokens_that_are_no_count_are_none(upstream, tokens):
    body: Any = orjson.loads(answer_for(upstream.kind) or b"{}")
    counts = body.get("usage", body)
    for name, count in counts.items():
        counts[name] = tokens if type(count) is int else count
    answer = await call(upstream, "text", Wire(orjson.dumps(body)))
    assert (answer.input_tokens, answer.output_tokens) == (None, None)


def test_the_check_passes_a_whole_upstream(upstream):
    adapter(upstream.kind).check(upstream)


@pytest.mark.parametrize(
    "broken",
    [
        {"url": "ftp://api.test"},
        {"url": "https://"},
        {"url": "nonsense"},
        {"url": "https://api.test/a b"},
        {"url": "https://[::1"},
        {"headers": {"X-A": "a\r\nHost: b"}},
        {"headers": {"X A": "a"}},
        {"headers": {"X-A": "é"}},
        {"credential": SecretStr("a\nb")},
        {"auth_header": "X:Y"},
        {"request_template": object()},
        {"request_template": ["{chunk}" * 17]},
    ],
)
def test_the_check_refuses_what_cannot_be_sent(upstream, broken):
    if upstream.kind == "echo":  # sends nothing
        adapter("echo").check(replace(upstream, **broken))
        return
    with pytest.raises(InvalidPlan) as refusal:
        adapter(upstream.kind).check(replace(upstream, **broken))
    assert CREDENTIAL not in str(refusal.value)


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(UnknownKind, match="http_json, openai, anthropic, ollama, echo"):
        adapter("soap")
