"""Refusals come in the contract's order: of two faults in one request, the earlier one is told.

404/405 for the route, 401, 403, 429, 415, 413, 400, 422, 404 for the object, 409, 402.
"""

import asyncio

import pytest

from fanfold.auth.principal import TENANT_SCOPES
from fanfold.core.identifiers import uuid7
from tests.adversarial.judging import judge_problem
from tests.adversarial.raw import JSON, bearer, endless, send_raw
from tests.adversarial.routes import Party, guarded_routes

pytestmark = pytest.mark.asyncio(loop_scope="module")

_XML = ("content-type", b"application/xml")
_HUGE = ("content-length", b"33554433")
NOT_JSON, NOT_VALID = b"{", b"{}"


@pytest.fixture
def send(arena):
    async def send(method, target, *headers, status, **more):
        answer = await send_raw(arena.app, method, target, headers, **more)
        assert judge_problem(answer, status={status}) == "", answer.text
        return answer

    return send


async def test_a_route_that_is_not_there_comes_before_the_credential(send):
    await send("POST", "/v1/nothing", bearer("garbage"), JSON, status=404, body=endless())
    await send("PUT", "/v1/upstreams", bearer("garbage"), JSON, status=405, body=endless())


async def test_the_credential_and_the_scope_come_before_the_body_is_read(arena, send):
    """On every route: a body that never ends would hold a stranger's connection for ever."""
    party = await Party.invite(arena)
    without = {scope: await arena.key(party.tenant.id, TENANT_SCOPES - {scope}) for scope in TENANT_SCOPES}
    for route in guarded_routes(arena.app):
        url = party.url(route)
        await send(route.method, url, JSON, status=401, body=endless())
        await send(route.method, url, bearer("ff_live_garbage"), _XML, _HUGE, status=401, body=endless())
        if route.for_all:  # no credential that holds is refused
            continue
        stranger = party.tenant.key if route.for_operators else party.operator.headers["authorization"][7:]
        await send(route.method, url, bearer(stranger), JSON, status=403, body=endless())
        if route.requirement and route.requirement.scope in without:
            answer = await send(
                route.method,
                url,
                bearer(without[route.requirement.scope]),
                _XML,
                _HUGE,
                status=403,
                body=endless(),
            )
            assert answer.json()["code"] == "insufficient-scope"


async def test_below_a_root_path_too(send):
    headers, below = (JSON, bearer("garbage")), {"root_path": "/api"}
    await send("POST", "/api/v1/upstreams", *headers, status=401, body=endless(), **below)
    await send("PUT", "/api/v1/upstreams", *headers, status=405, body=endless(), **below)
    await send("POST", "/apiary/v1/upstreams", *headers, status=404, body=endless(), **below)


async def test_suspended_comes_before_the_body_and_before_the_rate(arena, send):
    tenant, operator = await arena.tenant(requests_per_minute=1, burst=1), await arena.operator()
    await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")
    for _ in range(3):
        answer = await send("POST", "/v1/process", bearer(tenant.key), _XML, status=403, body=endless())
        assert answer.json()["code"] == "tenant-suspended"


async def test_scope_comes_before_the_rate_and_the_rate_before_the_media_type(arena, send):
    tenant = await arena.tenant(requests_per_minute=1, burst=1)
    without = await arena.key(tenant.id, ["jobs"])
    await tenant.http.get("/v1/upstreams")
    answer = await send("POST", "/v1/process", bearer(tenant.key), _XML, _HUGE, status=429, body=endless())
    assert int(answer.headers["retry-after"]) >= 1
    await send("POST", "/v1/process", bearer(without), _XML, status=403, body=endless())


async def test_the_media_type_comes_before_the_size(arena, send):
    key = bearer((await arena.tenant()).key)
    await send("POST", "/v1/process", key, _XML, _HUGE, status=415, body=endless())


async def test_the_size_comes_before_the_syntax_and_is_told_by_its_length_alone(arena, send):
    key = bearer((await arena.tenant()).key)
    await send("POST", "/v1/process", key, JSON, _HUGE, status=413, body=endless())
    answer = await send("POST", "/v1/process", key, JSON, status=413, content=b"{" * 33_554_433)
    assert answer.headers["connection"] == "close"


async def test_a_body_that_says_it_is_small_is_counted_all_the_same(arena, send):
    async def much():
        while True:
            yield b" " * 1_000_000

    key = bearer((await arena.tenant()).key)
    await send("POST", "/v1/process", key, JSON, ("content-length", b"2"), status=413, body=much())


async def test_the_syntax_comes_before_the_query_and_the_members(arena, send):
    key = bearer((await arena.tenant()).key)
    await send("POST", "/v1/process?unknown=1", key, JSON, status=400, content=NOT_JSON)
    await send("POST", "/v1/process?unknown=1", key, JSON, status=422, content=NOT_VALID)


async def test_the_members_come_before_the_object(arena, send):
    key = bearer((await arena.tenant()).key)
    for path in ("/v1/upstreams", "/v1/api-keys"):
        await send("PATCH", f"{path}/{uuid7()}", key, JSON, status=400, content=NOT_JSON)
        await send("PATCH", f"{path}/{uuid7()}", key, JSON, status=422, content=b'{"unknown": 1}')
        await send("PATCH", f"{path}/{uuid7()}", key, JSON, status=404, content=b"{}")


async def test_the_address_comes_before_the_object_and_the_object_before_the_conflict(arena, send):
    tenant = await arena.tenant(max_upstreams=1)
    taken = await tenant.upstream("https://one.example/")
    key = bearer(tenant.key)
    body = b'{"slug": "%s"}' % taken["slug"].encode()
    await send("PATCH", f"/v1/upstreams/{uuid7()}", key, JSON, status=404, content=body)
    bad = b'{"slug": "new", "kind": "http_json", "url": "https://10.0.0.1/"}'
    await send("POST", "/v1/upstreams", key, JSON, status=422, content=bad)
    bad = b'{"slug": "new", "kind": "http_json", "url": "https://two.example/", "response_path": "["}'
    await send("POST", "/v1/upstreams", key, JSON, status=422, content=bad)
    good = b'{"slug": "new", "kind": "http_json", "url": "https://two.example/"}'
    await send("POST", "/v1/upstreams", key, JSON, status=409, content=good)


async def test_what_is_asked_for_comes_before_the_quota(arena, send):
    tenant = await arena.tenant(monthly_units=0)
    key = bearer(tenant.key)
    text = b'{"text": "x", "upstreams": ["%s"]}'
    await send("POST", "/v1/process", key, JSON, status=422, content=text % b"unknown")
    known = (await tenant.upstream("https://one.example/"))["slug"].encode()
    await asyncio.sleep(1.1)  # upstreams are known for a second
    await send("POST", "/v1/process", key, JSON, status=402, content=text % known)
