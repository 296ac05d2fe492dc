"""Plans, tenants, API keys, upstreams; row-level security under all of them.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None

PLANS = [
    # code, monthly units, requests a minute, burst, concurrent, text chars, chunks, upstreams, keys, retention days
    ("free", 1_000, 60, 20, 5, 200_000, 500, 5, 3, 7),
    ("pro", 100_000, 1_200, 200, 50, 5_000_000, 10_000, 50, 50, 30),
    ("scale", 10_000_000, 60_000, 5_000, 1_000, 20_000_000, 50_000, 500, 500, 90),
]

# Table -> the column that holds the tenant.
TENANT_TABLES = {"tenants": "id", "api_keys": "tenant_id", "upstreams": "tenant_id"}

GRANTS = """
grant usage on schema fanfold to fanfold_app, fanfold_system, fanfold_operator;
grant select on fanfold.plans to fanfold_app, fanfold_system, fanfold_operator;
grant select on fanfold.tenants to fanfold_app, fanfold_system;
grant select, insert, update on fanfold.tenants to fanfold_operator;
grant select, insert, update on fanfold.api_keys to fanfold_app;
grant select on fanfold.api_keys to fanfold_system, fanfold_operator;
grant select, insert, update, delete on fanfold.upstreams to fanfold_app;
grant select on fanfold.upstreams to fanfold_operator;
grant select, insert, update on fanfold.operator_keys to fanfold_operator;
grant select on fanfold.operator_keys to fanfold_system
"""

# The one look-up that happens before the tenant is known: by digest, whole and unguessable.
AUTHENTICATE = """
create function fanfold.authenticate(p_digests bytea[])
returns table (key_id uuid, tenant_id uuid, tenant_slug text, tenant_status text, scopes text[],
               requests_per_minute integer, burst integer, limits jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
    select k.id, k.tenant_id, t.slug, t.status, k.scopes, k.requests_per_minute, k.burst,
           to_jsonb(p) - 'code' || t.limit_overrides
      from fanfold.api_keys k
      join fanfold.tenants t on t.id = k.tenant_id
      join fanfold.plans p on p.code = t.plan
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    union all
    select k.id, null, null, null, array['operator'], null, null, null
      from fanfold.operator_keys k
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
$f$
"""


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _tenant_id() -> sa.Column:
    return sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("fanfold.tenants.id"), primary_key=True)


def _times() -> list[sa.Column]:
    return [
        _column(name, sa.DateTime(timezone=True), default="now()") for name in ("created_at", "updated_at")
    ]


def _key_columns() -> list[sa.Column]:
    moment = sa.DateTime(timezone=True)
    return [
        _column("name", sa.Text()),
        _column("public_id", sa.Text()),
        _column("digest", sa.LargeBinary()),
        _column("created_at", moment, default="now()"),
        _column("expires_at", moment, null=True),
        _column("revoked_at", moment, null=True),
        sa.UniqueConstraint("digest"),
    ]


def _create_tables() -> None:
    number, words = sa.Integer(), sa.Text()
    op.create_table(
        "plans",
        sa.Column("code", words, primary_key=True),
        _column("monthly_units", sa.BigInteger()),
        *(
            _column(name, number)
            for name in (
                "requests_per_minute", "burst", "max_concurrent_requests", "max_text_chars",
                "max_chunks", "max_upstreams", "max_api_keys",
            )
        ),
        _column("overage_allowed", sa.Boolean()),
        _column("retention_days", number),
        schema="fanfold",
    )  # fmt: skip
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("slug", words),
        _column("name", words),
        _column("status", words, default="'active'"),
        sa.Column("plan", words, sa.ForeignKey("fanfold.plans.code"), nullable=False),
        _column("limit_overrides", postgresql.JSONB(), default="'{}'"),
        *_times(),
        sa.UniqueConstraint("slug"),
        sa.CheckConstraint("status in ('active', 'suspended')", name="status"),
        schema="fanfold",
    )
    op.create_table(
        "api_keys",
        _tenant_id(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        *_key_columns(),
        _column("scopes", postgresql.ARRAY(words)),
        _column("requests_per_minute", number, null=True),
        _column("burst", number, null=True),
        schema="fanfold",
    )
    op.create_table(
        "operator_keys", sa.Column("id", sa.Uuid(), primary_key=True), *_key_columns(), schema="fanfold"
    )
    op.create_table(
        "upstreams",
        _tenant_id(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        *(_column(name, words) for name in ("slug", "kind", "url", "method")),
        _column("model", words, null=True),
        _column("options", postgresql.JSONB()),
        _column("headers", postgresql.JSONB()),
        _column("auth_header", words),
        _column("auth_scheme", words, null=True),
        _column("credential_sealed", sa.LargeBinary(), null=True),
        _column("request_template", postgresql.JSONB(), null=True),
        _column("response_path", words, null=True),
        _column("timeout_s", sa.Float()),
        *(_column(name, number) for name in ("max_attempts", "max_concurrency", "weight")),
        _column("idempotent", sa.Boolean()),
        *(
            _column(name, number)
            for name in (
                "units_per_call", "units_per_1k_chars", "units_per_1k_input_tokens", "units_per_1k_output_tokens",
            )
        ),
        _column("enabled", sa.Boolean()),
        _column("is_default", sa.Boolean()),
        *_times(),
        sa.UniqueConstraint("tenant_id", "slug"),
        schema="fanfold",
    )  # fmt: skip
    op.create_index(
        "upstreams_default_idx", "upstreams", ["tenant_id"], unique=True, schema="fanfold",
        postgresql_where=sa.text("is_default"),
    )  # fmt: skip


def _protect(table: str, column: str) -> None:
    mine = f"{column} = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for statement in (
        f"alter table fanfold.{table} enable row level security",
        f"alter table fanfold.{table} force row level security",
        f"create policy tenant on fanfold.{table} to fanfold_app using ({mine}) with check ({mine})",
        f"create policy system on fanfold.{table} for select to fanfold_system using (true)",
        f"create policy operator on fanfold.{table} to fanfold_operator using (true) with check (true)",
    ):
        op.execute(statement)


def upgrade() -> None:
    _create_tables()
    op.bulk_insert(
        sa.table("plans", *(sa.column(name) for name in (
            "code", "monthly_units", "requests_per_minute", "burst", "max_concurrent_requests", "max_text_chars",
            "max_chunks", "max_upstreams", "max_api_keys", "retention_days", "overage_allowed")), schema="fanfold"),
        [
            dict(zip(
                ("code", "monthly_units", "requests_per_minute", "burst", "max_concurrent_requests",
                 "max_text_chars", "max_chunks", "max_upstreams", "max_api_keys", "retention_days"),
                plan, strict=True), overage_allowed=False)
            for plan in PLANS
        ],
    )  # fmt: skip
    for table, column in TENANT_TABLES.items():
        _protect(table, column)
    for statement in GRANTS.split(";"):
        op.execute(statement)
    op.execute(AUTHENTICATE)
    op.execute("revoke all on function fanfold.authenticate from public")
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute("alter function fanfold.authenticate owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute("grant execute on function fanfold.authenticate to fanfold_app")
    op.execute("reset role")


def downgrade() -> None:
    op.execute("drop function fanfold.authenticate")
    for table in ("upstreams", "operator_keys", "api_keys", "tenants", "plans"):
        op.drop_table(table, schema="fanfold")
    op.execute("revoke usage on schema fanfold from fanfold_app, fanfold_system, fanfold_operator")
