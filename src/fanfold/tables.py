"""Every table of the product: one metadata for Alembic and tests."""

from fanfold.api_keys import models as api_keys
from fanfold.core.db import Base
from fanfold.idempotency import models as idempotency
from fanfold.outbox import models as outbox
from fanfold.ratelimit import models as ratelimit
from fanfold.ratelimit.concurrency import models as concurrency
from fanfold.tenants import models as tenants
from fanfold.upstreams import models as upstreams
from fanfold.usage import models as usage
from fanfold.usage import rolled as usage_rolled

__all__ = [
    "api_keys", "concurrency", "idempotency", "metadata", "outbox", "ratelimit", "tenants", "upstreams",
    "usage", "usage_rolled",
]  # fmt: skip

metadata = Base.metadata
