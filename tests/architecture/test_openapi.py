"""The document tells the truth: it is valid, its examples work, and every answer is what it says."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from fanfold.auth.principal import Scope
from fanfold.main import PUBLIC_PATHS, create_app
from tests.adversarial.json_schema import KNOWN_WORDS, mismatches
from tests.adversarial.routes import BY_CODE, Party, routes_of
from tests.fixtures.app import Product
from tests.fixtures.event_streams import parse, parse_whole

METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "trace"})
PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
_LIMITED = {"RateLimit", "RateLimit-Policy"}
REFUSAL = {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}
# Forms in, and refusals as RFC 6749 has them: tests/oauth sends what each takes.
OAUTH_PATHS = frozenset({"/v1/auth/token", "/token", "/v1/auth/revoke", "/v1/auth/introspect"})


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    said: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_oauth(self) -> bool:
        return self.path in OAUTH_PATHS

    def schema_of(self, answer: httpx.Response) -> Any:
        """Return the schema of an answer's status and media type; fails where none is declared."""
        declared = self.said["responses"].get(str(answer.status_code))
        assert declared is not None, f"{self}: {answer.status_code} is not declared"
        kind = answer.headers.get("content-type", "").partition(";")[0]
        assert bool(answer.content) == ("content" in declared), f"{self}: content of {answer.status_code}"
        return declared["content"][kind]["schema"] if answer.content else True


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, said in item.items():
            assert method in METHODS, f"{path}: {method}"
            yield Operation(method, path, said)


def _inside(value: Any) -> Iterator[Any]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _inside(child)


def _is_described(said: dict[str, Any]) -> bool:
    return "$ref" in said or any("description" in part for part in [said, *said.get("anyOf", [])])


