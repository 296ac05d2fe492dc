"""What a webhook can be told of, and how it is written: the form of Standard Webhooks (standardwebhooks.com)."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

JOB_FINISHED = "job.finished"
QUOTA_WARNING = "quota.warning"
KEY_CREATED, KEY_ROTATED, KEY_REVOKED = "api_key.created", "api_key.rotated", "api_key.revoked"
CIRCUIT_OPENED = "upstream.circuit_opened"
DISABLED = "webhook.disabled"
TEST = "webhook.test"

# Topics of the outbox, and what of each one's payload is told: ids and states, never a text or a secret.
EVENTS: Mapping[str, tuple[str, ...]] = {
    JOB_FINISHED: ("job_id", "status", "counts", "units"),
    QUOTA_WARNING: ("level", "holder", "api_key_id", "period_start", "used", "limit"),
    KEY_CREATED: ("api_key_id",),
    KEY_ROTATED: ("api_key_id", "previous_until"),
    KEY_REVOKED: ("api_key_id",),
    CIRCUIT_OPENED: ("upstream_id", "upstream", "opened_at", "retry_at"),
    DISABLED: ("webhook_id", "reason"),
}

_UUID7, _MILLISECONDS_AT = 7, 80


def event_body(kind: str, tenant_id: UUID, payload: Mapping[str, Any], *, at: dt.datetime) -> str:
    """Return the event as JSON, as it is signed and sent; raises KeyError for a payload that is none of this kind."""
    told = {name: payload[name] for name in EVENTS[kind]}
    return _written(kind, at, {"tenant_id": str(tenant_id), **told})


def trial_body(tenant_id: UUID, webhook_id: UUID, *, at: dt.datetime) -> str:
    """Return the event of a test as JSON."""
    return _written(TEST, at, {"tenant_id": str(tenant_id), "webhook_id": str(webhook_id)})


def moment_of(event_id: UUID, *, otherwise: dt.datetime) -> dt.datetime:
    """Return when an event happened, to the millisecond, as its time-ordered id has it; `otherwise` for another id."""
    if event_id.version != _UUID7:
        return otherwise
    return dt.datetime.fromtimestamp((event_id.int >> _MILLISECONDS_AT) / 1000, dt.UTC)


def _written(kind: str, at: dt.datetime, data: Mapping[str, Any]) -> str:
    written = at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"type": kind, "timestamp": written, "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
