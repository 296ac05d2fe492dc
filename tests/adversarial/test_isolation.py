"""Another tenant's object is the same as none: the same status, body and headers, on every route with an id."""

import re

import pytest

from fanfold.core.identifiers import uuid7
from tests.adversarial.routes import Party, Route, guarded_routes, object_ids
from tests.adversarial.shapes import shape_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_VARYING = frozenset({"x-request-id", "x-process-time", "server-timing", "ratelimit"})
_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def _comparable(answer):
    headers = {name: value for name, value in answer.headers.items() if name not in _VARYING}
    return answer.status_code, headers, {**answer.json(), "instance": None}


def _tenant_routes_with_an_id(arena) -> list[Route]:
    return [route for route in _tenant_routes(arena) if route.parameters]


def _tenant_routes(arena) -> list[Route]:
    return [route for route in guarded_routes(arena.app) if not (route.for_operators or route.for_people)]


def _body(arena, route: Route):
    return (
        {"json": shape_of(arena.app.openapi(), route.method, route.path).valid()} if route.takes_body else {}
    )


async def test_every_route_with_an_id_answers_for_another_s_object_as_for_none(arena):
    owner, thief = await arena.tenant(), await arena.tenant()
    ids = await object_ids(arena, owner)
    routes = _tenant_routes_with_an_id(arena)
    assert len(routes) >= 6
    for route in routes:
        body = _body(arena, route)
        stolen = await thief.http.request(route.method, route.url(**ids), **body)
        absent = {name: str(uuid7()) for name in route.parameters}
        nothing = await thief.http.request(route.method, route.url(**absent), **body)
        assert stolen.status_code == 404, f"{route}: {stolen.text}"
        assert _comparable(stolen) == _comparable(nothing), str(route)
        assert ids.keys() >= set(route.parameters)
        assert not set(_IDS.findall(stolen.text)) & set(ids.values()), str(route)
    # Nothing of it did anything: the owner still has all, unchanged; and the ids were good ones.
    for route in [*filter(lambda route: route.method == "GET", routes), *routes]:
        answer = await owner.http.request(route.method, route.url(**ids), **_body(arena, route))
        assert answer.is_success, f"{route}: {answer.text}"
        if route.method == "DELETE":
            ids |= await object_ids(arena, owner)


async def test_a_body_that_is_refused_is_refused_the_same_for_another_s_object(arena):
    """A 409 or 422 that depends on the object would tell that there is one."""
    owner, thief = await arena.tenant(), await arena.tenant()
    ids = await object_ids(arena, owner)
    upstream = (await owner.http.get(f"/v1/upstreams/{ids['upstream_id']}")).json()
    await owner.http.delete(f"/v1/api-keys/{ids['key_id']}")  # a revoked key is a 409 for its owner
    bodies = [
        {}, {"slug": upstream["slug"]}, {"url": upstream["url"]}, {"url": "https://10.0.0.1/"}, {"extra": 1},
        {"is_default": True}, {"name": "renamed"}, {"scopes": ["operator"]}, {"burst": 1}, {"response_path": "["},
    ]  # fmt: skip
    for route in _tenant_routes_with_an_id(arena):
        if route.takes_body:
            for body in bodies:
                stolen = await thief.http.request(route.method, route.url(**ids), json=body)
                absent = {name: str(uuid7()) for name in route.parameters}
                nothing = await thief.http.request(route.method, route.url(**absent), json=body)
                assert stolen.status_code in {403, 404, 422}, f"{route} {body}"
                assert _comparable(stolen) == _comparable(nothing), f"{route} {body}"


async def test_lists_hold_nothing_of_another_tenant(arena):
    owner, thief = await arena.tenant(), await arena.tenant()
    await owner.upstream(arena.zoo.url("ok"), slug="secret-upstream")
    await owner.process("a text of the owner's")
    ids = await object_ids(arena, owner)
    mine = await object_ids(arena, thief)
    lists = [route for route in _tenant_routes(arena) if route.method == "GET" and not route.parameters]
    assert len(lists) >= 3
    for route in lists:
        answer = await thief.http.get(route.path)
        assert answer.status_code == 200, answer.text
        for word in (*ids.values(), owner.slug, "secret-upstream"):
            assert word not in answer.text, f"{route} shows {word}"
    seen = "\n".join([(await thief.http.get(route.path)).text for route in lists])
    assert mine["upstream_id"] in seen
    assert mine["key_id"] in seen


async def test_a_cursor_of_another_tenant_shows_nothing_of_it(arena):
    owner, thief = await arena.tenant(), await arena.tenant()
    for _ in range(3):
        await owner.upstream("https://owner.example/x")
    await thief.upstream("https://thief.example/x")
    cursor = (await owner.http.get("/v1/upstreams", params={"limit": 1})).json()["next_cursor"]
    page = (await thief.http.get("/v1/upstreams", params={"cursor": cursor})).json()
    assert [row["url"] for row in page["data"] if "owner" in row["url"]] == []


async def test_slugs_and_addresses_of_another_tenant_are_unknown(arena):
    owner, thief = await arena.tenant(), await arena.tenant()
    upstream = await owner.upstream(arena.zoo.url("ok", of="owner"), slug="shared-name", credential="secret")
    await thief.upstream(arena.zoo.url("ok", of="thief"))
    served = arena.zoo.requests["ok"]
    for path in ("/v1/process", "/v1/process/quote", "/process/"):
        text = "a text of more than ten"
        by_slug = {"text": text, "upstreams": [upstream["slug"]]}
        unknown = {"text": text, "upstreams": ["no-such-name"]}
        by_url = {"text": text, "api_urls": [upstream["url"]]}
        strange = {"text": text, "api_urls": [arena.zoo.url("ok", of="nobody")]}
        for body, twin in ((by_slug, unknown), (by_url, strange)):
            answers = [await thief.http.post(path, json=sent) for sent in (body, twin)]
            assert [answer.status_code for answer in answers] == [422, 422]
            assert _comparable(answers[0]) == _comparable(answers[1])
    assert arena.zoo.requests["ok"] == served
    # The same name in two tenants is two upstreams.
    await thief.upstream(arena.zoo.url("json"), slug="shared-name")
    assert (await owner.process("x", upstreams=["shared-name"]))["results"][0]["result"]["echo"] == "x"


async def test_an_operator_s_key_is_no_key_of_a_tenant_and_the_other_way_round(arena):
    party = await Party.invite(arena)
    checked = 0
    for route in [each for each in guarded_routes(arena.app) if not each.for_all]:
        stranger_client = party.tenant.http if route.for_operators else party.operator
        # Every one with a body that would be taken, so that nothing else can be the reason.
        answer = await stranger_client.request(route.method, party.url(route), **_body(arena, route))
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope"), str(route)
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        checked += 1
    assert checked >= 15