class TestDocument:
    def test_has_what_openapi_3_1_asks_for(self, document):
        assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
        assert document["info"].keys() >= {"title", "version"}
        assert document.keys() <= {"openapi", "info", "paths", "components", "tags", "servers"}
        assert all(
            re.fullmatch(r"[\w.-]+", name) for kind in document["components"].values() for name in kind
        )
        for operation in operations(document):
            assert operation.path.startswith("/")
            declared = {p["name"] for p in operation.said.get("parameters", ()) if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", operation.path)), str(operation)
            for parameter in operation.said.get("parameters", ()):
                assert parameter.keys() >= {"name", "in", "schema"}
                assert parameter["in"] != "path" or parameter["required"] is True
            for status, response in operation.said["responses"].items():
                assert re.fullmatch(r"[1-5]\d\d", status)
                assert response["description"]

    def test_every_reference_leads_somewhere_and_every_schema_is_used(self, document):
        targets = {
            value["$ref"] for value in _inside(document) if isinstance(value, dict) and "$ref" in value
        }
        kinds = {kind: document["components"][kind] for kind in ("schemas", "headers")}
        assert targets == {f"#/components/{kind}/{name}" for kind, named in kinds.items() for name in named}

    def test_schemas_use_the_words_that_the_tests_check(self, document):
        for schema in document["components"]["schemas"].values():
            assert schema.keys() <= KNOWN_WORDS
            for member in schema.get("properties", {}).values():
                assert member.keys() <= KNOWN_WORDS

    def test_every_operation_has_a_name_of_its_own_a_summary_and_a_description(self, document):
        names = Counter(operation.said["operationId"] for operation in operations(document))
        assert max(names.values()) == 1
        for operation in operations(document):
            assert all(operation.said.get(word) for word in ("summary", "description", "tags")), str(
                operation
            )

    def test_every_member_of_a_body_is_described(self, document):
        schemas = document["components"]["schemas"]
        bodies = {
            name: schema for name, schema in schemas.items() if schema.get("additionalProperties") is False
        }
        members = [
            (name, key, said) for name, body in bodies.items() for key, said in body["properties"].items()
        ]
        assert len(members) > 50
        assert [(name, key) for name, key, said in members if not _is_described(said)] == []

    def test_every_route_of_the_product_is_in_it(self, document):
        shown = {(operation.method, operation.path) for operation in operations(document)}
        hidden = {"/metrics", "/docs", "/redoc", "/openapi.json", "/problems", "/problems/{code}"}
        routes = {(route.method.lower(), route.path) for route in routes_of(create_app())}
        assert shown == {(method, path) for method, path in routes if path not in hidden}

    def test_every_operation_says_what_may_be_sent(self, document):
        schemes = document["components"]["securitySchemes"]
        assert {name: scheme["type"] for name, scheme in schemes.items()} == {
            "OAuth2": "oauth2",
            "ApiKey": "apiKey",
            "Bearer": "http",
        }
        known = schemes["OAuth2"]["flows"]["password"]["scopes"]
        assert known.keys() == {scope.value for scope in Scope}
        for operation in operations(document):
            security = operation.said.get("security", [])
            assert bool(security) == (operation.path not in PUBLIC_PATHS), str(operation)
            assert all(scope in known for choice in security for scope in choice.get("OAuth2", ()))

    @pytest.mark.parametrize(
        ("method", "path", "scopes", "takes_keys"),
        [
            ("post", "/v1/process", ["process"], True),
            ("post", "/v1/api-keys", ["keys:write"], True),
            ("get", "/v1/api-keys", [], True),
            ("get", "/v1/usage", ["usage:read"], True),
            ("get", "/v1/admin/tenants", ["operator"], True),
            ("get", "/v1/me", [], False),
            ("post", "/v1/tenants", [], False),
        ],
    )
    def test_which_scope_and_whether_a_key_will_do(self, document, method, path, scopes, takes_keys):
        said = document["paths"][path][method]["security"]
        assert said[0] == {"OAuth2": scopes}
        assert said[1:] == ([{"ApiKey": []}, {"Bearer": []}] if takes_keys else [])


def _expected(operation: Operation) -> set[str]:
    if operation.is_oauth:
        return {"400", "401", "429", "503"}
    if operation.path in PUBLIC_PATHS:
        return set()
    body = {"400", "413", "415", "422"} if "requestBody" in operation.said else set()
    return {"401", "403", "422", "429", "503"} | body | ({"404"} if "{" in operation.path else set())


class TestErrors:
    def test_every_error_an_operation_can_give_is_declared_as_a_problem(self, document):
        for operation in operations(document):
            responses = operation.said["responses"]
            errors = {status for status in responses if status >= "400"}
            assert errors >= _expected(operation), f"{operation}: {_expected(operation) - errors}"
            kind = "application/json" if operation.is_oauth else "application/problem+json"
            for status in errors:
                assert ("headers" in responses[status]) == (status in {"429", "503"})
                content = {kind: REFUSAL if operation.is_oauth else PROBLEM}
                # Whoever may not ask is refused before OAuth's own reading.
                allowed = (
                    [content, {"application/problem+json": PROBLEM}] if operation.is_oauth else [content]
                )
                assert responses[status]["content"] in allowed, f"{operation} {status}"
            assert any(status.startswith("2") for status in responses)

    def test_none_is_declared_that_is_not_in_the_contract(self, document):
        contract = {"400", "401", "402", "403", "404", "405", "409", "413", "415", "422", "429", "500", "503"}
        for operation in operations(document):
            assert {status for status in operation.said["responses"] if status >= "300"} <= contract


# Each ends its tenant, its person or its sign-in: nothing can follow it.
ENDS = {
    ("delete", "/v1/admin/tenants/{tenant_id}"), ("delete", "/v1/tenant"), ("delete", "/v1/me"),
    ("delete", "/v1/me/tenants/{tenant_id}"), ("post", "/v1/auth/logout"),
}  # fmt: skip


def _turn(operation: Operation) -> tuple[bool, bool, int]:
    is_delete = operation.method == "delete"
    return (operation.method, operation.path) in ENDS, is_delete, -operation.path.count("/") * is_delete


async def _do_all(product: Product, document: dict[str, Any]) -> Iterator[tuple[Operation, httpx.Response]]:
    """Send every operation with its own example; what deletes comes last, a part before its whole."""
    done = []
    party = await Party.invite(product)
    await party.tenant.upstream(product.zoo.url("ok"), is_default=True)
    routes = {(route.method.lower(), route.path): route for route in routes_of(create_app())}
    for operation in sorted(operations(document), key=_turn):
        if operation.is_oauth or (operation.method.upper(), operation.path) in BY_CODE:
            continue
        if (operation.method, operation.path) in ENDS:
            party = await Party.invite(product)
        client = party.client(routes[operation.method, operation.path])
        url = operation.path.format(**party.ids)
        body = operation.said.get("requestBody")
        for example in _examples(body, document) if body else [None]:
            more: dict[str, Any] = (
                {} if example is None else {"json": example | party.known.get(operation.path, {})}
            )
            more |= {"params": {"confirm": party.tenant.slug}} if "confirm" in _required(operation) else {}
            done.append((operation, await client.request(operation.method, url, **more)))
            if operation.path.endswith("/retry"):  # it waits again, and nothing that waits is deleted
                await client.post(url.removesuffix("retry") + "cancel")
    return iter(done)


def _required(operation: Operation) -> set[str]:
    return {p["name"] for p in operation.said.get("parameters", ()) if p["in"] == "query" and p["required"]}


def _values(answer: httpx.Response) -> list[Any]:
    """Return what was answered; each event of a stream by itself."""
    kind = answer.headers.get("content-type", "")
    if kind == "text/event-stream":
        of_a_job = answer.request.url.path.startswith("/v1/jobs/")
        told = parse(answer.content, is_numbered=False) if of_a_job else parse_whole(answer.content)
        return [{"id": e.id, "event": e.name, "data": e.data} for e in told.events]
    return [answer.json() if answer.content and "json" in kind else answer.text or None]


def _examples(body: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    content = body["content"]["application/json"]
    name = content["schema"]["$ref"].rsplit("/", 1)[1]
    examples = document["components"]["schemas"][name].get("examples")
    assert examples, f"{name} has no example: Swagger UI would make one of every member there is"
    found: list[Any] = examples
    return found


class TestAnswers:
    async def test_examples_work_when_they_are_sent_and_answers_are_what_is_declared(self, product, capsys):
        document = product.app.openapi()
        seen: Counter[int] = Counter()
        for operation, answer in await _do_all(product, document):
            assert answer.is_success, f"{operation}: {answer.text}"
            declared = operation.said["responses"][str(answer.status_code)]["headers"]
            assert declared.keys() & _LIMITED == (set() if operation.path in PUBLIC_PATHS else _LIMITED)
            assert [name for name in declared if name not in answer.headers] == [], str(operation)
            schema = operation.schema_of(answer)
            for value in _values(answer):
                found = mismatches(value, schema, document["components"]["schemas"])
                assert found == [], f"{operation}: {found}"
            seen[answer.status_code] += 1
        with capsys.disabled():
            print(
                f"\nopenapi: {seen.total()} examples sent, all taken, all answers as declared: {dict(seen)}"
            )

    async def test_refusals_are_declared_too(self, product):
        document = product.app.openapi()
        party, stranger = await Party.invite(product), product.http()
        routes = {(route.method.lower(), route.path): route for route in routes_of(product.app)}
        limited = await product.tenant(requests_per_minute=1, burst=1)
        await limited.http.get("/v1/usage")
        for operation in operations(document):
            if operation.path in PUBLIC_PATHS or operation.is_oauth:
                continue
            url = operation.path.format(**party.ids)
            route = routes[operation.method, operation.path]
            is_admin = route.for_operators or route.for_people
            own = party.client(route)
            other = party.tenant.http if is_admin else party.operator
            answers = [
                await stranger.request(operation.method, url),
                await other.request(operation.method, url),
                await own.request(operation.method, f"{url}?no-such-parameter=1", json={"no such member": 1}),
            ]
            answers += [] if is_admin else [await limited.http.request(operation.method, url)]
            answers += [await own.request(operation.method, url)] if "requestBody" in operation.said else []
            wanted = (
                [401, 403, 422]
                + ([] if is_admin else [429])
                + ([415] if "requestBody" in operation.said else [])
            )
            assert [answer.status_code for answer in answers] == wanted, str(operation)
            for answer in answers:
                schema = operation.schema_of(answer)
                assert mismatches(answer.json(), schema, document["components"]["schemas"]) == []

    def test_an_answer_that_is_not_as_declared_is_seen(self, document):
        schemas = document["components"]["schemas"]
        sums = {"granted": 1, "reserved": 0, "used": 0, "remaining": None, "warning": None, "prepaid": None}
        period = {"period_start": "2026-11-01T00:00:00Z", "period_end": "2026-12-01T00:00:00Z"}
        usage = sums | period | {"data": [{"units": 1, "events": 1, "unbilled": 0}]}
        reference = {"$ref": "#/components/schemas/UsageAnswer"}
        assert mismatches(usage, reference, schemas) == []
        changes: list[dict[str, Any]] = [
            {"used": "0"}, {"used": None}, {"used": True}, {"period_end": "soon"}, {"data": [{}]}, {"data": {}}
        ]  # fmt: skip
        for wrong in changes:
            assert mismatches(usage | wrong, reference, schemas), wrong
