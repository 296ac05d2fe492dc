"""Invitations on the wire."""

import datetime as dt
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from fanfold.core.schemas import ReadModel, StrictModel, with_example
from fanfold.members.schemas import MemberRole
from fanfold.users.addresses import Address

MAX_TOKEN = 2048


class InvitationCreate(StrictModel):
    """Whom to invite, as what."""

    model_config = with_example(email="ada@example.com", role="developer")

    email: Address = Field(
        description="The address that the invitation is sent to, and that alone may accept it."
    )
    role: MemberRole = Field(description="At most your own.")


class InvitationAccept(StrictModel):
    """What the invitation's mail holds."""

    model_config = with_example(token="eyJhbGciOiJIUzI1NiIs...")  # noqa: S106 (no secret: the beginning of any)

    token: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TOKEN)] = Field(
        description="The token of the mail."
    )


class InvitationRead(ReadModel):
    """An invitation, without its token."""

    id: UUID
    email: str
    role: MemberRole
    status: Literal["open", "accepted", "revoked", "expired"]
    invited_by: UUID | None = Field(description="The person who invited; null where an API key did.")
    created_at: dt.datetime
    expires_at: dt.datetime
    accepted_at: dt.datetime | None
    revoked_at: dt.datetime | None
