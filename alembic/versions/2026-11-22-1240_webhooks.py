"""Webhooks: endpoints of tenants, what is delivered to each, and every attempt at it.

Revision ID: 0019
Revises: 0018
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
CLAIM = "fanfold.webhook_claim(timestamptz, double precision, integer, integer, integer, integer)"
PURGE = "fanfold.webhook_purge(timestamptz, integer, integer, integer)"
PENDING = "fanfold.webhook_pending()"
FUNCTIONS = (CLAIM, PURGE, PENDING)
COUNTING = """
create function fanfold.webhook_pending() returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
  select count(*) from fanfold.webhook_deliveries where status = 'pending'
$f$
"""
TABLES = ("webhooks", "webhook_deliveries", "webhook_attempts")
_MINE = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
GRANTS = (
    "grant select, insert, update, delete on fanfold.webhooks to fanfold_app",
    "grant select, insert, update on fanfold.webhook_deliveries to fanfold_app",
    "grant select, insert, delete on fanfold.webhook_attempts to fanfold_app",
    *(f"grant select on fanfold.{table} to fanfold_operator" for table in TABLES),
    *(f"grant select, delete on fanfold.{table} to fanfold_system" for table in TABLES),
    # To lease and to tell what has ended.
    "grant update on fanfold.webhook_deliveries to fanfold_system",
)


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _moment(name: str, *, null: bool = True, default: str | None = None) -> sa.Column:
    return _column(name, sa.DateTime(timezone=True), null=null, default=default)


def _create_webhooks() -> None:
    words, sealed = sa.Text(), sa.LargeBinary()
    op.create_table(
        "webhooks",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("fanfold.tenants.id"), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("url", words),
        _column("description", words),
        _column("events", postgresql.ARRAY(words), null=True),
        _column("enabled", sa.Boolean(), default="true"),
        _column("disabled_reason", words, null=True),
        _column("secret_sealed", sealed),
        _column("previous_sealed", sealed, null=True),
        _moment("previous_until"),
        _moment("failing_since"),
        _moment("failed_at"),
        _moment("created_at", null=False, default="now()"),
        _moment("updated_at", null=False, default="now()"),
        sa.CheckConstraint("disabled_reason in ('gone', 'failing')", name="disabled_reason"),
        schema="fanfold",
    )


def _create_deliveries() -> None:
    words = sa.Text()
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("webhook_id", sa.Uuid()),
        _column("event_id", sa.Uuid()),
        _column("type", words),
        _column("body", words),
        _column("status", words),
        _column("attempts", sa.Integer(), default="0"),
        _column("failures", sa.Integer(), default="0"),
        _moment("due_at", null=False),
        _moment("leased_until"),
        _column("claims", sa.Integer(), default="0"),
        _moment("created_at", null=False),
        _moment("ended_at"),
        _column("status_code", sa.Integer(), null=True),
        _column("latency_ms", sa.Double(), null=True),
        _column("error", words, null=True),
        _column("answer", words, null=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "webhook_id"],
            ["fanfold.webhooks.tenant_id", "fanfold.webhooks.id"],
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("tenant_id", "webhook_id", "event_id"),
        sa.CheckConstraint("status in ('pending', 'delivered', 'dead')", name="status"),
        schema="fanfold",
    )
    for name, columns, where in (
        ("log", ["tenant_id", "webhook_id", "id"], None),
        ("due", ["tenant_id", "webhook_id", "due_at", "id"], "status = 'pending'"),
        ("leased", ["tenant_id", "webhook_id"], "leased_until is not null"),
        ("created_at", ["created_at"], None),
    ):
        op.create_index(
            f"webhook_deliveries_{name}_idx", "webhook_deliveries", columns, schema="fanfold",
            postgresql_where=sa.text(where) if where else None,
        )  # fmt: skip


def _create_attempts() -> None:
    op.create_table(
        "webhook_attempts",
        sa.Column("tenant_id", sa.Uuid(), primary_key=True),
        sa.Column("delivery_id", sa.Uuid(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        _moment("at", null=False),
        _column("status_code", sa.Integer(), null=True),
        _column("latency_ms", sa.Double()),
        _column("error", sa.Text(), null=True),
        _column("answer", sa.Text(), null=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "delivery_id"],
            ["fanfold.webhook_deliveries.tenant_id", "fanfold.webhook_deliveries.id"],
            ondelete="CASCADE",
        ),
        schema="fanfold",
    )


def _protect(table: str) -> None:
    op.execute(f"alter table fanfold.{table} enable row level security, force row level security")
    op.execute(f"create policy tenant on fanfold.{table} to fanfold_app using ({_MINE}) with check ({_MINE})")
    for role in ("system", "operator"):
        op.execute(
            f"create policy {role} on fanfold.{table} to fanfold_{role} using (true) with check (true)"
        )


def _create_functions() -> None:
    for name in ("claim", "purge"):
        # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
        op.get_bind().exec_driver_sql((SQL / f"webhook_{name}_0019.sql").read_text(encoding="utf-8"))
    op.execute(COUNTING)
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in FUNCTIONS:
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in FUNCTIONS:
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _create_webhooks()
    _create_deliveries()
    _create_attempts()
    for table in TABLES:
        _protect(table)
    for statement in GRANTS:
        op.execute(statement)
    _create_functions()


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute(f"drop function {function}")
    for table in reversed(TABLES):
        op.drop_table(table, schema="fanfold")
