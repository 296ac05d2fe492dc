"""The audit log: who changed what, before and after; written in the change's own transaction, never changed.

Revision ID: 0012
Revises: 0011
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: None = None
depends_on: None = None

RESOLVE = "fanfold.outcome_resolve_audited(uuid, uuid, text, bigint, text, uuid, uuid, text, text)"
RESOLVE_SQL = Path(__file__).parents[1] / "sql" / "outcome_resolve_audited_0012.sql"

_MINE = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
STATEMENTS = (
    "alter table fanfold.audit_events enable row level security, force row level security",
    f"create policy tenant on fanfold.audit_events to fanfold_app using ({_MINE}) with check ({_MINE})",
    "create policy system on fanfold.audit_events to fanfold_system using (true) with check (true)",
    "create policy operator on fanfold.audit_events to fanfold_operator using (true) with check (true)",
    "create policy identity on fanfold.audit_events for insert to fanfold_identity with check (true)",
    # Nobody who serves may change or delete a line of it.
    "grant select, insert on fanfold.audit_events to fanfold_app, fanfold_operator",
    "grant insert on fanfold.audit_events to fanfold_identity",
    # For what ends in a function of the system role's: an outcome that somebody resolves.
    "grant select, insert on fanfold.audit_events to fanfold_system",
)


def upgrade() -> None:
    words = sa.Text()
    op.create_table(
        "audit_events",
        sa.Column("tenant_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("actor_kind", words, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("action", words, nullable=False),
        sa.Column("object_kind", words, nullable=False),
        sa.Column("object_id", words, nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("request_id", words, nullable=True),
        sa.Column("reason", words, nullable=True),
        schema="fanfold",
    )
    op.create_index("audit_events_id_idx", "audit_events", ["id"], schema="fanfold")
    for statement in STATEMENTS:
        op.execute(statement)
    op.get_bind().exec_driver_sql(RESOLVE_SQL.read_text(encoding="utf-8"))
    op.execute(f"revoke all on function {RESOLVE} from public")
    # Handing it over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute(f"alter function {RESOLVE} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"grant execute on function {RESOLVE} to fanfold_app")
    op.execute("reset role")


def downgrade() -> None:
    op.execute(f"drop function {RESOLVE}")
    op.drop_table("audit_events", schema="fanfold")
