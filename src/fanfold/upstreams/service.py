"""Registering, changing and deleting upstreams."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from fanfold.core.crypto import KeyRing
from fanfold.core.errors import Conflict, NotFound, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.errors import FanOutError
from fanfold.fanout.guard import AddressGuard
from fanfold.upstreams.address import origin
from fanfold.upstreams.mapping import bound_to, engine_upstream
from fanfold.upstreams.models import UpstreamRecord
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import UpstreamCreate, UpstreamUpdate

AI_TIMEOUT_S = 60.0


class UpstreamService:
    """The upstreams of one tenant. Changes hold in every process within 2 s."""

    def __init__(self, upstreams: UpstreamRepository, *, key_ring: KeyRing, guard: AddressGuard) -> None:
        self._upstreams, self._key_ring, self._guard = upstreams, key_ring, guard

    async def create(self, tenant_id: UUID, wanted: UpstreamCreate, *, max_upstreams: int) -> UpstreamRecord:
        """Register an upstream; the first one becomes the default."""
        self._check_url(wanted.url)
        record = UpstreamRecord(tenant_id=tenant_id, id=uuid7(), kind=wanted.kind, is_default=False)
        values = {name: getattr(wanted, name) for name in type(wanted).model_fields if name != "kind"}
        values.pop("is_default")
        self._change(
            record, values | _defaults(wanted)
        )  # what is wrong with it comes before how many there are
        await self._upstreams.lock()
        count = await self._upstreams.count()
        if count >= max_upstreams:
            raise Conflict(f"The plan allows {max_upstreams} upstreams. Delete one first.")
        if wanted.is_default or count == 0:
            await self._upstreams.clear_default()
            record.is_default = True
        return await self._save(record)

    async def get(self, upstream_id: UUID) -> UpstreamRecord:
        """Return the upstream, or a 404."""
        record = await self._upstreams.find(upstream_id)
        if record is None:
            raise NotFound("There is no such upstream.")
        return record

    async def update(self, upstream_id: UUID, wanted: UpstreamUpdate) -> UpstreamRecord:
        """Change the members that were sent; another origin erases a credential that was not sent anew."""
        await self._upstreams.lock()
        record = await self.get(upstream_id)
        values: dict[str, Any] = {name: getattr(wanted, name) for name in wanted.model_fields_set}
        if "url" in values:
            self._check_url(values["url"])
            if origin(values["url"]) != origin(record.url):
                values.setdefault("credential", None)
        if values.get("is_default"):  # before the record changes: the next statement writes what has changed
            await self._upstreams.clear_default()
        self._change(record, values | {"updated_at": dt.datetime.now(dt.UTC)})
        return await self._save(record)

    async def delete(self, upstream_id: UUID) -> None:
        """Delete the upstream. Requests that run go on with it."""
        await self._upstreams.lock()  # an update that has read the row would find it gone
        await self._upstreams.delete(await self.get(upstream_id))

    def _change(self, record: UpstreamRecord, values: dict[str, Any]) -> None:
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
        self._check_kind(record)

    async def _save(self, record: UpstreamRecord) -> UpstreamRecord:
        try:
            return await self._upstreams.save(record)
        except IntegrityError:
            raise Conflict("An upstream with this slug exists already.") from None

    def _check_url(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except ValueError as error:
            raise _invalid("url", str(error)) from None

    def _check_kind(self, record: UpstreamRecord) -> None:
        kind, upstream = adapter(record.kind), engine_upstream(record, None)
        try:
            kind.check(upstream)
        except FanOutError as error:
            raise _invalid("kind", str(error)) from None
        if record.units_per_1k_output_tokens and kind.output_tokens_bound(upstream) is None:
            raise _invalid(
                "options", "A price on output tokens needs options.max_tokens, a whole number from 1."
            )


def _defaults(wanted: UpstreamCreate) -> dict[str, Any]:
    """Return the defaults that depend on the kind, for members that were not sent."""
    is_ai = adapter(wanted.kind).is_ai
    defaults = {
        "timeout_s": AI_TIMEOUT_S if is_ai else wanted.timeout_s,
        "idempotent": is_ai or wanted.method == "GET",
    }
    return {name: value for name, value in defaults.items() if name not in wanted.model_fields_set}


def _invalid(member: str, message: str) -> ValidationFailed:
    return ValidationFailed(
        message, errors=[{"loc": ["body", member], "msg": message, "type": "value_error"}]
    )
