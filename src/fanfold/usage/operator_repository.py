"""Usage over all tenants, as operators see it."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.errors import ValidationFailed
from fanfold.core.values import value
from fanfold.usage.sums import OperatorGroupBy, UsageSpan, sums, usage_line
from fanfold.usage.types import UsageLine


@value
class Totals:
    """What all tenants used together."""

    units: int
    events: int
    unbilled: int


class OperatorUsageRepository:
    """Sums over all tenants; give it an operator's session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def totals(self, span: UsageSpan) -> Totals:
        """Return the sums of everything within `span`."""
        by_day = sums(OperatorGroupBy.DAY, span, tenant_id=None).subquery()
        added = [func.coalesce(func.sum(by_day.c[name]), 0) for name in Totals.__dataclass_fields__]
        row = (await self._session.execute(select(*added))).one()
        return Totals(*(int(value) for value in row))

    async def lines(
        self, group_by: OperatorGroupBy, span: UsageSpan, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[UsageLine], str | None]:
        """Return a page of groups in the order of their names, and the cursor of the next one."""
        groups = sums(group_by, span, tenant_id=None).subquery()
        # What has no name, as the usage of no upstream of the tenant's, comes first.
        name: Any = func.coalesce(cast(groups.c.group, Text), "").collate("C")
        statement = select(groups, name.label("name")).order_by(name).limit(limit + 1)
        if cursor:
            statement = statement.where(name > _decode(cursor))
        rows = (await self._session.execute(statement)).all()
        next_cursor = _encode(rows[limit - 1].name) if len(rows) > limit else None
        return [usage_line(row) for row in rows[:limit]], next_cursor


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=") or "-"


def _decode(cursor: str) -> str:
    if cursor == "-":
        return ""
    try:
        name = base64.b64decode(cursor.encode() + b"==", altchars=b"-_", validate=True).decode()
        if name and "\x00" not in name:
            return name
    except (ValueError, binascii.Error):
        pass
    message = "Not a cursor. Send `next_cursor` of the page before, unchanged."
    raise ValidationFailed(message, errors=[{"loc": ["query", "cursor"], "msg": message, "type": "cursor"}])
