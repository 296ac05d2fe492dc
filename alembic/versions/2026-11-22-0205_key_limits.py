"""Limits of a key's own, plan-defined periods, leases of concurrent requests.

Revision ID: 0004
Revises: 0003
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
LEASE_FUNCTIONS = {
    "concurrency_exchange": "uuid, text[], integer[], integer[], integer[], double precision",
    "concurrency_renew": "uuid, text[], double precision",
    "concurrency_tidy": "integer, double precision",
}

# As 0001 made it, with the key's own limit of concurrent requests. Its result is another type: no `or replace`.
AUTHENTICATE = """
create function fanfold.authenticate(p_digests bytea[])
returns table (key_id uuid, tenant_id uuid, tenant_slug text, tenant_status text, scopes text[],
               requests_per_minute integer, burst integer, {column} limits jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
    select k.id, k.tenant_id, t.slug, t.status, k.scopes, k.requests_per_minute, k.burst, {of_key}
           to_jsonb(p) - 'code' || t.limit_overrides
      from fanfold.api_keys k
      join fanfold.tenants t on t.id = k.tenant_id
      join fanfold.plans p on p.code = t.plan
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    union all
    select k.id, null, null, null, array['operator'], null, null, {of_operator} null
      from fanfold.operator_keys k
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
$f$
"""
LIMITED = {
    "column": "max_concurrent_requests integer,",
    "of_key": "k.max_concurrent_requests,",
    "of_operator": "null,",
}
BEFORE = dict.fromkeys(LIMITED, "")


def _replace_authenticate(parts: dict[str, str]) -> None:
    op.execute("drop function fanfold.authenticate(bytea[])")
    op.execute(AUTHENTICATE.format(**parts))
    _give_to_system("fanfold.authenticate(bytea[])")


def _give_to_system(function: str) -> None:
    op.execute(f"revoke all on function {function} from public")
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    op.add_column(
        "plans", sa.Column("period", sa.Text(), nullable=False, server_default="month"), schema="fanfold"
    )
    op.create_check_constraint("period", "plans", "period in ('day', 'week', 'month')", schema="fanfold")
    op.add_column("api_keys", sa.Column("budget_units", sa.BigInteger()), schema="fanfold")
    op.add_column("api_keys", sa.Column("max_concurrent_requests", sa.Integer()), schema="fanfold")
    op.create_check_constraint("budget_units", "api_keys", "budget_units >= 0", schema="fanfold")
    op.create_check_constraint(
        "max_concurrent_requests", "api_keys", "max_concurrent_requests >= 1", schema="fanfold"
    )
    _replace_authenticate(LIMITED)
    _create_leases()


def _create_leases() -> None:
    op.create_table(
        "concurrency_leases",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("process_id", sa.Uuid(), primary_key=True),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("held >= 0", name="held"),
        schema="fanfold",
        prefixes=["UNLOGGED"],
    )
    # Rows are updated all the time, and are few: room on the page keeps updates from the index, vacuum goes by count.
    op.execute(
        "alter table fanfold.concurrency_leases set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_threshold = 10000)"
    )
    op.execute("grant select, insert, update, delete on fanfold.concurrency_leases to fanfold_system")
    for name, arguments in LEASE_FUNCTIONS.items():
        # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
        op.get_bind().exec_driver_sql((SQL / f"{name}_0004.sql").read_text(encoding="utf-8"))
        _give_to_system(f"fanfold.{name}({arguments})")


def downgrade() -> None:
    for name, arguments in LEASE_FUNCTIONS.items():
        op.execute(f"drop function fanfold.{name}({arguments})")
    op.drop_table("concurrency_leases", schema="fanfold")
    _replace_authenticate(BEFORE)
    op.drop_column("api_keys", "max_concurrent_requests", schema="fanfold")
    op.drop_column("api_keys", "budget_units", schema="fanfold")
    op.drop_column("plans", "period", schema="fanfold")
