"""`/v1/api-keys`."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from fanfold.api_keys.keys import IssuedKey
from fanfold.api_keys.models import ApiKey
from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate, ApiKeyIssued, ApiKeyRead, ApiKeyRotate, ApiKeyUpdate
from fanfold.api_keys.service import ApiKeyService
from fanfold.auth.dependencies import CurrentActor, CurrentTenant, DbSession, Once
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute

KeysWriter = Annotated[Principal, Require(Scope.KEYS_WRITE)]

router = Router(
    prefix="/v1/api-keys",
    tags=["API keys"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _service(
    request: Request, session: DbSession, tenant: CurrentTenant, actor: CurrentActor
) -> ApiKeyService:
    return ApiKeyService(ApiKeyRepository(session, tenant.id), request.app.state.key_ring, actor=actor)


ApiKeyServiceDep = Annotated[ApiKeyService, Depends(_service)]


def _shown_once(record: ApiKey, issued: IssuedKey, response: Response) -> ApiKeyIssued:
    response.headers["Cache-Control"] = "no-store"
    shown = ApiKeyRead.model_validate(record).model_dump()
    return ApiKeyIssued(**shown, key=issued.key.get_secret_value())


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_api_key(
    wanted: ApiKeyCreate,
    keys: ApiKeyServiceDep,
    principal: KeysWriter,
    tenant: CurrentTenant,
    response: Response,
    _once: Once,
) -> ApiKeyIssued:
    """Make a key. It is shown in this answer and never again."""
    record, issued = await keys.issue(
        tenant.id, wanted, max_api_keys=tenant.limits.max_api_keys, grantor=principal
    )
    response.headers["Location"] = f"/v1/api-keys/{record.id}"
    return _shown_once(record, issued, response)


@router.get("")
async def list_api_keys(
    session: DbSession, tenant: CurrentTenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ApiKeyRead]:
    """List the tenant's keys, newest first, revoked ones too."""
    rows, next_cursor = await ApiKeyRepository(session, tenant.id).list(limit=limit, cursor=cursor)
    return Page(data=[ApiKeyRead.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.get("/{key_id}", responses=problem_responses(404))
async def get_api_key(key_id: UUID, keys: ApiKeyServiceDep) -> ApiKeyRead:
    """Show one key, without its secret."""
    return ApiKeyRead.model_validate(await keys.get(key_id))


@router.patch("/{key_id}", responses=problem_responses(400, 404, 409, 413, 415))
async def update_api_key(
    key_id: UUID, wanted: ApiKeyUpdate, keys: ApiKeyServiceDep, principal: KeysWriter
) -> ApiKeyRead:
    """Change a key's name, scopes, expiry or limits."""
    return ApiKeyRead.model_validate(await keys.update(key_id, wanted, grantor=principal))


@router.post("/{key_id}/rotate", responses=problem_responses(400, 404, 409, 413, 415))
async def rotate_api_key(
    key_id: UUID,
    wanted: ApiKeyRotate,
    keys: ApiKeyServiceDep,
    principal: KeysWriter,
    response: Response,
    _once: Once,
) -> ApiKeyIssued:
    """Give a key a new secret, shown in this answer and never again; the one before it holds for `grace_s` seconds.

    Its id, its limits and what it has used stay.
    """
    record, issued = await keys.rotate(key_id, grace_s=wanted.grace_s, grantor=principal)
    return _shown_once(record, issued, response)


@router.delete("/{key_id}", status_code=204, responses=problem_responses(404))
async def revoke_api_key(key_id: UUID, keys: ApiKeyServiceDep, _principal: KeysWriter) -> None:
    """Revoke a key: refused everywhere within 2 s, for good."""
    await keys.revoke(key_id)
