"""What a tenant's export holds: a file for each kind of thing, without what only the server may know."""

from collections.abc import Mapping

from fanfold.core.values import value


@value
class ExportFile:
    """A file of the export: its rows as SQL, in the order of `key`, which no two rows share."""

    name: str
    select: str
    key: tuple[str, ...] = ("id",)
    column: str = "tenant_id"


def _columns(table: str, names: str, **more: str) -> str:
    columns = ", ".join([f"t.{name}" for name in names.split()])
    return f"select {columns}{more.get('also', '')} from fanfold.{table} t{more.get('join', '')}"  # noqa: S608 (all of it is written here)


FILES = (
    ExportFile(
        "tenant",
        _columns("tenants", "id slug name status plan limit_overrides created_at updated_at"),
        column="id",
    ),
    ExportFile(
        "members",
        _columns(
            "memberships",
            "user_id role created_at",
            also=", u.email, u.name",
            join=" join fanfold.users u on u.id = t.user_id",
        ),
        key=("user_id",),
    ),
    ExportFile(
        "invitations",
        _columns(
            "invitations", "id email role invited_by created_at expires_at accepted_at accepted_by revoked_at"
        ),
    ),
    ExportFile(
        "api_keys",
        _columns(
            "api_keys",
            "id name public_id scopes requests_per_minute burst max_concurrent_requests budget_units created_by"
            " created_at expires_at revoked_at previous_until last_used_at",
        ),
    ),
    ExportFile(
        "clients",
        _columns("oauth_clients", "id name scopes created_by created_at last_used_at revoked_at"),
    ),
    ExportFile(
        "upstreams",
        _columns(
            "upstreams",
            "id slug kind url method model options headers auth_header auth_scheme request_template response_path"
            " timeout_s max_attempts max_concurrency weight idempotent enabled is_default created_at updated_at",
        ),
    ),
    ExportFile(
        "prices",
        _columns(
            "upstream_prices",
            "id upstream_id effective_from units_per_call units_per_1k_chars units_per_1k_input_tokens"
            " units_per_1k_output_tokens created_at",
        ),
    ),
    ExportFile(
        "webhooks",
        _columns(
            "webhooks",
            "id url events description enabled disabled_reason failing_since previous_until created_at updated_at",
        ),
    ),
    ExportFile(
        "usage_events",
        _columns(
            "usage_events",
            "request_id call_index meter period_start units outcome upstream_id upstream quantity api_key_id"
            " occurred_at rate is_counted due_units",
        ),
        key=("request_id", "call_index", "meter", "period_start"),
    ),
    ExportFile(
        "usage_days",
        _columns(
            "usage_days",
            "dimension day period_start member upstream meter rate outcome api_key_id units events unbilled counted"
            " quantity due_units",
        ),
        key=("dimension", "day", "period_start", "member"),
    ),
    # Without texts and answers, which live by `retention_days`: `GET /v1/jobs/{id}/results` streams those.
    ExportFile(
        "jobs",
        _columns(
            "jobs",
            "id status source metadata api_key_id total successful failed characters units units_max"
            " period_start retention_days stored_bytes error fold_error created_at started_at"
            " ended_at expires_at cancel_requested_at",
        ),
    ),
    ExportFile("grants", _columns("grants", "id kind period_start units reason granted_by created_at")),
    ExportFile(
        "outcomes",
        _columns(
            "outcomes",
            "request_id kind period_start api_key_id units since resolved_at resolution resolved_units reason"
            " resolved_by job_id calls",
        ),
        key=("request_id",),
    ),
    ExportFile(
        "audit",
        _columns(
            "audit_events",
            "id at actor_kind actor_id action object_kind object_id before after request_id reason",
        ),
    ),
)

# Tables with a tenant's rows that are in no file, each with the reason.
LEFT_OUT: Mapping[str, str] = {
    "idempotency_keys": "kept for a day, to answer a repeated request",
    "idempotency_answers": "kept for a day, to answer a repeated request",
    "outbox": "messages under way",
    "webhook_deliveries": "a log of 30 days, which `GET /v1/webhooks/{id}/deliveries` shows",
    "webhook_attempts": "a log of 30 days, which `GET /v1/webhook-deliveries/{id}` shows",
    "upstream_circuits": "how upstreams were within the last minutes",
    "reservations": "units of running requests",
    "sessions": "sign-ins belong to people",
    "job_parts": "sealed texts, as they were sent, until `retention_days` are over",
    "job_results": "sealed answers, which `GET /v1/jobs/{id}/results` streams",
    "job_changes": "what a job went through, which `GET /v1/jobs/{id}/events` streams",
    "tenant_storage": "sums of what jobs take",
    "quota_periods": "sums of usage_events and grants",
    "key_periods": "sums of usage_events",
    "prepaid_balances": "sums of usage_events and grants",
}


def statement_of(file: ExportFile, *, is_first: bool) -> str:
    """Return the SQL of a page: parameters `tenant_id`, `most`, and after the first page the last row's key."""
    keys = ", ".join(f"t.{name}" for name in file.key)
    shown = ", ".join(f"p.{name}" for name in file.key)
    after = "" if is_first else f" and ({keys}) > ({', '.join(f':{name}' for name in file.key)})"
    mine = f"{file.select} where t.{file.column} = :tenant_id{after} order by {keys} limit :most"
    return f"select to_json(p)::text as line, {shown} from ({mine}) p"  # noqa: S608 (names of ours; values are bound)
