"""Usage by day, rolled up hour by hour; months of events that may go once they are.

Revision ID: 0009
Revises: 0008
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
MOMENT = sa.DateTime(timezone=True)

SYSTEMS = ("fanfold.usage_roll(timestamptz)", "fanfold.usage_roll_due()", "fanfold.usage_default_rows()")
# It drops partitions, which only their owner may.
OWNERS = ("fanfold.usage_retention(integer)",)
CALLED_BY_APP = ("fanfold.usage_roll_due()", "fanfold.usage_default_rows()")

EVENT_KEY = ["tenant_id", "request_id", "call_index", "meter", "period_start"]


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _key(name: str, kind: sa.types.TypeEngine | None = None) -> sa.Column:
    return sa.Column(name, kind or sa.Uuid(), primary_key=True)


def _create_usage_days() -> None:
    op.create_table(
        "usage_days",
        _key("tenant_id"),
        _key("dimension", sa.Text()),
        _key("day", sa.Date()),
        _key("period_start", sa.Date()),
        _key("member", sa.Text()),
        _column("upstream", sa.Text(), null=True),
        _column("meter", sa.Text(), null=True),
        _column("rate", sa.BigInteger(), null=True),
        _column("outcome", sa.Text(), null=True),
        _column("api_key_id", sa.Uuid(), null=True),
        # Sums of what upstreams report have no bound that fits into 64 bits, and one must not stop everybody's.
        _column("units", sa.Numeric(30, 0)),
        _column("events", sa.BigInteger()),
        _column("unbilled", sa.BigInteger()),
        _column("counted", sa.BigInteger()),
        _column("quantity", sa.Numeric(30, 0)),
        _column("due_units", sa.Numeric(30, 0)),
        sa.CheckConstraint("dimension in ('day', 'upstream', 'api_key')", name="dimension"),
        schema="fanfold",
    )
    # Operators read all tenants' days.
    op.create_index("usage_days_dimension_day_idx", "usage_days", ["dimension", "day"], schema="fanfold")
    # A row is updated each hour of its day: room on its page keeps the update from touching the indexes.
    op.execute("alter table fanfold.usage_days set (fillfactor = 70)")
    mine = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for statement in (
        "alter table fanfold.usage_days enable row level security, force row level security",
        f"create policy tenant on fanfold.usage_days to fanfold_app using ({mine}) with check ({mine})",
        "create policy system on fanfold.usage_days to fanfold_system using (true) with check (true)",
        "create policy operator on fanfold.usage_days for select to fanfold_operator using (true)",
        "grant select on fanfold.usage_days to fanfold_app, fanfold_operator",
        "grant select, insert, update on fanfold.usage_days to fanfold_system",
    ):
        op.execute(statement)


def _create_records() -> None:
    op.create_table(
        "usage_rolls",
        _key("day", sa.Date()),
        _column("rolled_until", MOMENT),
        _column("events", sa.BigInteger()),
        schema="fanfold",
    )
    op.create_table(
        "usage_removed_months",
        _key("month", sa.Date()),
        _column("removed_at", MOMENT, default="now()"),
        schema="fanfold",
    )
    for table in ("usage_rolls", "usage_removed_months"):
        op.execute(f"grant select on fanfold.{table} to fanfold_app, fanfold_operator")
    op.execute("grant select, insert, update on fanfold.usage_rolls to fanfold_system")


def _create_indexes() -> None:
    op.create_index(
        "usage_events_tenant_id_occurred_at_idx", "usage_events", ["tenant_id", "occurred_at"], schema="fanfold"
    )  # fmt: skip
    # For the hour of all tenants. The table is only appended to, so a few bytes for 32 pages find it.
    op.create_index(
        "usage_events_occurred_at_idx", "usage_events", ["occurred_at"], schema="fanfold",
        postgresql_using="brin", postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    )  # fmt: skip
    # The ledger has to look events up by their key, with plans that are made on nearly empty partitions and kept. There
    # both indexes find one row, and the planner takes the one made last, unless the height of the trees decides: at no
    # cost for operators it does not (tests/usage/test_plans.py).
    op.drop_constraint("usage_events_pkey", "usage_events", schema="fanfold")
    op.create_primary_key("usage_events_pkey", "usage_events", EVENT_KEY, schema="fanfold")


def _pin_ledger(change: str) -> None:
    op.execute("set local role fanfold_system")
    op.execute(
        f"""
        do $$ declare f regprocedure; begin
          for f in select p.oid from pg_proc p
                    where p.pronamespace = 'fanfold'::regnamespace and p.proname ~ '^ledger_' and p.prosecdef loop
            execute format('alter function %s {change}', f);
          end loop;
        end $$
        """
    )
    op.execute("reset role")


def _create_functions() -> None:
    for name in ("usage_roll", "usage_roll_due", "usage_default_rows", "usage_retention"):
        # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
        op.get_bind().exec_driver_sql((SQL / f"{name}_0009.sql").read_text(encoding="utf-8"))
    for function in (*SYSTEMS, *OWNERS):
        op.execute(f"revoke all on function {function} from public")
    for function in OWNERS:
        op.execute(f"grant execute on function {function} to fanfold_app")
    # Handing over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in SYSTEMS:
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in CALLED_BY_APP:
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _create_usage_days()
    _create_records()
    _create_indexes()
    _pin_ledger("set cpu_operator_cost = 0")
    _create_functions()


def downgrade() -> None:
    _pin_ledger("reset cpu_operator_cost")
    for function in (*SYSTEMS, *OWNERS):
        op.execute(f"drop function {function}")
    for index in ("usage_events_occurred_at_idx", "usage_events_tenant_id_occurred_at_idx"):
        op.drop_index(index, "usage_events", schema="fanfold")
    for table in ("usage_removed_months", "usage_rolls", "usage_days"):
        op.drop_table(table, schema="fanfold")
