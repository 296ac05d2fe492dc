"""Grants, prepaid units, budgets of keys, outcomes that need a person; the flush that knows them.

Revision ID: 0008
Revises: 0007
"""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
MOMENT = sa.DateTime(timezone=True)
# Table -> what the roles may do with it. Only the ledger's functions write counters and outcomes.
TABLES = {
    "key_periods": {"fanfold_app": "select", "fanfold_operator": "select", "fanfold_system": "select, insert, update"},
    "prepaid_balances": {
        "fanfold_app": "select", "fanfold_operator": "select", "fanfold_system": "select, insert, update",
    },
    "grants": {"fanfold_app": "select", "fanfold_operator": "select, insert", "fanfold_system": "select"},
    "outcomes": {"fanfold_app": "select", "fanfold_operator": "select", "fanfold_system": "select, insert, update"},
}  # fmt: skip

# Open connections hold on to a type's shape, so types are never altered: new ones, and a function of a new name.
TYPES = {
    "ledger_operation": "operation smallint, quota integer, budget integer, id uuid, units bigint, "
    "lease_s double precision",
    "ledger_reading": "item integer, call_index integer, meter text, units bigint, quantity bigint, rate bigint, "
    "is_counted boolean, upstream_id uuid, upstream text",
    "ledger_claim": "item integer, route text, key text, body_hash bytea",
    "ledger_mark": "item integer, route text, key text, status integer",
}
FUNCTIONS = {
    "fanfold.ledger_commit(uuid[], date[], integer[], uuid[], fanfold.ledger_operation[], fanfold.ledger_reading[], "
    "fanfold.ledger_claim[], fanfold.ledger_mark[])": "ledger_commit_0008.sql",
    "fanfold.ledger_sweep(integer)": "ledger_sweep_0008.sql",
    "fanfold.outcome_resolve(uuid, uuid, text, bigint, text, uuid)": "outcome_resolve_0008.sql",
}
OLD_TYPES = {
    "ledger_item": "operation smallint, quota integer, id uuid, units bigint, lease_s double precision, "
    "api_key_id uuid",
    "ledger_event": "item integer, call_index integer, meter text, units bigint, quantity bigint, upstream_id uuid, "
    "upstream text",
}
OLD_FUNCTIONS = {
    "fanfold.ledger_flush(uuid[], date[], fanfold.ledger_item[], fanfold.ledger_event[])": "ledger_flush_0002.sql",
    "fanfold.ledger_sweep(integer)": "ledger_sweep_0002.sql",
}


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _key(name: str, kind: sa.types.TypeEngine | None = None) -> sa.Column:
    return sa.Column(name, kind or sa.Uuid(), primary_key=True)


def _extend_tables() -> None:
    op.drop_constraint(op.f("quota_periods_period_start_check"), "quota_periods", schema="fanfold")
    op.drop_constraint(op.f("quota_periods_ceiling_check"), "quota_periods", schema="fanfold")
    for column in (
        _column("prepaid", sa.BigInteger(), default="0"),
        _column("warned", sa.SmallInteger(), default="0"),
    ):
        op.add_column("quota_periods", column, schema="fanfold")
    op.create_check_constraint("prepaid", "quota_periods", "prepaid >= 0", schema="fanfold")
    op.create_check_constraint(
        "ceiling", "quota_periods", "reserved + used - prepaid <= ceiling", schema="fanfold"
    )
    for column in (
        _column("rate", sa.BigInteger(), null=True),
        _column("is_counted", sa.Boolean(), default="false"),
        _column("due_units", sa.BigInteger(), default="0"),
    ):
        op.add_column("usage_events", column, schema="fanfold")


def _create_key_periods() -> None:
    op.create_table(
        "key_periods",
        _key("tenant_id"),
        _key("api_key_id"),
        _key("period_start", sa.Date()),
        _column("granted", sa.BigInteger(), null=True),
        _column("ceiling", sa.BigInteger(), null=True),
        _column("reserved", sa.BigInteger(), default="0"),
        _column("used", sa.BigInteger(), default="0"),
        _column("warned", sa.SmallInteger(), default="0"),
        sa.CheckConstraint("reserved >= 0", name="reserved"),
        sa.CheckConstraint("used >= 0", name="used"),
        sa.CheckConstraint("reserved + used <= ceiling", name="ceiling"),
        schema="fanfold",
    )
    op.execute("alter table fanfold.key_periods set (fillfactor = 50)")


