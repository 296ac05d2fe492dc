"""Machine clients on the wire."""

import datetime as dt
from uuid import UUID

from pydantic import Field

from fanfold.api_keys.schemas import Scopes
from fanfold.auth.principal import Scope
from fanfold.core.schemas import Name, ReadModel, StrictModel, with_example


class ClientCreate(StrictModel):
    """A client to be made, for `grant_type=client_credentials`."""

    model_config = with_example(name="nightly import", scopes=["process"])

    name: Name
    scopes: Scopes = Field(default=[Scope.PROCESS.value])


class ClientUpdate(StrictModel):
    """What may change of a client; members left out stay as they are."""

    model_config = with_example(name="weekly import")

    name: Name = ""
    scopes: Scopes = Field(default=[])


class ClientRead(ReadModel):
    """A client without its secret; `id` is its `client_id`."""

    id: UUID
    name: str
    scopes: list[str]
    created_by: UUID | None = Field(description="The person who made it, if one did.")
    created_at: dt.datetime
    last_used_at: dt.datetime | None
    revoked_at: dt.datetime | None


class ClientIssued(ClientRead):
    """A client with its secret, which is shown here and never again."""

    client_secret: str = Field(repr=False, examples=["ff_client_4uZ1kQx8Lm2P...x_1Kd93q"])
