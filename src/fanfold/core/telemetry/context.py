"""The request that is being served here, for log lines written far from it."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

request_state: ContextVar[Mapping[str, Any] | None] = ContextVar("request_state", default=None)


def request_fields() -> dict[str, object]:
    """Return `request_id`, `server_id` where the client chose another, and `tenant_id` once it is known."""
    state = request_state.get()
    if not state:
        return {}
    fields: dict[str, object] = {"request_id": state["request_id"]}
    server_id = str(state["server_id"])
    if server_id != fields["request_id"]:
        fields["server_id"] = server_id
    tenant_id = getattr(state.get("principal"), "tenant_id", None)
    if tenant_id is not None:
        fields["tenant_id"] = str(tenant_id)
    return fields
