"""Prices of an upstream: those that were, the one in force, those to come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from fanfold.audit.types import COMMAND_LINE, Actor
from fanfold.core.errors import Conflict, NotFound, ValidationFailed
from fanfold.core.values import value
from fanfold.upstreams.finding import own_upstream, visible_upstream
from fanfold.upstreams.mapping import PRICE_MEMBERS, price_of
from fanfold.upstreams.models import UpstreamPriceRecord
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import PriceCreate
from fanfold.upstreams.service import check_price

MAX_UPCOMING = 20


@value
class PriceSpan:
    """A price and until when it holds: None while no later one is known."""

    record: UpstreamPriceRecord
    effective_until: datetime | None


class PriceService:
    """The prices of one owner's upstreams; those of shared ones can be read.

    What has begun stays as it is: it is what usage was billed at.
    """

    def __init__(
        self, upstreams: UpstreamRepository, *, actor: Actor = COMMAND_LINE, reason: str | None = None
    ) -> None:
        self._upstreams, self._prices = upstreams, upstreams.prices
        self._recorder = upstreams.recorder(actor, reason)

    async def list(
        self, upstream_id: UUID, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[PriceSpan], str | None]:
        """Return a page of an upstream's prices, from the one that begins last."""
        prices = self._upstreams.prices_of(await visible_upstream(self._upstreams, upstream_id))
        rows, next_cursor = await prices.list(upstream_id, limit=limit, cursor=cursor)
        spans: list[PriceSpan] = []
        for row in rows:
            later = spans[-1].record if spans else await prices.next(upstream_id, row.effective_from)
            spans.append(PriceSpan(row, later.effective_from if later else None))
        return spans, next_cursor

    async def add(self, upstream_id: UUID, wanted: PriceCreate) -> PriceSpan:
        """Add a price that holds from a moment on, or from now; members left out keep the value in force then."""
        await self._upstreams.lock()
        now = await self._prices.now()
        begins = wanted.effective_from or now
        if begins < now:
            raise _past()
        record = await own_upstream(self._upstreams, upstream_id)
        before = await self._prices.in_force(upstream_id, begins) or record.price
        sent = {name: getattr(wanted, name) for name in PRICE_MEMBERS}
        price = replace(
            price_of(before), **{name: units for name, units in sent.items() if units is not None}
        )
        check_price(record, price)
        if before.effective_from == begins:  # the lock keeps another one from coming in between
            raise Conflict("A price begins at this moment already. Withdraw it first.")
        if begins > now and len(await self._prices.upcoming(upstream_id)) >= MAX_UPCOMING:
            raise Conflict(f"An upstream has at most {MAX_UPCOMING} prices to come. Withdraw one first.")
        row = await self._prices.add(upstream_id, price, effective_from=begins)
        await self._recorder.price_added(record, row)
        later = await self._prices.next(upstream_id, begins)
        return PriceSpan(row, later.effective_from if later else None)

    async def withdraw(self, upstream_id: UUID, price_id: UUID) -> None:
        """Delete a price that has not begun; a 409 for one that has."""
        await self._upstreams.lock()
        record = await own_upstream(self._upstreams, upstream_id)
        row = await self._prices.find(upstream_id, price_id)
        if row is None:
            raise NotFound("There is no such price.")
        if row.effective_from <= await self._prices.now():
            raise Conflict("This price has begun, and stays. Add another one that holds from now on.")
        await self._recorder.price_withdrawn(record, row)
        await self._prices.delete(row)


def _past() -> ValidationFailed:
    message = "effective_from lies in the past. Leave it out for a price that holds from now on."
    errors = [{"loc": ["body", "effective_from"], "msg": message, "type": "value_error"}]
    return ValidationFailed(message, errors=errors)
