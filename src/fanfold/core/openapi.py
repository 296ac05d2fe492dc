"""The OpenAPI document: FastAPI's own, with how to authenticate, what problems look like, and answers' headers."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem. `code` is stable; `errors` comes with 422.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/quota-exhausted"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "examples": ["urn:uuid:019a9f3e-7c1e-7b3e-8f3e-0d8f0d8f0d8f"]},
        "code": {"type": "string", "examples": ["quota-exhausted"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
    },
}
_NOT_OURS = ("HTTPValidationError", "ValidationError")
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})


Security = Callable[[str, str], list[dict[str, list[str]]]]
_late: list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]] = []


def when_documented(schema: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a place for a schema, which is worked out when the document is: for what only the document needs."""
    place: dict[str, Any] = {}
    _late.append((place, schema))
    return place


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


HEADERS: dict[str, Any] = {
    "X-Request-ID": _header("The request's id: yours where you sent one, else ours."),
    "RateLimit": _header('What is left of each limit, as `"tenant";r=19;t=1` (IETF draft).'),
    "RateLimit-Policy": _header('The limits, as `"tenant";q=20;w=20`.'),
    "Location": _header("Where the new object is."),
    "Retry-After": _header("Seconds until it is worth another try.", "integer"),
}
_RETRIED = frozenset({"429", "503"})


def install_openapi(app: FastAPI, *, schemes: Mapping[str, Any], security: Security) -> None:
    """Let `app.openapi()` return the document, made once.

    `schemes` are the ways to authenticate; `security` says which of them a method of a path takes, none where it is
    open to anybody.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, schemes, security)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI, schemes: Mapping[str, Any], security: Security) -> dict[str, Any]:
    for place, schema in _late:
        place.update(schema())
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _NOT_OURS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = dict(schemes)
    components["headers"] = HEADERS
    for path, operations in document["paths"].items():
        for method in _METHODS & operations.keys():
            operation = operations[method]
            _drop_fastapis_refusal(operation["responses"])
            if choices := security(method, path):
                operation["security"] = choices
            has_place = any(
                "get" in said and _is_below(other, path) for other, said in document["paths"].items()
            )
            _add_headers(operation["responses"], is_open=not choices, has_place=has_place)
    return document


def _is_below(path: str, above: str) -> bool:
    return path.startswith(above + "/{") and path.endswith("}") and path.count("/") == above.count("/") + 1


def _add_headers(responses: dict[str, Any], *, is_open: bool, has_place: bool) -> None:
    for status, response in responses.items():
        names = ["Retry-After"] if status in _RETRIED else []
        if status < "300":
            names = ["X-Request-ID", *([] if is_open else ["RateLimit", "RateLimit-Policy"])]
            names += ["Location"] if status == "201" and has_place else []
        if names:
            response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _drop_fastapis_refusal(responses: dict[str, Any]) -> None:
    """Take away the 422 that FastAPI adds where a route declares none: routes of forms answer as OAuth has it."""
    shown = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if shown.get("$ref") == "#/components/schemas/HTTPValidationError":
        del responses["422"]
