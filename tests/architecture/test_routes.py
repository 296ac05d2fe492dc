"""What every route states by its signature, and what a processing route may not ask for."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, Route, WebSocketRoute

from fanfold.auth.buckets import is_unlimited
from fanfold.auth.dependencies import CurrentPrincipal, CurrentTenant, DbSession, _operator_session, _session
from fanfold.auth.principal import Scope
from fanfold.auth.requirements import Require, Requirement
from fanfold.auth.routes import RouteTable, UnguardedRoute
from fanfold.core.config import DatabaseSettings
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import LateRoute
from fanfold.main import PUBLIC_PATHS, create_app
from tests.fixtures.app import TenantClient, product_settings, running_product
from tests.fixtures.event_streams import Stream, parse_whole

# They call upstreams: a connection held meanwhile is one that nobody else has.
CALLING_PATHS = (
    "/v1/process", "/process/", "/stream/", "/predict/", "/v1/chat", "/v1/upstreams/{upstream_id}/test",
    "/v1/webhooks/{webhook_id}/test",
    "/v1/admin/upstreams/{shared_id}/test",
)  # fmt: skip
SESSIONS = {_session, _operator_session}
# Too small to be read strictly: they take no body and no parameter.
PLAIN_ROUTES = frozenset(
    {"/healthz", "/readyz", "/metrics", "/problems", "/problems/{code}", "/docs", "/redoc", "/openapi.json"}
)


def _calls(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)


async def _stream(tenant: TenantClient, upstream: str) -> Stream:
    body = {"text": "x", "upstreams": [upstream], "stream": True}
    return parse_whole((await tenant.http.post("/v1/process", json=body)).content)


def _held_sessions(app: FastAPI) -> dict[str, bool]:
    return {
        str(context.path): bool(SESSIONS & set(_calls(context.dependant)))
        for context in iter_route_contexts(app.routes)
        if getattr(context, "dependant", None)
    }


class TestRequirements:
    def test_every_route_of_the_product_has_one_or_is_public(self):
        app = create_app()
        table = RouteTable(app.routes, public=PUBLIC_PATHS)
        guarded = 0
        for context in iter_route_contexts(app.routes):
            for method in context.methods or ():
                found = table.match({"method": method, "path": context.path, "type": "http"})
                assert (found is None) == (context.path in PUBLIC_PATHS), f"{method} {context.path}"
                guarded += found is not None
        assert guarded >= 15

    def test_every_route_s_is_that_which_fastapi_will_call(self):
        app = create_app()
        for context in iter_route_contexts(app.routes):
            table = RouteTable([context.original_route], public=PUBLIC_PATHS)
            kind = "websocket" if isinstance(context.original_route, WebSocketRoute) else "http"
            method = next(iter(context.methods or {"GET"}))
            found = table.match({"method": method, "path": context.path, "type": kind})
            called = set(_calls(context.dependant)) if hasattr(context, "dependant") else set()
            stated = [call for call in called if isinstance(call, Requirement)]
            strictest = [one for one in stated if one.scope is not None] or stated
            assert (found is None) == (not stated), context.path
            assert found is None or found.requirement in strictest, context.path

    def test_to_know_them_no_route_is_built(self):
        app = create_app()
        RouteTable(app.routes, public=PUBLIC_PATHS)
        late = [route for route in app.routes if isinstance(route, LateRoute)]
        assert len(late) > 100
        assert [route.path for route in late if "dependant" in vars(route)] == []

    def test_no_route_that_has_one_is_unlimited(self):
        """So the limits need not look at the path of a request that a guarded route will answer."""
        for context in iter_route_contexts(create_app().routes):
            if context.path not in PUBLIC_PATHS:
                assert not is_unlimited({"type": "http", "path": context.path}), context.path

    def test_no_public_path_is_listed_in_vain(self):
        assert {context.path for context in iter_route_contexts(create_app().routes)} >= PUBLIC_PATHS

    def test_writing_routes_need_a_scope_and_not_just_a_key(self):
        app = create_app()
        table = RouteTable(app.routes, public=PUBLIC_PATHS)
        for context in iter_route_contexts(app.routes):
            for method in set(context.methods or ()) - {"GET", "HEAD"}:
                found = table.match({"method": method, "path": context.path, "type": "http"})
                if found is None or found.requirement.for_people or found.requirement.for_all:
                    assert (found is None) == (context.path in PUBLIC_PATHS)
                    continue
                assert found.requirement.scope is not None, f"{method} {context.path}"
                is_admin = str(context.path).startswith("/v1/admin/")
                assert (found.requirement.scope is Scope.OPERATOR) == is_admin

    @pytest.mark.parametrize("as_sub_router", [False, True])
    def test_a_route_without_one_is_refused(self, as_sub_router: bool):
        async def open_to_anybody() -> None: ...

        async def guarded(_principal: CurrentPrincipal) -> None: ...

        app, router = FastAPI(openapi_url=None, docs_url=None, redoc_url=None), APIRouter()
        (router if as_sub_router else app).add_api_route("/guarded", guarded)
        (router if as_sub_router else app).add_api_route("/open", open_to_anybody)
        app.include_router(router, prefix="/v9" if as_sub_router else "")
        with pytest.raises(UnguardedRoute, match="/open"):
            RouteTable(app.routes, public=frozenset())
        public = frozenset({"/v9/open" if as_sub_router else "/open"})
        found = RouteTable(app.routes, public=public).match(
            {"method": "GET", "path": "/v9/guarded", "type": "http"}
        )
        assert (found is not None) == as_sub_router

    @pytest.mark.parametrize("kind", ["mount", "plain route", "websocket"])
    def test_neither_is_a_mount_a_plain_route_or_a_websocket(self, kind: str):
        async def answer(_request: object) -> None: ...

        async def seems_guarded(_request: object, _principal: CurrentPrincipal) -> None: ...

        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        if kind == "mount":
            app.router.routes.append(Mount("/hidden", app=FastAPI()))
        elif kind == "plain route":
            app.router.routes.append(Route("/hidden", seems_guarded))  # nobody resolves what it depends on
        else:
            app.add_api_websocket_route("/hidden", answer)
        with pytest.raises(UnguardedRoute, match="/hidden"):
            RouteTable(app.routes, public=frozenset())

    def test_the_application_does_not_start_with_such_a_route(self, database_urls):
        app = create_app(product_settings(database_urls))

        @app.get("/forgotten")
        async def forgotten() -> None: ...

        async def start() -> None:
            async with app.router.lifespan_context(app):
                pytest.fail("it started")

        with pytest.raises(UnguardedRoute):
            asyncio.run(start())

    def test_the_scope_counts_before_any_tenant_s_session(self):
        async def both(
            _session: DbSession, _tenant: CurrentTenant, _principal: int = Require(Scope.PROCESS)
        ) -> None: ...

        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.add_api_route("/both", both, methods=["POST"])
        found = RouteTable(app.routes, public=frozenset()).match(
            {"method": "POST", "path": "/both", "type": "http"}
        )
        assert found is not None
        assert found.requirement.scope is Scope.PROCESS

    def test_every_route_with_a_body_or_a_parameter_is_read_strictly(self):
        for context in iter_route_contexts(create_app().routes):
            if context.path not in PLAIN_ROUTES and not isinstance(
                context.original_route, Mount | WebSocketRoute
            ):
                assert isinstance(context.original_route, StrictRoute), context.path


class TestConnections:
    def test_no_route_that_calls_upstreams_asks_for_a_session(self):
        held = _held_sessions(create_app())
        calling = {path: held[path] for path in held if path.startswith(CALLING_PATHS)}
        assert len(calling) >= 5
        assert not any(calling.values()), calling
        assert held["/v1/upstreams"]
        assert held["/v1/admin/tenants"]

    def test_a_route_that_does_is_seen(self):
        async def inner(_session: DbSession) -> None: ...

        async def slow(_inner: None = Depends(inner)) -> None: ...

        app = FastAPI()
        app.add_api_route("/v1/process/slow", slow)
        assert _held_sessions(app)["/v1/process/slow"]

    async def test_with_one_connection_twenty_slow_requests_and_fifty_streams_hold_up_nobody(
        self, database_urls
    ):
        settings = product_settings(database_urls)
        one = DatabaseSettings(url=settings.database.url, pool_size=1, pool_timeout_s=10)
        async with running_product(database_urls, settings.model_copy(update={"database": one})) as product:
            tenant, other = await product.tenant(), await product.tenant()
            await tenant.upstream(product.zoo.url("held"), slug="slow", timeout_s=60, max_concurrency=100)
            await other.upstream("https://one.example/")
            slow = [asyncio.create_task(tenant.process("x", upstreams=["slow"])) for _ in range(20)]
            streams = [asyncio.create_task(_stream(tenant, "slow")) for _ in range(50)]
            async with asyncio.timeout(30):
                while product.zoo.requests["held"] < 70:
                    await asyncio.sleep(0.01)
            for who in (tenant, other):
                assert (await who.http.get("/v1/upstreams")).status_code == 200
                assert (await who.http.post("/v1/api-keys", json={"name": "meanwhile"})).status_code == 201
                assert (await who.usage())["used"] == 0
            assert (await tenant.usage())["reserved"] == 70
            assert not any(task.done() for task in slow + streams)
            product.zoo.lets_go.set()
            assert {answer["status"] for answer in await asyncio.gather(*slow)} == {"succeeded"}
            assert {stream.answer["status"] for stream in await asyncio.gather(*streams)} == {"succeeded"}
            assert (await tenant.usage())["used"] == 70
