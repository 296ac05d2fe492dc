"""Every route, asked by everybody: who may is let in, and nobody else. Wrong cells: 0."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from fanfold.oauth.route import OAuthRoute
from tests.adversarial.actors import Actor, invite_actors
from tests.adversarial.judging import judge_problem
from tests.adversarial.raw import JSON, bearer, send_raw
from tests.adversarial.routes import Party, Route, routes_of
from tests.adversarial.shapes import shape_of
from tests.fixtures.app import Product

pytestmark = pytest.mark.asyncio(loop_scope="module")

LET_IN, OPEN = "let in", "open"
UNKNOWN, LACKING, SUSPENDED = "not-authenticated", "insufficient-scope", "tenant-suspended"
STATUS = {UNKNOWN: 401, LACKING: 403, SUSPENDED: 403}


def expected(route: Route, actor: Actor) -> str:
    """Return what the contract says of a cell: the refusal's code, or that the actor is let in."""
    need = route.requirement
    if need is None:
        return OPEN
    if actor.name in {"anonymous", "garbage"}:
        return UNKNOWN
    if need.for_people or need.for_all:
        return LET_IN if need.for_all or actor.is_person else LACKING
    if need.scope is not None and need.scope not in actor.scopes:
        return LACKING
    return LET_IN if route.for_operators else _of_tenants(actor)


def _of_tenants(actor: Actor) -> str:
    if not actor.has_tenant or "operator" in actor.scopes:
        return LACKING
    return SUSPENDED if actor.is_suspended else LET_IN


_WRITERS = {"owner", "admin", "key with all", "OAuth client"}
_MEMBERS = _WRITERS | {"developer", "viewer", "key without the scope", "OAuth client without the scope"}
_PEOPLE = {
    "owner",
    "admin",
    "developer",
    "viewer",
    "operator",
    "person without a tenant",
    "owner of a suspended tenant",
}
# Who of all is let in, written by hand: that the rule above is wrong as the code is wrong would be seen here. The owner
# of another tenant is let in wherever an owner is, to their own.
BY_HAND: dict[str, set[str]] = {
    "POST /v1/process": _WRITERS | {"developer", "OAuth client without the scope"},
    "POST /v1/process/quote": _WRITERS | {"developer", "OAuth client without the scope"},
    "POST /process/": _WRITERS | {"developer", "OAuth client without the scope"},
    "GET /v1/upstreams": _MEMBERS,
    "POST /v1/upstreams": _WRITERS | {"developer"},
    "DELETE /v1/upstreams/{upstream_id}": _WRITERS | {"developer"},
    "GET /v1/api-keys": _MEMBERS,
    "POST /v1/api-keys": _WRITERS,
    "DELETE /v1/api-keys/{key_id}": _WRITERS,
    "GET /v1/usage": _WRITERS | {"developer", "viewer"},
    "GET /v1/usage/statement": _WRITERS | {"developer", "viewer"},
    "GET /v1/tenant/limits": _MEMBERS,
    "GET /v1/tenant/members": _MEMBERS,
    "PATCH /v1/tenant/members/{user_id}": _WRITERS,
    "PATCH /v1/tenant": _WRITERS,
    "GET /v1/me": _PEOPLE,
    "POST /v1/tenants": _PEOPLE,
    "GET /v1/admin/tenants": {"operator", "operator key"},
    "POST /v1/admin/tenants": {"operator", "operator key"},
    "POST /v1/admin/tenants/{tenant_id}/suspend": {"operator", "operator key"},
    "POST /v1/admin/tenants/{tenant_id}/grants": {"operator", "operator key"},
    "GET /v1/admin/usage": {"operator", "operator key"},
}


