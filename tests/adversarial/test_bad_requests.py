"""What is wrong outside the body: paths, ids, query parameters, headers, methods. Never a 5xx, never an echo."""

import json
import re
from collections import Counter
from urllib.parse import quote

import httpx
import pytest

from fanfold.core.identifiers import uuid7
from tests.adversarial.hostile_values import CANARY
from tests.adversarial.judging import judge_problem
from tests.adversarial.raw import JSON, bearer, send_raw
from tests.adversarial.routes import Party, Route, guarded_routes, routes_of
from tests.adversarial.shapes import shape_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RAW = {
    "words": CANARY, "nothing": "", "space": "%20", "NUL": "%00", "NUL in the middle": f"a%00{CANARY}",
    "CRLF": "%0d%0aX-Evil:1",
    "no UTF-8": "%ff%fe", "a surrogate": "%ed%a0%80", "cut percent": "%", "double percent": "%2500",
    "a dot": ".", "dots": "..",
    "a traversal": "..%2f..%2fetc%2fpasswd", "a wildcard": "*", "SQL": "1'%20or%20'1'='1",
    "a template": "{{7*7}}",
    "braces": "{id}", "Chinese": quote("中文"), "emoji": quote("😀"), "long": "a" * 50_000, "a number": "1",
    "minus": "-1",
    "2^64": str(2**64), "1e400": "1e400", "NaN": "NaN", "null": "null", "true": "true", "a list": "[]",
    "an object": "{}",
    "a date": "2026-13-45", "year 0": "0000-01-01", "year 10000": "10000-01-01",
    "a moment": "2026-01-01T00:00:00",
    "5,000 digits": "9" * 5000, "matrix": f";{CANARY}=1", "full width": quote("１"),
}  # fmt: skip


async def _send(arena, client: httpx.AsyncClient, method: str, target: str, **more):
    headers = [*more.pop("headers", ()), JSON]
    if credential := client.headers.get("authorization"):
        headers.insert(0, ("authorization", credential.encode()))
    return await send_raw(arena.app, method, target, headers, **more)


def _valid(arena, route: Route) -> bytes:
    if not route.takes_body:
        return b""
    return json.dumps(shape_of(arena.app.openapi(), route.method, route.path).valid()).encode()


