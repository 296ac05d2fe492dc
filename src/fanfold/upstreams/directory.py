"""A tenant's upstreams as the engine's values, fresh to the second, without holding a database connection."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import exists, or_, select

from fanfold.core.cache import FreshCache
from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.db import Database
from fanfold.core.telemetry.logging import get_logger
from fanfold.core.values import value
from fanfold.fanout.types import Upstream
from fanfold.upstreams.address import normalise
from fanfold.upstreams.mapping import bound_to, engine_upstream, price_of
from fanfold.upstreams.models import SHARED, UpstreamPriceRecord, UpstreamRecord
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schedule import DatedPrice, Schedule

_log = get_logger(__name__)

UPSTREAMS_TTL_S = 1.0
MAX_TENANTS = 5_000
# Prices that begin within it are loaded too: many times as long as what was loaded is used.
HORIZON = timedelta(seconds=60)


@value
class Unopened:
    """What names the enabled upstreams whose credential does not open."""

    slugs: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    has_default: bool = False


@value
class TenantUpstreams:
    """The enabled upstreams of one tenant, the oldest first, with those that all share, and the default among them.

    `slugs` and `has_default` count those that are not enabled as well: what a tenant has of its own is never answered
    by a shared one in its stead, at another price. What is asked for and does not open raises `SealBroken`, a 503: it
    is there, and no client can help it.
    """

    enabled: tuple[Upstream, ...]
    default: Upstream | None
    by_address: Mapping[str, Upstream] = field(default_factory=dict)
    slugs: frozenset[str] = frozenset()
    has_default: bool = False
    shared: tuple[Upstream, ...] = ()
    unopened: Unopened = Unopened()
    shared_unopened: Unopened = Unopened()

    def find(self, slug: str) -> Upstream | None:
        """Return the enabled upstream of that slug: the tenant's own, else the shared one."""
        is_own = slug in self.slugs
        _check(slug not in (self.unopened if is_own else self.shared_unopened).slugs)
        upstreams = self.enabled if is_own else self.shared
        return next((upstream for upstream in upstreams if upstream.slug == slug), None)

    def find_url(self, url: str) -> Upstream | None:
        """Return the oldest enabled upstream of the tenant's own with that normalised address."""
        address = normalise(url)
        _check(address not in self.unopened.addresses)
        return self.by_address.get(address)

    def find_default(self) -> Upstream | None:
        """Return the enabled default: the tenant's own, else the shared one."""
        _check(not (self.unopened if self.has_default else self.shared_unopened).has_default)
        return self.default

    def beside(self, shared: "TenantUpstreams") -> "TenantUpstreams":
        """Return the same with what is shared."""
        if not shared.slugs:
            return self
        default = self.default if self.has_default else shared.default
        return replace(self, shared=shared.enabled, default=default, shared_unopened=shared.unopened)


def _check(is_open: bool) -> None:  # noqa: FBT001 (its one argument)
    if not is_open:
        raise SealBroken("The credential of an upstream does not open.")


@value
class _Loaded:
    """What was read, and the database's time then; `schedules` of the upstreams whose price is about to change."""

    upstreams: TenantUpstreams
    schedules: Mapping[UUID, Schedule]
    read_at: datetime
    read_on_clock: float

    def present(self, clock: Callable[[], float]) -> TenantUpstreams:
        """Return the upstreams with the prices in force, by the database's time as it must be by now."""
        if not self.schedules:
            return self.upstreams
        moment = self.read_at + timedelta(seconds=clock() - self.read_on_clock)

        def priced(upstream: Upstream) -> Upstream:
            schedule = self.schedules.get(upstream.id) if upstream.id else None
            return replace(upstream, price=schedule.at(moment)) if schedule else upstream

        present = self.upstreams
        return replace(
            present,
            enabled=tuple(map(priced, present.enabled)),
            default=priced(present.default) if present.default else None,
            by_address={address: priced(upstream) for address, upstream in present.by_address.items()},
        )