def _create_grants() -> None:
    op.create_table(
        "prepaid_balances",
        _key("tenant_id"),
        _column("ceiling", sa.BigInteger(), default="0"),
        _column("drawn", sa.BigInteger(), default="0"),
        sa.CheckConstraint("drawn >= 0 and drawn <= ceiling", name="drawn"),
        schema="fanfold",
    )
    op.create_table(
        "grants",
        _key("tenant_id"),
        _key("id"),
        _column("kind", sa.Text()),
        _column("period_start", sa.Date(), null=True),
        _column("units", sa.BigInteger()),
        _column("reason", sa.Text()),
        _column("granted_by", sa.Uuid()),
        _column("created_at", MOMENT, default="now()"),
        sa.CheckConstraint(
            "(kind = 'period' and period_start is not null) or (kind = 'prepaid' and period_start is null)",
            name="kind",
        ),
        sa.CheckConstraint("units <> 0", name="units"),
        schema="fanfold",
    )
    op.create_index(
        "grants_tenant_id_period_start_idx", "grants", ["tenant_id", "period_start"], schema="fanfold"
    )


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
        _key("tenant_id"),
        _key("request_id"),
        _column("kind", sa.Text()),
        _column("period_start", sa.Date()),
        _column("api_key_id", sa.Uuid(), null=True),
        _column("units", sa.BigInteger()),
        _column("since", MOMENT, default="now()"),
        _column("resolved_at", MOMENT, null=True),
        _column("resolution", sa.Text(), null=True),
        _column("resolved_units", sa.BigInteger(), null=True),
        _column("reason", sa.Text(), null=True),
        _column("resolved_by", sa.Uuid(), null=True),
        sa.CheckConstraint("kind in ('unknown', 'unbilled')", name="kind"),
        sa.CheckConstraint("resolution in ('billed', 'waived', 'settled')", name="resolution"),
        sa.CheckConstraint("(resolved_at is null) = (resolution is null)", name="resolved"),
        schema="fanfold",
    )
    op.create_index(
        "outcomes_open_idx", "outcomes", ["request_id"], schema="fanfold",
        postgresql_where=sa.text("resolved_at is null"),
    )  # fmt: skip


def _protect(table: str) -> None:
    mine = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for statement in (
        f"alter table fanfold.{table} enable row level security, force row level security",
        f"create policy tenant on fanfold.{table} to fanfold_app using ({mine}) with check ({mine})",
        f"create policy system on fanfold.{table} to fanfold_system using (true) with check (true)",
        f"create policy operator on fanfold.{table} to fanfold_operator using (true) with check (true)",
    ):
        op.execute(statement)
    for role, rights in TABLES[table].items():
        op.execute(f"grant {rights} on fanfold.{table} to {role}")


def _create_functions(types: dict[str, str], functions: dict[str, str]) -> None:
    for name, members in types.items():
        op.execute(f"create type fanfold.{name} as ({members})")
    for function, file in functions.items():
        # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
        op.get_bind().exec_driver_sql((SQL / file).read_text(encoding="utf-8"))
        op.execute(f"revoke all on function {function} from public")
    # Under FORCE a definer function of the tables' owner would see no row, so they belong to fanfold_system.
    # Handing them over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in functions:
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in functions:
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def _drop_functions(types: Sequence[str], functions: Sequence[str]) -> None:
    for function in functions:
        op.execute(f"drop function {function}")
    for name in types:
        op.execute(f"drop type fanfold.{name}")


def upgrade() -> None:
    _drop_functions([*OLD_TYPES], [*OLD_FUNCTIONS])
    _extend_tables()
    _create_key_periods()
    _create_grants()
    _create_outcomes()
    for table in TABLES:
        _protect(table)
    _create_functions(TYPES, FUNCTIONS)


def downgrade() -> None:
    _drop_functions([*TYPES], [*FUNCTIONS])
    for table in reversed(TABLES):
        op.drop_table(table, schema="fanfold")
    for column in ("rate", "is_counted", "due_units"):
        op.drop_column("usage_events", column, schema="fanfold")
    op.drop_constraint(op.f("quota_periods_ceiling_check"), "quota_periods", schema="fanfold")
    for column in ("prepaid", "warned"):
        op.drop_column("quota_periods", column, schema="fanfold")
    op.create_check_constraint("ceiling", "quota_periods", "reserved + used <= ceiling", schema="fanfold")
    op.create_check_constraint(
        "period_start", "quota_periods", "extract(day from period_start) = 1", schema="fanfold"
    )
    _create_functions(OLD_TYPES, OLD_FUNCTIONS)
