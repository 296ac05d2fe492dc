"""How to authenticate, as OpenAPI writes it: the ways there are, and which of them an operation takes."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from starlette.routing import BaseRoute

from fanfold.auth.principal import Scope
from fanfold.auth.routes import RouteTable

_SCOPES = {
    Scope.PROCESS: "Process texts, and ask what that would cost.",
    Scope.JOBS: "Run jobs.",
    Scope.USAGE_READ: "Read what was used and billed.",
    Scope.KEYS_WRITE: "Make, change and revoke API keys and machine clients.",
    Scope.UPSTREAMS_WRITE: "Register, change and remove upstreams and their prices.",
    Scope.WEBHOOKS_WRITE: "Register, change and remove webhooks.",
    Scope.MEMBERS_WRITE: "Invite, change and remove members.",
    Scope.TENANT_WRITE: "Change, export and delete the tenant.",
    Scope.OPERATOR: "Look after all tenants; operators alone.",
}
# Relative to the document, so that it holds below any root path.
_TOKEN_URL = "v1/auth/token"  # noqa: S105 (an address)
SECURITY_SCHEMES: dict[str, Any] = {
    "OAuth2": {
        "type": "oauth2",
        "description": (
            "People sign in with address and password, on first-party pages alone; machine clients with their id and "
            "secret, which opens no route of people. No scope chosen: all that the role, or the client, has."
        ),
        "flows": {
            "password": {
                "tokenUrl": _TOKEN_URL,
                "refreshUrl": _TOKEN_URL,
                "scopes": {scope.value: said for scope, said in _SCOPES.items()},
            },
            "clientCredentials": {
                "tokenUrl": _TOKEN_URL,
                "scopes": {
                    scope.value: said for scope, said in _SCOPES.items() if scope is not Scope.OPERATOR
                },
            },
        },
    },
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`ff_live_...`"},
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or an access token, as a bearer token.",
    },
}


def security_of(
    routes: Sequence[BaseRoute], *, public: frozenset[str]
) -> Callable[[str, str], list[dict[str, list[str]]]]:
    """Return the function that says, of a method and a path template, what may be sent: any one of a list.

    Nothing where the route is open to anybody; of people's own routes a sign-in alone.
    """

    @cache
    def table() -> RouteTable:
        return RouteTable(routes, public=public)

    def security(method: str, path: str) -> list[dict[str, list[str]]]:
        route = table().match({"type": "http", "method": method.upper(), "path": path})
        if route is None:
            return []
        scope = route.requirement.scope
        signed_in: dict[str, list[str]] = {"OAuth2": [] if scope is None else [scope.value]}
        return [signed_in] if route.requirement.for_people else [signed_in, {"ApiKey": []}, {"Bearer": []}]

    return security
