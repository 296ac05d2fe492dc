"""The audit log on the wire."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import ReadModel


class AuditEventRead(ReadModel):
    """One change: who changed what, when, before and after.

    `tenant_id` is the nil UUID for what belongs to no tenant.
    """

    id: UUID
    at: dt.datetime
    tenant_id: UUID
    actor_kind: str = Field(
        description="`user`, `api_key`, `client`, `operator_key`, `command_line` or `server`."
    )
    actor_id: UUID | None
    action: str = Field(examples=["tenant.suspended"])
    object_kind: str
    object_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None = Field(description="The id that the server gave the request.")
    reason: str | None
