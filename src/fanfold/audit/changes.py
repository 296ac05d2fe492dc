"""What two states of an object differ in, as the audit log shows it."""

import datetime as dt
from collections.abc import Iterable
from typing import Any


def members_of(row: object, names: Iterable[str]) -> dict[str, Any]:
    """Return members of a row as plain JSON."""
    return {name: _plain(getattr(row, name)) for name in names}


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return `before` and `after` with the members alone that differ; empty where none does."""
    changed = [name for name in after if before[name] != after[name]]
    if not changed:
        return {}
    return {
        "before": {name: before[name] for name in changed},
        "after": {name: after[name] for name in changed},
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value
