"""People on the wire, as operators see them. No hash, no secret."""

import datetime as dt
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import Flag, ReadModel, StrictModel, with_example


class UserRead(ReadModel):
    """A person."""

    id: UUID
    email: str
    name: str
    is_active: bool = Field(description="Whether they may sign in.")
    is_verified: bool = Field(description="Whether they have shown that the address is theirs.")
    is_operator: bool = Field(description="Made by the command line alone.")
    has_second_factor: bool
    created_at: dt.datetime
    updated_at: dt.datetime


class MembershipRead(ReadModel):
    """A person's part in a tenant."""

    tenant_id: UUID
    slug: str
    role: str
    joined_at: dt.datetime


class UserDetail(UserRead):
    """A person with their tenants."""

    memberships: list[MembershipRead]


class UserUpdate(StrictModel):
    """What an operator may change of a person."""

    model_config = with_example(is_active=True)

    is_active: Flag = Field(
        description="false ends every sign-in within 2 s, and lets nobody in with this account until it is true again."
    )
