"""`/.well-known`: what other services verify our tokens with (RFC 7517), and what there is here (RFC 8414)."""

from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from fanfold.auth.principal import Scope
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses

PATHS = frozenset({"/.well-known/jwks.json", "/.well-known/oauth-authorization-server"})
# Shorter than the life of a key that is replaced.
_KEPT = {"Cache-Control": "public, max-age=60"}

router = Router(
    prefix="/.well-known",
    tags=["Sign-in"],
    route_class=StrictRoute,
    responses=problem_responses(422, 429, 503),
)


class KeySet(BaseModel):
    """The public halves of the keys that sign access tokens; none with HS256."""

    keys: list[dict[str, Any]]


class ServerMetadata(BaseModel):
    """What this authorization server offers."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    revocation_endpoint: str
    introspection_endpoint: str
    scopes_supported: list[str] = sorted(Scope)
    response_types_supported: list[str] = []
    grant_types_supported: list[str] = ["password", "refresh_token", "client_credentials"]
    token_endpoint_auth_methods_supported: list[str] = ["none", "client_secret_post", "client_secret_basic"]
    revocation_endpoint_auth_methods_supported: list[str] = ["none"]
    service_documentation: str


@router.get("/jwks.json")
async def key_set(request: Request, response: Response) -> KeySet:
    """Show the keys that verify access tokens; may be kept for a minute."""
    response.headers.update(_KEPT)
    return KeySet(keys=await request.app.state.signing_keys.public())


@router.get("/oauth-authorization-server")
async def server_metadata(request: Request, response: Response) -> ServerMetadata:
    """Describe this authorization server."""
    response.headers.update(_KEPT)
    issuer = request.app.state.access_tokens.issuer
    return ServerMetadata(
        issuer=issuer,
        token_endpoint=f"{issuer}/v1/auth/token",
        jwks_uri=f"{issuer}/.well-known/jwks.json",
        revocation_endpoint=f"{issuer}/v1/auth/revoke",
        introspection_endpoint=f"{issuer}/v1/auth/introspect",
        service_documentation=f"{issuer}/docs",
    )
