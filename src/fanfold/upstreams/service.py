"""Registering, changing and deleting upstreams."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from fanfold.audit.types import COMMAND_LINE, Actor
from fanfold.core.crypto import KeyRing
from fanfold.core.errors import Conflict, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.errors import FanOutError
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.types import Price
from fanfold.upstreams.address import origin
from fanfold.upstreams.circuits import CircuitStatus
from fanfold.upstreams.finding import own_upstream, visible_upstream
from fanfold.upstreams.mapping import PRICE_MEMBERS, bound_to, engine_upstream, price_of
from fanfold.upstreams.models import UpstreamRecord
from fanfold.upstreams.recording import upstream_members
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import AuthOptions, UpstreamCreate, UpstreamUpdate

MAX_SHARED = 500


class UpstreamService:
    """The upstreams of one tenant, or those that all share (`SHARED`).

    Changes hold in every process within 2 s, and are in the audit log as `actor`'s, with a `reason` perhaps.
    """

    def __init__(
        self,
        upstreams: UpstreamRepository,
        *,
        key_ring: KeyRing,
        guard: AddressGuard,
        actor: Actor = COMMAND_LINE,
        reason: str | None = None,
    ) -> None:
        self._upstreams, self._key_ring, self._guard = upstreams, key_ring, guard
        self._recorder = upstreams.recorder(actor, reason)

    async def create(self, tenant_id: UUID, wanted: UpstreamCreate, *, max_upstreams: int) -> UpstreamRecord:
        """Register an upstream. A tenant's first one becomes the default; a shared one only where it is asked for."""
        self._check_url(wanted.url)
        record = UpstreamRecord(tenant_id=tenant_id, id=uuid7(), kind=wanted.kind, is_default=False)
        values = {name: getattr(wanted, name) for name in type(wanted).model_fields if name != "kind"}
        values.pop("is_default")
        price = Price(**{name: values.pop(name) for name in PRICE_MEMBERS})
        # What is wrong with it comes before how many there are.
        self._change(record, values | _defaults(wanted), [price])
        await self._upstreams.lock()
        count = await self._upstreams.count()
        if count >= max_upstreams:
            raise _full(record, max_upstreams)
        if wanted.is_default or (count == 0 and not record.is_shared):
            await self._upstreams.clear_default()
            record.is_default = True
        await self._save(record, price)
        await self._recorder.created(record)
        return record

    async def get(self, upstream_id: UUID) -> UpstreamRecord:
        """Return the upstream, which may be a shared one, or a 404."""
        return await visible_upstream(self._upstreams, upstream_id)

    async def circuit(self, upstream_id: UUID) -> CircuitStatus:
        """Return the circuit of an upstream, over all processes."""
        return await self._upstreams.circuits.find(upstream_id)

    async def update(self, upstream_id: UUID, wanted: UpstreamUpdate) -> UpstreamRecord:
        """Change the members that were sent; another origin erases a credential that was not sent anew.

        Another price holds from now on.
        """
        await self._upstreams.lock()
        record = await own_upstream(self._upstreams, upstream_id)
        before, sealed = upstream_members(record), record.credential_sealed
        upcoming = await self._upstreams.prices.upcoming(upstream_id)
        values: dict[str, Any] = {name: getattr(wanted, name) for name in wanted.model_fields_set}
        if "url" in values:
            self._check_url(values["url"])
            if origin(values["url"]) != origin(record.url):
                values.setdefault("credential", None)
            if values["url"] != record.url:
                await self._upstreams.circuits.forget(upstream_id)
        if values.get("is_default"):  # before the record changes: the next statement writes what has changed
            await self._upstreams.clear_default()
        present = price_of(record.price)
        price = replace(present, **{name: values.pop(name) for name in PRICE_MEMBERS if name in values})
        self._change(
            record,
            values | {"updated_at": dt.datetime.now(dt.UTC)},
            [price, *map(price_of, upcoming)],
        )
        await self._save(record, price if price != present else None)
        await self._recorder.changed(record, before, sealed)
        return record

    async def delete(self, upstream_id: UUID) -> None:
        """Delete the upstream. Requests that run go on with it."""
        await self._upstreams.lock()  # an update that has read the row would find it gone
        record = await own_upstream(self._upstreams, upstream_id)
        await self._recorder.deleted(record)
        await self._upstreams.circuits.forget(upstream_id)
        await self._upstreams.delete(record)

    def _change(self, record: UpstreamRecord, values: dict[str, Any], prices: Sequence[Price]) -> None:
        """Set members, and check what comes of them with the price in force and those to come."""
        if "credential" in values:
            credential: SecretStr | None = values.pop("credential")
            sealed = self._key_ring.seal(credential, bound_to=bound_to(record)) if credential else None
            record.credential_sealed = sealed
        if auth := values.pop("auth", None):
            record.auth_header, record.auth_scheme = auth.header, auth.scheme
        for name, value in values.items():
            setattr(record, name, value)
        if record.auth_header.lower() in map(str.lower, record.headers):
            raise _invalid("headers", "The header of auth is given in headers as well; only one can be sent.")
        _check_kind(record)
        for price in prices:
            check_price(record, price)

    async def _save(self, record: UpstreamRecord, price: Price | None) -> UpstreamRecord:
        try:
            return await self._upstreams.save(record, price)
        except IntegrityError:
            raise Conflict("An upstream with this slug exists already.") from None

    def _check_url(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except ValueError as error:
            raise _invalid("url", str(error)) from None


def _full(record: UpstreamRecord, max_upstreams: int) -> Conflict:
    if record.is_shared:
        return Conflict(f"At most {max_upstreams} upstreams are shared. Delete one first.")
    return Conflict(f"The plan allows {max_upstreams} upstreams. Delete one first.")


def check_price(record: UpstreamRecord, price: Price) -> None:
    """Refuse a price that cannot be reserved for; a 422."""
    bound = adapter(record.kind).output_tokens_bound(engine_upstream(record, None, price))
    if price.units_per_1k_output_tokens and bound is None:
        raise _invalid("options", "A price on output tokens needs options.max_tokens, a whole number from 1.")


def _check_kind(record: UpstreamRecord) -> None:
    try:
        adapter(record.kind).check(engine_upstream(record, None, Price()))
    except FanOutError as error:
        raise _invalid("kind", str(error)) from None


def _defaults(wanted: UpstreamCreate) -> dict[str, Any]:
    """Return the defaults that depend on the kind, for members that were not sent."""
    kind = adapter(wanted.kind).defaults
    defaults = {
        "timeout_s": kind.timeout_s,
        "idempotent": kind.idempotent or wanted.method == "GET",
        "auth": AuthOptions(header=kind.auth_header, scheme=kind.auth_scheme),
    }
    return {name: value for name, value in defaults.items() if name not in wanted.model_fields_set}


def _invalid(member: str, message: str) -> ValidationFailed:
    return ValidationFailed(
        message, errors=[{"loc": ["body", member], "msg": message, "type": "value_error"}]
    )