class _Court:
    """Judges every answer and keeps count."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []

    def judge(self, what: str, answer: httpx.Response, **more) -> None:
        self.statuses[answer.status_code] += 1
        if fault := judge_problem(answer, canary=CANARY, **more):
            self.wrong.append(f"{what[:200]}: {fault}: {answer.text[:300]}")

    def close(self, capsys, name: str) -> None:
        with capsys.disabled():
            print(f"\n{name}: {self.statuses.total()} requests: {dict(sorted(self.statuses.items()))}")
        assert self.wrong == [], "\n".join([f"{len(self.wrong)} wrong", *self.wrong[:50]])


async def test_ids_in_paths_are_ids_or_refused(arena, capsys):
    party, court = await Party.invite(arena), _Court()
    one = party.ids["upstream_id"]
    near = {
        "cut": one[:-1],
        "longer": f"{one}0",
        "a space": f"{one}%20",
        "a letter": f"g{one[1:]}",
        "two": one * 2,
    }
    for route in (route for route in guarded_routes(arena.app) if route.parameters):
        party, content = await party.rested(arena), _valid(arena, route)
        for idea, raw in {**_RAW, **near}.items():
            target = route.url(**dict.fromkeys(route.parameters, raw))
            answer = await _send(arena, party.client(route), route.method, target, content=content)
            court.judge(f"{route} {idea}", answer, status={404, 405, 422})
        target = route.url(**dict.fromkeys(route.parameters, "%C2%A7"))
        answer = await _send(arena, party.client(route), route.method, target, content=content)
        assert "§" not in answer.text, f"{route} repeats a character"
    court.close(capsys, "ids in paths")


async def test_a_parameter_of_ours_is_named_where_it_is_wrong(arena):
    party = await Party.invite(arena)
    wrong = {
        "/v1/upstreams/x": ["path", "upstream_id"],
        "/v1/upstreams?limit=0": ["query", "limit"],
        f"/v1/upstreams?{CANARY}=1": ["query", "*"],
    }
    for target, loc in wrong.items():
        answer = await _send(arena, party.tenant.http, "GET", target)
        assert [error["loc"] for error in answer.json()["errors"]] == [loc]


_UNKNOWN = (
    "limit",
    "cursor",
    "from",
    "group_by",
    CANARY,
    "skip",
    "offset",
    "page",
    "limit%00",
    "LIMIT",
    "li%6dit ",
)
# Every text is a good one; what it finds is another matter.
_FREE = frozenset({"search", "plan", "action", "object_kind", "object_id", "reason"})
# Here a slug is a good one, and nothing else.
_SLUGS = frozenset({"upstream"})
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _bad_ideas(name: str) -> set[str]:
    """Return the ideas that are no good value of this parameter."""
    if name in _SLUGS:
        return {idea for idea, raw in _RAW.items() if not _SLUG.fullmatch(raw)}
    good = {"true", "a number"} if name.startswith("is_") else {"a number", "full width", "a moment"}
    return _RAW.keys() - good


async def test_query_parameters_are_known_and_good_or_refused(arena, capsys):
    party, court = await Party.invite(arena), _Court()
    for route in guarded_routes(arena.app):
        party, content = await party.rested(arena), _valid(arena, route)
        operation = arena.app.openapi()["paths"][route.path][route.method.lower()]
        known = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}

        async def ask(query: str, party: Party = party, route: Route = route, content: bytes = content):
            return await _send(
                arena, party.client(route), route.method, f"{party.url(route)}?{query}", content=content
            )

        for name in set(_UNKNOWN) - known:
            court.judge(f"{route} ?{name}", await ask(f"{name}={CANARY}"), status={400, 422})
        for name in known - _FREE:
            for idea in _bad_ideas(name):
                answer = await ask(f"{name}={_RAW[idea] or '%20'}")
                court.judge(f"{route} {name}={idea}", answer, status={400, 422})
        for name in known & _FREE:
            # Of nothing that there is, where it would be done: the party is still needed.
            ids = party.ids if route.method == "GET" else dict.fromkeys(route.parameters, str(uuid7()))
            for raw in _RAW.values():
                target = f"{route.url(**ids)}?{name}={raw}"
                answer = await _send(arena, party.client(route), route.method, target, content=content)
                court.statuses[answer.status_code] += 1
                assert answer.status_code in {200, 201, 400, 404, 409, 422}, answer.text
    court.close(capsys, "query parameters")


_CREDENTIALS = [
    [("authorization", b"Bearer")], [("authorization", b"Bearer ")], [("authorization", b"Bearer  ")],
    [("authorization", b"")],
    [("authorization", b"Basic dXNlcjpwYXNz")], [("authorization", b"Bearer " + CANARY.encode())],
    [("authorization", b"Bearer " + b"a" * 100_000)], [("x-api-key", b"a" * 100_000)], [("x-api-key", b"")],
    [("authorization", b"Bearer \x00\x01")], [("authorization", b"Bearer \xff\xfe")], [("x-api-key",
    "ключ".encode())],
    [("authorization", b"Bearer ff_live_")], [("x-api-key", b"ff_live_a_b_c")],
    [("authorization", b"Bearer ff_live_a_b_c_d_e")],
    [("x-api-key", b"ff_live_" + b"a" * 12 + b"_" + b"b" * 32 + b"_000000")],
    [("authorization", b"Bearer null")],
    [("authorization", b"Bearer a, Bearer b")], [("authorization", b"Bearer ' or 1=1 --")],
    [("authorization", b"Digest x")],
    [("authorization", b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")],
    [("authorization", b"Negotiate " + b"A" * 5000)],
    [("authorization", b"Bearer a"), ("authorization", b"Bearer b")], [("x-api-key", b"a"),
    ("authorization", b"Bearer b")],
    [("authorization", b"Bearer \xc2\xa0")], [("cookie", b"session=" + CANARY.encode())], [],
]  # fmt: skip


async def test_a_credential_that_is_none_is_a_401_with_a_challenge_on_every_route(arena, capsys):
    party, court = await Party.invite(arena), _Court()
    for route in guarded_routes(arena.app):
        for headers in _CREDENTIALS:
            answer = await send_raw(
                arena.app, route.method, party.url(route), [*headers, JSON], content=_valid(arena, route)
            )
            court.judge(f"{route} {headers}", answer, status={401})
            assert answer.headers["www-authenticate"].startswith("Bearer")
    court.close(capsys, "credentials that are none")


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [
        (b"abc-DEF_1.2", True), (b"a" * 128, True), (b"a" * 129, False), (b"", False), (b"a b", False),
        (b"a\tb", False),
        (b"<script>", False), (b"\xff", False), (b"a\x00", False), ("名".encode(), False), (b"a/b", False),
        (b"a" * 50_000, False),
        (b"${jndi:ldap://x}", False), (b"a,b", False), (b"a\r\nX-Evil: 1", False),
    ],
)  # fmt: skip
async def test_a_request_id_is_kept_when_it_is_a_plain_word_and_never_names_the_problem(arena, sent, is_kept):
    answer = await send_raw(arena.app, "GET", "/v1/upstreams", [("x-request-id", sent)])
    assert answer.status_code == 401
    given = answer.headers["x-request-id"]
    assert (given.encode() == sent) is is_kept
    instance = answer.json()["instance"].removeprefix("urn:uuid:")
    assert (instance == given) is not is_kept
    assert "x-evil" not in answer.headers


async def test_two_request_ids_are_one(arena):
    answer = await send_raw(arena.app, "GET", "/ping", [("x-request-id", b"one"), ("x-request-id", b"two")])
    assert answer.headers.get_list("x-request-id") == ["one"]


_HEADERS = [
    ("content-length", b"9" * 5000), ("content-length", b"-1"), ("content-length", b"abc"),
    ("content-length", b"1, 1"),
    ("content-length", b"\xb2"), ("accept", b"\xff"), ("accept", b"a" * 100_000), ("accept-language", b"\x00"),
    ("forwarded", b"for=\"" + b"[" * 10_000), ("x-forwarded-for", b"," * 10_000), ("host", b"evil.example"),
    ("host", b""),
    ("cookie", b";" * 10_000), ("range", b"bytes=0-"), ("if-match", b"*"), ("expect", b"200-maybe"),
    ("content-encoding", b"br"), ("transfer-encoding", b"gzip, chunked"), ("traceparent", b"00-" + b"z" * 500),
    ("x-http-method-override", b"DELETE"), ("upgrade", b"websocket"),
    ("content-type", b"application/json; charset=\xff"),
    ("idempotency-key", b"a" * 10_000), ("x-original-url", b"/v1/admin/tenants"), ("x-tenant-id", b"another"),
]  # fmt: skip


async def test_other_headers_break_nothing(arena):
    party = await Party.invite(arena)
    for name, value in _HEADERS:
        for method, target in (("GET", "/v1/upstreams"), ("POST", "/v1/process/quote"), ("GET", "/ping")):
            headers = [bearer(party.tenant.key), (name, value)]
            headers += [JSON] if name != "content-type" else []
            answer = await send_raw(arena.app, method, target, headers, content=b'{"text": "x"}')
            assert answer.status_code in {200, 400, 413, 415}, f"{method} {name}: {answer.text}"


async def test_paths_that_are_not_there_are_404_whatever_they_look_like(arena, capsys):
    party, court = await Party.invite(arena), _Court()
    one = party.ids["upstream_id"]
    paths = [
        f"/{CANARY}", "//", "/v1", "/v1/", "/v1/upstreams/", "//v1/upstreams", "/v1//upstreams",
        "/V1/upstreams",
        "/v1/upstreams;a=b", f"/v1/upstreams/{one}/", f"/v1/upstreams/{one}/{CANARY}", f"/v1/upstreams%2f{one}%2f..",
        "/v1/../v1/upstreams", "/v1/%2e%2e/v1/upstreams",  "/%00", "/v1/upstreams%00", "/v1/upstreams%20",
        "/\xff".encode("latin-1").decode("latin-1"), "/%ff", "/docs/assets/../../main.py",
        "/docs/assets/%2e%2e/start.js",
        "/docs/assets/", "/docs/assets/..%2f..%2fmain.py", "/docs/", "/.env", "/.git/config", "/problems/",
        "/problems/%00",
        f"/problems/{CANARY}", "/problems/..%2f", "/v1/admin", "/v1/admin/tenants/",
        "/" + "a" * 60_000, "/" + "a/" * 10_000,
        "/v1/chat", "/metrics/", "/healthz/", "/{upstream_id}", "/v1/upstreams/{upstream_id}/../..",
    ]  # fmt: skip
    for client in (arena.http(), party.tenant.http, party.operator):
        for path in paths:
            for method in ("GET", "POST"):
                answer = await _send(arena, client, method, path)
                court.judge(f"{method} {path}", answer, status={401, 404, 405})
    court.close(capsys, "paths that are not there")


async def test_an_encoded_slash_is_a_slash_for_the_guard_too(arena):
    """The guard and the router must see the same path: else one lets pass what the other serves."""
    party = await Party.invite(arena)
    for target in (f"/v1/upstreams%2f{party.ids['upstream_id']}", "/v1%2fupstreams", "/%76%31/upstreams"):
        assert (await send_raw(arena.app, "GET", target)).status_code == 401
        assert (await _send(arena, party.operator, "GET", target)).status_code == 403


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "CONNECT", "BREW", "get"]
)
async def test_a_method_that_is_not_there_is_a_405_with_all_that_are(arena, method):
    party = await Party.invite(arena)
    allowed: dict[str, set[str]] = {}
    for route in routes_of(arena.app):
        allowed.setdefault(route.path, set()).add(route.method)
    checked = 0
    for path, methods in allowed.items():
        if method in methods:
            continue
        target = path.format(**party.ids, code="not-found")
        answer = await _send(arena, party.tenant.http, method, target)
        assert (answer.status_code, path) == (405, path)
        assert judge_problem(answer, status={405}) == "", path
        assert set(answer.headers["allow"].replace(" ", "").split(",")) == methods, path
        checked += 1
    assert checked > 0
