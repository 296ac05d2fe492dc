"""The request that is being served here, for log lines written far from it."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from fanfold.core.identifiers import uuid7_text

request_state: ContextVar[Mapping[str, Any] | None] = ContextVar("request_state", default=None)


def request_fields() -> dict[str, object]:
    """Return the fields of the request that is being served; none outside any."""
    state = request_state.get()
    return fields_of(state) if state else {}


def fields_of(state: Mapping[str, Any]) -> dict[str, object]:
    """Return `request_id`, `server_id` where the client chose another, and `tenant_id` once it is known."""
    fields: dict[str, object] = {"request_id": state["request_id"]}
    if state["request_id"] != state["server_id"]:
        fields["server_id"] = state["server_id"]
    principal = state.get("principal")
    if principal is not None and principal.tenant_id is not None:
        fields["tenant_id"] = principal.tenant_id
    return fields


def request_server_id() -> str:
    """Return our own id of the request, a new one outside any."""
    state = request_state.get()
    server_id: str | None = state.get("server_id") if state else None
    return server_id or uuid7_text()
