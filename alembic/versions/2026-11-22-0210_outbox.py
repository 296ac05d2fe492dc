"""The outbox: what is told of a transaction, written in it.

Revision ID: 0005
Revises: 0004
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
FUNCTIONS = (
    "fanfold.outbox_claim(text[], integer, double precision)",
    "fanfold.outbox_done(uuid[], uuid[], integer[])",
    "fanfold.outbox_retry(uuid, uuid, integer, double precision, boolean)",
    "fanfold.outbox_purge(double precision, integer)",
)
_MINE = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
PROTECTION = (
    "alter table fanfold.outbox enable row level security, force row level security",
    f"create policy tenant on fanfold.outbox to fanfold_app using ({_MINE}) with check ({_MINE})",
    "create policy system on fanfold.outbox to fanfold_system using (true) with check (true)",
    "create policy operator on fanfold.outbox to fanfold_operator using (true) with check (true)",
    # The serving role writes and cannot read: a payload may hold what only its handler is to see.
    "grant insert on fanfold.outbox to fanfold_app",
    "grant select, insert on fanfold.outbox to fanfold_operator",
    "grant select, insert, update, delete on fanfold.outbox to fanfold_system",
)


def _create_table() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "outbox",
        sa.Column("tenant_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", moment, nullable=False, server_default=sa.text("now()")),
        sa.Column("due_at", moment, nullable=False, server_default=sa.text("now()")),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("leased_until", moment),
        sa.Column("dead_at", moment),
        schema="fanfold",
    )
    for name, columns, where in (
        ("outbox_due_idx", ["topic", "due_at"], "dead_at is null"),
        ("outbox_dead_idx", ["dead_at"], "dead_at is not null"),
    ):
        op.create_index(name, "outbox", columns, schema="fanfold", postgresql_where=sa.text(where))
    # Rows live for seconds: vacuum by count, not by a share of a table that is empty at rest.
    op.execute(
        "alter table fanfold.outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
    )


def _create_functions() -> None:
    for name in ("claim", "done", "retry", "purge"):
        # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
        op.get_bind().exec_driver_sql((SQL / f"outbox_{name}_0005.sql").read_text(encoding="utf-8"))
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
    _create_table()
    for statement in PROTECTION:
        op.execute(statement)
    _create_functions()


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute(f"drop function {function}")
    op.drop_table("outbox", schema="fanfold")
