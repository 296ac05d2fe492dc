"""From a row to what the wire shows, and to what the engine calls."""

from dataclasses import fields
from datetime import datetime

from pydantic import SecretStr

from fanfold.fanout.types import Price, Upstream
from fanfold.upstreams.circuits import CLOSED, CircuitStatus
from fanfold.upstreams.models import UpstreamPriceRecord, UpstreamRecord
from fanfold.upstreams.schemas import AuthRead, CircuitRead, PriceRead, UpstreamRead

PRICE_MEMBERS = tuple(member.name for member in fields(Price))
# How an upstream is asked is its owner's matter.
HIDDEN = ("url", "options", "headers", "auth", "has_credential", "request_template", "response_path")


def bound_to(record: UpstreamRecord) -> str:
    """Return what a sealed credential is bound to: moved to another tenant or upstream it does not open."""
    return f"{record.tenant_id}/{record.id}"


def read_upstream(record: UpstreamRecord, circuit: CircuitStatus = CLOSED) -> UpstreamRead:
    """Return the row as the wire shows it to its owner, with the price in force and without its credential."""
    special = {"auth", "circuit", "has_credential", "shared", *PRICE_MEMBERS}
    return UpstreamRead(
        **{name: getattr(record, name) for name in UpstreamRead.model_fields if name not in special},
        **{name: getattr(record.price, name) for name in PRICE_MEMBERS},
        auth=AuthRead(header=record.auth_header, scheme=record.auth_scheme),
        has_credential=record.credential_sealed is not None,
        shared=record.is_shared,
        circuit=CircuitRead.model_validate(circuit),
    )


def read_for_tenant(record: UpstreamRecord, circuit: CircuitStatus = CLOSED) -> UpstreamRead:
    """Return the row as a tenant sees it: of a shared one nothing of how it is asked."""
    shown = read_upstream(record, circuit)
    return shown.model_copy(update=dict.fromkeys(HIDDEN)) if record.is_shared else shown


def read_price(record: UpstreamPriceRecord, effective_until: datetime | None) -> PriceRead:
    """Return a price as the wire shows it."""
    return PriceRead(
        id=record.id,
        effective_from=record.effective_from,
        effective_until=effective_until,
        created_at=record.created_at,
        **{name: getattr(record, name) for name in PRICE_MEMBERS},
    )


def price_of(record: UpstreamPriceRecord) -> Price:
    """Return the row as the engine's value."""
    return Price(**{name: getattr(record, name) for name in PRICE_MEMBERS})


def engine_upstream(record: UpstreamRecord, credential: SecretStr | None, price: Price) -> Upstream:
    """Return the row as the engine's value, with its credential opened."""
    return Upstream(
        id=record.id,
        slug=record.slug,
        kind=record.kind,
        url=record.url,
        method=record.method,
        model=record.model,
        options=record.options,
        headers=record.headers,
        auth_header=record.auth_header,
        auth_scheme=record.auth_scheme,
        credential=credential,
        request_template=record.request_template,
        response_path=record.response_path,
        timeout_s=record.timeout_s,
        max_attempts=record.max_attempts,
        max_concurrency=record.max_concurrency,
        weight=record.weight,
        idempotent=record.idempotent,
        is_shared=record.is_shared,
        price=price,
    )
