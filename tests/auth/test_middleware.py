"""Who may pass, known before the body is read."""

import asyncio

import pytest
from fastapi import APIRouter, FastAPI

from fanfold.auth.routes import RouteTable, UnguardedRoute


async def asked(product, method, path, headers=(), *, body=None):
    """Ask as ASGI, with a body that never ends; return the status and how often the body was read."""
    reads, sent = 0, []

    async def receive():
        nonlocal reads
        reads += 1
        if body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers], "client": ("192.0.2.1", 1), "scheme": "http",
        "server": ("fanfold.test", 80), "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    await asyncio.wait_for(product.app(scope, receive, send), 10)
    return sent[0]["status"], reads


class TestBeforeTheBody:
    async def test_a_stranger_is_401(self, product):
        assert await asked(product, "POST", "/v1/process") == (401, 0)

    async def test_a_key_that_does_not_hold_is_401(self, product):
        assert await asked(product, "POST", "/v1/process", [(b"x-api-key", b"ff_live_a_b_c")]) == (401, 0)

    async def test_a_key_without_the_scope_is_403(self, product):
        tenant = await product.tenant(scopes=["usage:read"])
        key = [(b"authorization", b"Bearer " + tenant.key.encode())]
        assert await asked(product, "POST", "/v1/process", key) == (403, 0)

    async def test_a_tenant_over_its_rate_is_429(self, product):
        tenant = await product.tenant(requests_per_minute=1, burst=1)
        key = [(b"authorization", b"Bearer " + tenant.key.encode())]
        await tenant.http.get("/v1/api-keys")
        assert await asked(product, "POST", "/v1/process", key) == (429, 0)

    async def test_no_such_route_is_404_and_no_such_method_405(self, product):
        assert await asked(product, "POST", "/v1/nothing") == (404, 0)
        assert await asked(product, "DELETE", "/v1/process") == (405, 0)


class TestChallenge:
    async def test_says_bearer_and_invalid_token_only_where_one_was_sent(self, product):
        stranger = product.http()
        none = await stranger.get("/v1/usage")
        assert none.headers["www-authenticate"] == "Bearer"
        wrong = await stranger.get("/v1/usage", headers={"Authorization": "Bearer nonsense"})
        assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"'

    @pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "bearer\t x", "Token x"])
    async def test_any_other_form_is_401(self, product, header):
        assert (await product.http().get("/v1/usage", headers={"Authorization": header})).status_code == 401

    @pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
    async def test_two_of_a_kind_do_not_hold_though_each_would(self, product, name):
        tenant = await product.tenant()
        value = f"Bearer {tenant.key}" if name == "Authorization" else tenant.key
        answer = await product.http().get("/v1/usage", headers=[(name, value), (name, value)])
        assert answer.status_code == 401


class TestOperator:
    async def test_has_no_tenant_and_tenants_are_no_operators(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        for path in ("/v1/usage", "/v1/api-keys", "/v1/upstreams"):
            refused = await operator.get(path)
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")
        assert (await tenant.http.get("/v1/admin/tenants")).status_code == 403


def test_a_route_that_states_nothing_stops_the_start():
    app = FastAPI(openapi_url=None)
    inner = APIRouter()
    inner.add_api_route("/open", lambda: None)
    app.include_router(inner, prefix="/v1")
    with pytest.raises(UnguardedRoute, match="/v1/open"):
        RouteTable(app.routes, public=frozenset())
    RouteTable(app.routes, public=frozenset({"/v1/open"}))
