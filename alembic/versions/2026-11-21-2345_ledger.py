"""The ledger: quotas of a month, reservations, usage events, and the only functions that write them.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
TABLES = ("quota_periods", "reservations", "usage_events")

# Composite arrays: the cheapest of five ways to send a batch (docs/decisions/group-commit.md). Open connections hold
# on to a type's shape, so these are never altered: a later migration makes new types and a new function.
TYPES = (
    """
    create type fanfold.ledger_item as (
        operation smallint, quota integer, id uuid, units bigint, lease_s double precision, api_key_id uuid)
    """,
    """
    create type fanfold.ledger_event as (
        item integer, call_index integer, meter text, units bigint, quantity bigint, upstream_id uuid, upstream text)
    """,
)
DEFINERS = (
    "fanfold.ledger_flush(uuid[], date[], fanfold.ledger_item[], fanfold.ledger_event[])",
    "fanfold.ledger_sweep(integer)",
)
# These belong to the owner of the tables: nobody else may attach a partition.
PARTITION_MAKERS = ("fanfold.usage_partitions(date, integer)", "fanfold.usage_partitions()")
GRANTS = (
    "grant select on fanfold.quota_periods, fanfold.reservations, fanfold.usage_events to fanfold_app",
    "grant select on fanfold.quota_periods, fanfold.reservations, fanfold.usage_events to fanfold_operator",
    "grant select, insert, update on fanfold.quota_periods to fanfold_system",
    "grant select, insert, delete on fanfold.reservations to fanfold_system",
    "grant select, insert on fanfold.usage_events to fanfold_system",
)


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _key(name: str, kind: sa.types.TypeEngine | None = None) -> sa.Column:
    return sa.Column(name, kind or sa.Uuid(), primary_key=True)


def _create_quota_periods() -> None:
    op.create_table(
        "quota_periods",
        _key("tenant_id"),
        _key("period_start", sa.Date()),
        _column("granted", sa.BigInteger()),
        _column("ceiling", sa.BigInteger(), null=True),
        _column("reserved", sa.BigInteger(), default="0"),
        _column("used", sa.BigInteger(), default="0"),
        sa.CheckConstraint("reserved >= 0", name="reserved"),
        sa.CheckConstraint("used >= 0", name="used"),
        sa.CheckConstraint("reserved + used <= ceiling", name="ceiling"),
        sa.CheckConstraint("extract(day from period_start) = 1", name="period_start"),
        schema="fanfold",
    )
    # A row is updated at each flush: room on its page keeps the update from touching the index.
    op.execute("alter table fanfold.quota_periods set (fillfactor = 50)")


def _create_reservations() -> None:
    op.create_table(
        "reservations",
        _key("tenant_id"),
        _key("id"),
        _column("period_start", sa.Date()),
        _column("api_key_id", sa.Uuid(), null=True),
        _column("units", sa.BigInteger()),
        _column("expires_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("units >= 0", name="units"),
        schema="fanfold",
    )
    op.create_index("reservations_expires_at_idx", "reservations", ["expires_at"], schema="fanfold")
    # Rows live for seconds: vacuum by count, not by a share of a table that is empty at rest.
    op.execute(
        "alter table fanfold.reservations set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)"
    )


def _create_usage_events() -> None:
    op.create_table(
        "usage_events",
        _key("tenant_id"),
        _key("request_id"),
        _key("call_index", sa.Integer()),
        _key("meter", sa.Text()),
        _key("period_start", sa.Date()),
        _column("units", sa.BigInteger()),
        _column("outcome", sa.Text()),
        _column("upstream_id", sa.Uuid(), null=True),
        _column("upstream", sa.Text(), null=True),
        _column("quantity", sa.BigInteger()),
        _column("api_key_id", sa.Uuid(), null=True),
        _column("occurred_at", sa.DateTime(timezone=True), default="now()"),
        sa.CheckConstraint("units >= 0 and quantity >= 0", name="units"),
        sa.CheckConstraint("outcome = 'billed' or (outcome = 'unbilled' and units = 0)", name="outcome"),
        schema="fanfold",
        postgresql_partition_by="range (period_start)",
    )
    op.execute("create table fanfold.usage_events_default partition of fanfold.usage_events default")
    # Policies of the parent hold through the parent. Read directly, a partition without any shows nothing.
    op.execute("alter table fanfold.usage_events_default enable row level security, force row level security")


def _protect(table: str) -> None:
    mine = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for statement in (
        f"alter table fanfold.{table} enable row level security, force row level security",
        f"create policy tenant on fanfold.{table} to fanfold_app using ({mine}) with check ({mine})",
        f"create policy system on fanfold.{table} to fanfold_system using (true) with check (true)",
        f"create policy operator on fanfold.{table} for select to fanfold_operator using (true)",
    ):
        op.execute(statement)


def _run(name: str) -> None:
    # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
    op.get_bind().exec_driver_sql((SQL / name).read_text(encoding="utf-8"))


def _create_functions() -> None:
    for name in ("ledger_flush", "ledger_sweep", "usage_partitions", "usage_partitions_ahead"):
        _run(f"{name}_0002.sql")
    for function in (*DEFINERS, *PARTITION_MAKERS):
        op.execute(f"revoke all on function {function} from public")
    op.execute("grant execute on function fanfold.usage_partitions() to fanfold_app")


def _hand_over() -> None:
    # Under FORCE a definer function of the tables' owner would see no row, so the flush belongs to fanfold_system.
    # Handing it over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in DEFINERS:
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in DEFINERS:
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _create_quota_periods()
    _create_reservations()
    _create_usage_events()
    for table in TABLES:
        _protect(table)
    for statement in (*GRANTS, *TYPES):
        op.execute(statement)
    _create_functions()
    _hand_over()
    op.execute("select fanfold.usage_partitions()")


def downgrade() -> None:
    for function in (*DEFINERS, *reversed(PARTITION_MAKERS)):
        op.execute(f"drop function {function}")
    for kind in ("ledger_item", "ledger_event"):
        op.execute(f"drop type fanfold.{kind}")
    for table in reversed(TABLES):
        op.drop_table(table, schema="fanfold")
