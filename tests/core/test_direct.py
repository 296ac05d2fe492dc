"""Which requests go the short way, and that both ways give one answer."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from fanfold.core.direct import Direct, DirectMiddleware
from fanfold.core.schemas import BodyModel
from fanfold.processing.dependencies import get_fan_out
from tests.fixtures.app import Product

JSON = (b"content-type", b"application/json")


class Number(BodyModel):
    n: int


async def _directly(_request: Request, number: Number) -> Response:
    if number.n < 0:
        Number.model_validate({"n": "a fault of ours"})
    return Response(f"directly {number.n}")


async def _framework(_scope: Scope, receive: Receive, send: Send) -> None:
    read = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"by the framework " + read})


async def _answer(change: Callable[[dict[str, Any]], Any], body: bytes = b'{"n": 5}') -> str:
    server = SimpleNamespace(body_timeout_s=5, max_body_bytes=1000)
    state = SimpleNamespace(settings=SimpleNamespace(server=server))
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/v1/short",
        "query_string": b"",
        "headers": [JSON],
        "app": SimpleNamespace(state=state, dependency_overrides={}),
        "state": {},
    }
    change(scope)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    middleware = DirectMiddleware(
        _framework, answers={"/v1/short": Direct(Number, _directly)}, headers=frozenset({b"idempotency-key"})
    )
    await middleware(scope, receive, send)
    return b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize(
    "change",
    [
        lambda _scope: None,
        lambda scope: scope.update(headers=[(b"content-type", b"Application/JSON ; charset=utf-8")]),
        lambda scope: scope.update(path="/below/v1/short", root_path="/below"),
    ],
)
async def test_the_plainest_go_the_short_way(change: Callable[[dict[str, Any]], Any]):
    assert await _answer(change) == "directly 5"


@pytest.mark.parametrize(
    "change",
    [
        lambda scope: scope.update(method="PUT"),
        lambda scope: scope.update(path="/v1/short/"),
        lambda scope: scope.update(query_string=b"a=1"),
        lambda scope: scope.update(headers=[JSON, (b"idempotency-key", b"")]),
        lambda scope: scope.update(headers=[]),
        lambda scope: scope.update(headers=[JSON, JSON]),
        lambda scope: scope.update(headers=[(b"content-type", b"text/plain")]),
        lambda scope: scope.update(headers=[(b"content-type", b"application/jsonl")]),
        lambda scope: scope.update(headers=[(b"content-type", b"application/json-seq")]),
        lambda scope: scope.update(headers=[(b"content-type", b"application/problem+json")]),
        lambda scope: scope["app"].dependency_overrides.update({get_fan_out: get_fan_out}),
    ],
)
async def test_all_else_goes_by_the_framework(change: Callable[[dict[str, Any]], Any]):
    assert await _answer(change) == 'by the framework {"n": 5}'


async def test_what_is_not_valid_is_read_anew_by_the_framework():
    assert await _answer(lambda _scope: None, b'{"n": "x"}') == 'by the framework {"n": "x"}'


async def test_what_has_been_begun_is_not_begun_anew_whatever_it_raises():
    with pytest.raises(ValidationError):
        await _answer(lambda _scope: None, b'{"n": -1}')


async def test_what_is_refused_is_a_problem():
    assert '"code":"malformed-request"' in await _answer(lambda _scope: None, b"{")


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "a. b.", "split": {"by": "sentences", "size": 2}}',
        b'{"text": ""}', b"{}", b"[]", b"null", b"5", b"{", b'{"text": "a", "text": "b"}', b'{"text": "a", "n": 1}',
        b'{"text": "a", "split": {"size": 0}}', b'{"text": "a", "upstreams": ["nobody"]}', b'{"text": "\\ud800"}',
        '{"text": "先展开，再折叠。", "chunk_size": 3, "split": {}}'.encode(),
    ],
)  # fmt: skip
async def test_both_ways_give_one_answer(product: Product, body: bytes):
    tenant = await product.tenant()
    await tenant.upstream("https://echo.example", kind="echo", is_default=True)
    headers = {"content-type": "application/json"}
    short = await tenant.http.post("/v1/process", content=body, headers=headers)
    long = await tenant.http.post(
        "/v1/process", content=body, headers=headers | {"idempotency-key": "一次".encode().hex()}
    )
    changing = {"id", "instance", "usage", "results"}
    told = [
        {name: value for name, value in answer.json().items() if name not in changing}
        for answer in (short, long)
    ]
    assert (short.status_code, told[0]) == (long.status_code, told[1])
    assert (short.status_code == 200) is (b'"sentences"' in body)
