"""`/v1/webhooks/{id}/deliveries` and `/v1/webhook-deliveries`."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request

from fanfold.auth.dependencies import CurrentActor, CurrentTenant, DbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.webhooks.delivery_repository import DeliveryRepository
from fanfold.webhooks.delivery_schemas import DeliveryRead, DeliveryStatus, DeliveryWithAttempts
from fanfold.webhooks.delivery_service import DeliveryService
from fanfold.webhooks.repository import WebhookRepository
from fanfold.webhooks.router import WebhooksWriter

router = Router(
    prefix="/v1",
    tags=["Webhooks"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)
Status = Annotated[DeliveryStatus | None, Query(description="Only deliveries that stand so.")]


async def _due(request: Request) -> AsyncIterator[None]:
    """Let this process send what a replay has made due as soon as it is committed."""
    yield
    request.app.state.deliverer.nudge()


# Asked for before the session, so that it ends after the session's commit.
Due = Annotated[None, Depends(_due, scope="function")]


async def _service(session: DbSession, tenant: CurrentTenant) -> DeliveryService:
    return DeliveryService(WebhookRepository(session, tenant.id), DeliveryRepository(session, tenant.id))


DeliveryServiceDep = Annotated[DeliveryService, Depends(_service)]


@router.get("/webhooks/{webhook_id}/deliveries", responses=problem_responses(404))
async def list_webhook_deliveries(
    webhook_id: UUID,
    deliveries: DeliveryServiceDep,
    status: Status = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[DeliveryRead]:
    """List what was sent to a webhook and what waits for it, newest first; kept for 30 days."""
    data, next_cursor = await deliveries.list(webhook_id, status=status, limit=limit, cursor=cursor)
    return Page(data=data, next_cursor=next_cursor)


@router.get("/webhook-deliveries/{delivery_id}", responses=problem_responses(404))
async def get_webhook_delivery(delivery_id: UUID, deliveries: DeliveryServiceDep) -> DeliveryWithAttempts:
    """Show one delivery with its attempts."""
    return await deliveries.get(delivery_id)


@router.post(
    "/webhook-deliveries/{delivery_id}/replay", status_code=202, responses=problem_responses(404, 409)
)
async def replay_webhook_delivery(
    delivery_id: UUID,
    _due: Due,
    deliveries: DeliveryServiceDep,
    actor: CurrentActor,
    _principal: WebhooksWriter,
) -> DeliveryRead:
    """Send a delivery again now, under the same `webhook-id` and with a fresh timestamp, retries included."""
    return await deliveries.replay(delivery_id, actor)