class UpstreamDirectory:
    """Looks upstreams up at most once a second for each tenant, and those that all share once for all.

    A price that was known a second before it begins holds from that very moment, by the database's clock.
    """

    def __init__(
        self,
        database: Database,
        key_ring: KeyRing,
        *,
        ttl_s: float = UPSTREAMS_TTL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._key_ring, self._clock = database, key_ring, clock
        self._tenants: FreshCache[UUID, _Loaded] = FreshCache(ttl_s=ttl_s, max_entries=MAX_TENANTS)
        # Apart, so that no number of tenants displaces them.
        self._shared: FreshCache[None, _Loaded] = FreshCache(ttl_s=ttl_s, max_entries=1)

    async def of(self, tenant_id: UUID) -> TenantUpstreams:
        """Return the tenant's and the shared upstreams as they were at most a second ago, with the prices in force."""
        own = self._tenants.fresh(tenant_id) or await self._tenants.get(
            tenant_id, partial(self._load, tenant_id)
        )
        shared = self._shared.fresh(None) or await self._shared.get(None, partial(self._load, SHARED))
        assert own is not None and shared is not None  # noqa: S101, PT018 (`_load` returns one)
        return own.present(self._clock).beside(shared.present(self._clock))

    def forget(self, tenant_id: UUID) -> None:
        """Let this process see a change of the tenant's own, or of what is `SHARED`, at once."""
        if tenant_id == SHARED:
            self._shared.forget(None)
        else:
            self._tenants.forget(tenant_id)

    async def _load(self, owner: UUID) -> _Loaded:
        # What is shared can be read without being any tenant.
        tenant_id = None if owner == SHARED else owner
        async with self._database.session(tenant_id) as session, session.begin():
            repository = UpstreamRepository(session, owner)
            # In this order: what begins in between is in both.
            read_at, read_on_clock = await repository.prices.now(), self._clock()
            rows = await repository.all()
            beginning = await repository.prices.beginning(after=read_at, until=read_at + HORIZON)
        return _Loaded(self._opened(rows), _schedules(rows, beginning), read_at, read_on_clock)

    def _opened(self, rows: Sequence[UpstreamRecord]) -> TenantUpstreams:
        opened = {row.id: self._open(row) for row in rows if row.enabled}
        enabled = tuple(upstream for upstream in opened.values() if upstream is not None)
        return TenantUpstreams(
            enabled,
            default=next((opened.get(row.id) for row in rows if row.is_default), None),
            by_address={normalise(upstream.url): upstream for upstream in reversed(enabled)},
            slugs=frozenset(row.slug for row in rows),
            has_default=any(row.is_default for row in rows),
            unopened=_unopened([row for row in rows if row.enabled and opened[row.id] is None]),
        )

    def _open(self, row: UpstreamRecord) -> Upstream | None:
        """Return the engine's value; None for one whose credential does not open, which must not stop the others."""
        sealed = row.credential_sealed
        try:
            credential = self._key_ring.unseal(sealed, bound_to=bound_to(row)) if sealed else None
        except SealBroken as broken:
            _log.error(f"A credential does not open. {broken.explanation}", upstream_id=str(row.id))
            return None
        return engine_upstream(row, credential, price_of(row.price))


def _unopened(rows: Sequence[UpstreamRecord]) -> Unopened:
    return Unopened(
        slugs=frozenset(row.slug for row in rows),
        addresses=frozenset(normalise(row.url) for row in rows),
        has_default=any(row.is_default for row in rows),
    )


def _schedules(
    rows: Sequence[UpstreamRecord], beginning: Sequence[UpstreamPriceRecord]
) -> dict[UUID, Schedule]:
    to_come: defaultdict[UUID, list[UpstreamPriceRecord]] = defaultdict(list)
    for price in beginning:
        to_come[price.upstream_id].append(price)
    return {
        row.id: Schedule(
            DatedPrice(price.effective_from, price_of(price)) for price in (row.price, *to_come[row.id])
        )
        for row in rows
        if row.id in to_come
    }


async def prices_tokens(database: Database) -> bool:
    """Tell whether any upstream, of whomever, has or had or will have a price for tokens."""
    priced = or_(
        UpstreamPriceRecord.units_per_1k_input_tokens > 0, UpstreamPriceRecord.units_per_1k_output_tokens > 0
    )
    async with database.operator_session() as session:
        return bool(await session.scalar(select(exists().where(priced))))
