"""What the audit log shows of upstreams and their prices: never a credential, and of headers the names alone."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.changes import difference
from fanfold.audit.types import Actor
from fanfold.upstreams.mapping import PRICE_MEMBERS, read_upstream
from fanfold.upstreams.models import UpstreamPriceRecord, UpstreamRecord

# What nobody has set.
_NOT_SETTINGS = {"id", "created_at", "updated_at", "circuit"}


class UpstreamRecorder:
    """Writes changes as `actor`, for a `reason` perhaps, in the transaction of the change itself."""

    def __init__(self, session: AsyncSession, actor: Actor, reason: str | None = None) -> None:
        self._session, self._actor, self._reason = session, actor, reason

    async def created(self, record: UpstreamRecord) -> None:
        """Write that an upstream was registered."""
        await self._record("upstream.created", record, after=upstream_members(record))

    async def changed(self, record: UpstreamRecord, before: dict[str, Any], sealed: bytes | None) -> None:
        """Write how an upstream differs from `before`, when its credential was `sealed`; nothing where it does not."""
        change = difference(before, upstream_members(record))
        if record.credential_sealed != sealed:
            change = {"before": change.get("before", {}), "after": change.get("after", {})}
            change["after"]["credential"] = "replaced" if record.credential_sealed else "erased"
        if change:
            await self._record("upstream.updated", record, **change)

    async def deleted(self, record: UpstreamRecord) -> None:
        """Write that an upstream was deleted."""
        await self._record("upstream.deleted", record, before=upstream_members(record))

    async def price_added(self, record: UpstreamRecord, price: UpstreamPriceRecord) -> None:
        """Write that a price was added."""
        await self._record("upstream.price_added", record, after=_price_members(price))

    async def price_withdrawn(self, record: UpstreamRecord, price: UpstreamPriceRecord) -> None:
        """Write that a price was withdrawn."""
        await self._record("upstream.price_withdrawn", record, before=_price_members(price))

    async def _record(self, action: str, record: UpstreamRecord, **change: Any) -> None:
        await audit.record(
            self._session,
            self._actor,
            tenant_id=record.tenant_id,
            action=action,
            object_kind="upstream",
            object_id=record.id,
            reason=self._reason,
            **change,
        )


def upstream_members(record: UpstreamRecord) -> dict[str, Any]:
    """Return an upstream as plain JSON."""
    shown = read_upstream(record).model_dump(mode="json", exclude=_NOT_SETTINGS)
    return shown | {"headers": sorted(shown["headers"])}


def _price_members(price: UpstreamPriceRecord) -> dict[str, Any]:
    members = {name: getattr(price, name) for name in PRICE_MEMBERS}
    return members | {"price_id": str(price.id), "effective_from": price.effective_from.isoformat()}
