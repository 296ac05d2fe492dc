"""`/v1/clients`: a tenant's machine clients."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from pydantic import SecretStr

from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.service import ApiKeyService
from fanfold.auth.dependencies import CurrentActor, CurrentTenant, DbSession, Once
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.oauth.client_schemas import ClientCreate, ClientIssued, ClientRead, ClientUpdate
from fanfold.oauth.clients import ClientRepository, ClientService
from fanfold.oauth.models import OAuthClient

KeysWriter = Annotated[Principal, Require(Scope.KEYS_WRITE)]

router = Router(
    prefix="/v1/clients",
    tags=["API keys"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _service(
    request: Request, session: DbSession, tenant: CurrentTenant, actor: CurrentActor
) -> ClientService:
    ring = request.app.state.key_ring
    keys = ApiKeyService(ApiKeyRepository(session, tenant.id), ring, actor=actor)
    return ClientService(ClientRepository(session, tenant.id), keys, ring, actor=actor)


ClientServiceDep = Annotated[ClientService, Depends(_service)]


def _shown_once(client: OAuthClient, secret: SecretStr, response: Response) -> ClientIssued:
    response.headers["Cache-Control"] = "no-store"
    shown = ClientRead.model_validate(client).model_dump()
    return ClientIssued(**shown, client_secret=secret.get_secret_value())


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_client(
    wanted: ClientCreate,
    clients: ClientServiceDep,
    principal: KeysWriter,
    tenant: CurrentTenant,
    response: Response,
    _once: Once,
) -> ClientIssued:
    """Make a machine client. Its secret is shown in this answer and never again."""
    made, secret = await clients.create(wanted, most=tenant.limits.max_api_keys, grantor=principal)
    response.headers["Location"] = f"/v1/clients/{made.id}"
    return _shown_once(made, secret, response)


@router.get("")
async def list_clients(
    session: DbSession, tenant: CurrentTenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ClientRead]:
    """List the tenant's machine clients, newest first, revoked ones too."""
    rows, next_cursor = await ClientRepository(session, tenant.id).list(limit=limit, cursor=cursor)
    return Page(data=[ClientRead.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.get("/{client_id}", responses=problem_responses(404))
async def get_client(client_id: UUID, clients: ClientServiceDep) -> ClientRead:
    """Show one machine client, without its secret."""
    return ClientRead.model_validate(await clients.get(client_id))


@router.patch("/{client_id}", responses=problem_responses(400, 404, 409, 413, 415))
async def update_client(
    client_id: UUID, wanted: ClientUpdate, clients: ClientServiceDep, principal: KeysWriter
) -> ClientRead:
    """Change a machine client's name or scopes; holds for its tokens too within 2 s."""
    return ClientRead.model_validate(await clients.update(client_id, wanted, grantor=principal))


@router.post("/{client_id}/rotate", responses=problem_responses(404, 409))
async def rotate_client_secret(
    client_id: UUID, clients: ClientServiceDep, principal: KeysWriter, response: Response
) -> ClientIssued:
    """Give a machine client a new secret; the one before it is refused at once."""
    client, secret = await clients.rotate(client_id, grantor=principal)
    return _shown_once(client, secret, response)


@router.delete("/{client_id}", status_code=204, responses=problem_responses(404))
async def revoke_client(client_id: UUID, clients: ClientServiceDep, _principal: KeysWriter) -> None:
    """Revoke a machine client and its tokens: refused everywhere within 2 s, for good."""
    await clients.revoke(client_id)
