"""Every table of the product: one metadata for Alembic and tests."""

from fanfold.api_keys import models as api_keys
from fanfold.audit import models as audit
from fanfold.core.db import Base
from fanfold.idempotency import models as idempotency
from fanfold.jobs import models as jobs
from fanfold.members import models as members
from fanfold.oauth import models as oauth
from fanfold.outbox import models as outbox
from fanfold.ratelimit import models as ratelimit
from fanfold.ratelimit.concurrency import models as concurrency
from fanfold.tenants import models as tenants
from fanfold.upstreams import models as upstreams
from fanfold.usage import models as usage
from fanfold.usage import rolled as usage_rolled
from fanfold.users import models as users
from fanfold.webhooks import models as webhooks

__all__ = [
    "api_keys", "audit", "concurrency", "idempotency", "jobs", "members", "metadata", "oauth", "outbox", "ratelimit",
    "tenants", "upstreams", "usage", "usage_rolled", "users", "webhooks",
]  # fmt: skip

metadata = Base.metadata
