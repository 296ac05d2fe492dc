"""The OpenAPI document: FastAPI's own, with how to authenticate and what problems look like."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

SECURITY_SCHEMES: dict[str, Any] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`ff_live_...`"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, as a bearer token."},
}
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


def install_openapi(app: FastAPI, *, public: Collection[str]) -> None:
    """Let `app.openapi()` return the document, made once; `public` are the paths that need no credential."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, public)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI, public: Collection[str]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _NOT_OURS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = SECURITY_SCHEMES
    for path, operations in document["paths"].items():
        for operation in (operations[method] for method in _METHODS & operations.keys()):
            _drop_fastapis_refusal(operation["responses"])
            if path not in public:
                operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return document


def _drop_fastapis_refusal(responses: dict[str, Any]) -> None:
    """Take away the 422 that FastAPI adds where a route declares none: routes of forms answer as OAuth has it."""
    shown = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if shown.get("$ref") == "#/components/schemas/HTTPValidationError":
        del responses["422"]
