"""People on the wire."""

import datetime as dt
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import ReadModel


class PersonRead(ReadModel):
    """Whoever has signed in, as they see themselves."""

    id: UUID
    email: str
    name: str
    is_operator: bool
    created_at: dt.datetime


class TenantOfPerson(ReadModel):
    """A tenant that a person belongs to."""

    id: UUID
    slug: str
    name: str
    role: str
    status: str = Field(description="`active`, `suspended` or `deleted`.")