@dataclass(frozen=True, slots=True)
class Matrix:
    """The routes, the actors, and the objects of the tenant that is asked about."""

    product: Product
    party: Party
    actors: list[Actor]
    routes: list[Route]
    lenient: frozenset[str]

    @classmethod
    async def of(cls, product: Product) -> "Matrix":
        party = await Party.invite(product)
        actors = await invite_actors(product, party)
        lenient = frozenset(_lenient_paths(product.app))
        return cls(product, party, actors, list(routes_of(product.app)), lenient)

    def cells(self) -> Iterator[tuple[Route, Actor]]:
        for route in self.routes:
            scope = route.requirement.scope if route.requirement else None
            for actor in self.actors:
                # Of the keys that lack a scope one is asked: the one that lacks this route's.
                if actor.lacks is None or actor.lacks == (scope or "usage:read"):
                    yield route, actor

    async def judge(self, route: Route, actor: Actor) -> str:
        """Return what is wrong with a cell, or an empty string."""
        wanted = expected(route, actor)
        match wanted:
            case "open":
                return await self._judge_open(route, actor)
            case "let in":
                return await self._judge_let_in(route, actor)
            case _:
                answer = await self.ask(route, actor)
                found = judge_problem(answer, status={STATUS[wanted]})
                return found or ("" if answer.json()["code"] == wanted else f"code {answer.json()['code']}")

    async def _judge_open(self, route: Route, actor: Actor) -> str:
        answer = await self.ask(route, actor)
        is_refused = any(code in answer.text for code in STATUS) and answer.status_code in {401, 403}
        return f"status {answer.status_code}" if is_refused else ""

    async def _judge_let_in(self, route: Route, actor: Actor) -> str:
        if actor.is_of_another and route.parameters and not route.for_operators:
            return judge_problem(await self.ask(route, actor), status={404})
        # What comes after authorization and before any effect: nothing is done that the next cell would miss.
        return judge_problem(await self.ask(route, actor, "?no-such-parameter=1"), status={422})

    async def ask(self, route: Route, actor: Actor, query: str = "") -> httpx.Response:
        """Send a request that is valid in everything but, perhaps, who sends it; each from an address of its own."""
        headers = [] if actor.credential is None else [bearer(actor.credential)]
        body = self._body(route)
        content = b"" if body is None else orjson.dumps(body)
        url = route.url(**self.party.ids, code="not-found") + (query or self._confirmed(route))
        headers += [] if body is None else [JSON]
        async with asyncio.timeout(60):
            while True:  # a person without a tenant has a stranger's limit, which so many routes meet
                answer = await send_raw(self.product.app, route.method, url, headers, content=content)
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    return answer
                await asyncio.sleep(float(answer.headers["retry-after"]))

    def _confirmed(self, route: Route) -> str:
        return (
            f"?confirm={self.party.tenant.slug}" if route.method == "DELETE" and not route.parameters else ""
        )

    def _body(self, route: Route) -> dict[str, Any] | None:
        document = self.product.app.openapi()
        said = document["paths"].get(route.path, {}).get(route.method.lower(), {}).get("requestBody")
        if said is None or "application/json" not in said["content"]:
            return None
        return dict(shape_of(document, route.method, route.path).valid())


def _lenient_paths(app: FastAPI) -> Iterator[str]:
    """OAuth's endpoints ignore what they do not know: a probe of who is let in would do what it asks for."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, OAuthRoute):
            yield str(context.path)


async def test_everybody_at_every_route(arena, figures):
    matrix = await Matrix.of(arena)
    wrong: list[str] = []
    counted: Counter[str] = Counter()
    for route, actor in matrix.cells():
        wanted = expected(route, actor)
        if wanted == LET_IN and route.path in matrix.lenient:
            continue
        counted[wanted] += 1
        if fault := await matrix.judge(route, actor):
            wrong.append(f"{route} by {actor.name}: {wanted} expected, {fault}")
    figures(
        f"authorization: {len(matrix.routes)} routes × {len({actor.name for actor in matrix.actors})} actors, "
        f"{counted.total()} cells {dict(counted)}, wrong cells {len(wrong)}"
    )
    assert wrong == []
    assert counted.total() >= 600
    assert min(counted[each] for each in (OPEN, LET_IN, UNKNOWN, LACKING, SUSPENDED)) >= 20


async def test_the_rule_is_what_was_written_by_hand(arena):
    matrix = await Matrix.of(arena)
    routes = {str(route): route for route in matrix.routes}
    assert BY_HAND.keys() <= routes.keys()
    for name, wanted in BY_HAND.items():
        let_in = {
            actor.name
            for route, actor in matrix.cells()
            if route is routes[name] and expected(route, actor) == LET_IN and not actor.is_of_another
        }
        assert let_in == wanted, name


async def test_what_only_an_owner_may(arena):
    matrix = await Matrix.of(arena)
    actors = {actor.name: actor for actor in matrix.actors}
    routes = {str(route): route for route in matrix.routes}
    for name in ("admin", "developer", "viewer", "operator", "person without a tenant"):
        answer = await matrix.ask(routes["DELETE /v1/tenant"], actors[name])
        assert answer.status_code == 403, f"{name}: {answer.text}"
    member = f"/v1/tenant/members/{matrix.party.ids['user_id']}"
    for name in ("admin", "key with all", "OAuth client"):
        credential = actors[name].credential
        assert credential is not None
        headers = [bearer(credential), JSON]
        answer = await send_raw(arena.app, "PATCH", member, headers, content=b'{"role": "owner"}')
        assert answer.status_code == 403, f"{name}: {answer.text}"
