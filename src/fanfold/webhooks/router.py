"""`/v1/webhooks`."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from pydantic import SecretStr

from fanfold.auth.dependencies import CurrentActor, CurrentTenant, DatabaseDep, DbSession, Once
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.models import Webhook
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.schemas import (
    WebhookCreate,
    WebhookIssued,
    WebhookRead,
    WebhookRotate,
    WebhookTrial,
    WebhookUpdate,
)
from fanfold.webhooks.service import WebhookService
from fanfold.webhooks.trial import try_webhook, webhook_to_try

WebhooksWriter = Annotated[Principal, Require(Scope.WEBHOOKS_WRITE)]

router = Router(
    prefix="/v1/webhooks",
    tags=["Webhooks"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _service(
    request: Request, session: DbSession, tenant: CurrentTenant, actor: CurrentActor
) -> WebhookService:
    return WebhookService(
        WebhookRepository(session, tenant.id),
        DeliveryRepository(session, tenant.id),
        key_ring=request.app.state.key_ring,
        guard=request.app.state.address_guard,
        actor=actor,
    )


WebhookServiceDep = Annotated[WebhookService, Depends(_service)]


def _shown_once(webhook: Webhook, secret: SecretStr, response: Response) -> WebhookIssued:
    response.headers["Cache-Control"] = "no-store"
    shown = WebhookRead.model_validate(webhook).model_dump()
    return WebhookIssued(**shown, secret=secret.get_secret_value())


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_webhook(
    wanted: WebhookCreate,
    webhooks: WebhookServiceDep,
    response: Response,
    _principal: WebhooksWriter,
    _once: Once,
) -> WebhookIssued:
    """Register a webhook. The secret that signs what is sent to it is shown in this answer and never again."""
    webhook, secret = await webhooks.create(wanted)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    return _shown_once(webhook, secret, response)


@router.get("")
async def list_webhooks(
    session: DbSession, tenant: CurrentTenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[WebhookRead]:
    """List the tenant's webhooks, newest first."""
    rows, next_cursor = await WebhookRepository(session, tenant.id).list(limit=limit, cursor=cursor)
    return Page(data=[WebhookRead.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.get("/{webhook_id}", responses=problem_responses(404))
async def get_webhook(webhook_id: UUID, webhooks: WebhookServiceDep) -> WebhookRead:
    """Show one webhook, without its secret."""
    return WebhookRead.model_validate(await webhooks.get(webhook_id))


@router.patch("/{webhook_id}", responses=problem_responses(400, 404, 413, 415))
async def update_webhook(
    webhook_id: UUID, wanted: WebhookUpdate, webhooks: WebhookServiceDep, _principal: WebhooksWriter
) -> WebhookRead:
    """Change a webhook; what waits for one that is disabled is given up, and can be replayed."""
    return WebhookRead.model_validate(await webhooks.update(webhook_id, wanted))


@router.delete("/{webhook_id}", status_code=204, responses=problem_responses(404))
async def delete_webhook(webhook_id: UUID, webhooks: WebhookServiceDep, _principal: WebhooksWriter) -> None:
    """Delete a webhook, what waits for it, and its log."""
    await webhooks.delete(webhook_id)


@router.post("/{webhook_id}/rotate-secret", responses=problem_responses(400, 404, 409, 413, 415))
async def rotate_webhook_secret(
    webhook_id: UUID,
    wanted: WebhookRotate,
    webhooks: WebhookServiceDep,
    response: Response,
    _principal: WebhooksWriter,
    _once: Once,
) -> WebhookIssued:
    """Give a webhook a new secret, shown in this answer and never again; the one before it signs too for `grace_s`."""
    webhook, secret = await webhooks.rotate(webhook_id, grace_s=wanted.grace_s)
    return _shown_once(webhook, secret, response)


@router.post("/{webhook_id}/test", responses=problem_responses(404))
async def run_webhook_test(
    webhook_id: UUID,
    request: Request,
    tenant: CurrentTenant,
    database: DatabaseDep,
    _principal: WebhooksWriter,
) -> WebhookTrial:
    """Send a test event now, also to a disabled webhook, and say what is wrong. Waits for 15 s at most."""
    state = request.app.state
    # Only to read it: while it is called, the connection is others'.
    async with database.session(tenant.id) as session:
        webhook = await webhook_to_try(WebhookRepository(session, tenant.id), webhook_id)
    return await try_webhook(state.webhook_sender, state.key_ring, webhook)
