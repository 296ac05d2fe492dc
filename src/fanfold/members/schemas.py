"""Tenants as their members see them, on the wire."""

import datetime as dt
from typing import Literal
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import Name, ReadModel, Slug, StrictModel, with_example

MemberRole = Literal["viewer", "developer", "admin", "owner"]


class TenantFound(StrictModel):
    """A tenant to be founded by whoever has signed in."""

    model_config = with_example(name="织云科技", slug="zhiyun")

    name: Name
    slug: Slug = Field(description="Its short name, of no other tenant, and never changed: a-z, 0-9 and `-`.")


class OwnTenantUpdate(StrictModel):
    """What members may change of their tenant; a member left out stays as it is."""

    model_config = with_example(name="织云科技 🐟")

    name: Name = ""


class OwnTenantRead(ReadModel):
    """A tenant as its members see it."""

    id: UUID
    slug: str
    name: str
    status: str = Field(description="`active`, `suspended` or `deleted`.")
    plan: str
    created_at: dt.datetime


class MemberUpdate(StrictModel):
    """A member's new role."""

    model_config = with_example(role="developer")

    role: MemberRole = Field(description="At most your own.")


class MemberRead(ReadModel):
    """A person of the tenant."""

    user_id: UUID
    email: str
    name: str
    role: MemberRole
    joined_at: dt.datetime
