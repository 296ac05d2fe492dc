"""From a row to what the wire shows, and to what the engine calls."""

from pydantic import SecretStr

from fanfold.fanout.types import Price, Upstream
from fanfold.upstreams.models import UpstreamRecord
from fanfold.upstreams.schemas import AuthRead, UpstreamRead


def bound_to(record: UpstreamRecord) -> str:
    """Return what a sealed credential is bound to: moved to another tenant or upstream it does not open."""
    return f"{record.tenant_id}/{record.id}"


def read_upstream(record: UpstreamRecord) -> UpstreamRead:
    """Return the row as the wire shows it, without its credential."""
    special = {"auth", "has_credential"}
    return UpstreamRead(
        **{name: getattr(record, name) for name in UpstreamRead.model_fields if name not in special},
        auth=AuthRead(header=record.auth_header, scheme=record.auth_scheme),
        has_credential=record.credential_sealed is not None,
    )


def engine_upstream(record: UpstreamRecord, credential: SecretStr | None) -> Upstream:
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
        price=Price(
            units_per_call=record.units_per_call,
            units_per_1k_chars=record.units_per_1k_chars,
            units_per_1k_input_tokens=record.units_per_1k_input_tokens,
            units_per_1k_output_tokens=record.units_per_1k_output_tokens,
        ),
    )
