"""Idempotency keys and the answers they replay.

Revision ID: 0007
Revises: 0006
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
TABLES = ("idempotency_keys", "idempotency_answers")
PURGE = "fanfold.idempotency_purge(integer)"
# Operators' keys create things as well: what they ask for twice is kept under the key's own id.
GRANTS = (
    "grant select, insert, update on fanfold.idempotency_keys to fanfold_app, fanfold_operator",
    "grant select, insert on fanfold.idempotency_answers to fanfold_app, fanfold_operator",
    "grant select, insert, update, delete on fanfold.idempotency_keys, fanfold.idempotency_answers to fanfold_system",
)


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _key(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, primary_key=True)


def _create_keys() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "idempotency_keys",
        _key("tenant_id", sa.Uuid()),
        _key("route", sa.Text()),
        _key("key", sa.Text()),
        _column("body_hash", sa.LargeBinary()),
        _column("request_id", sa.Uuid()),
        _column("status", sa.Integer(), null=True),
        _column("headers", postgresql.JSONB(), null=True),
        _column("units", sa.BigInteger(), null=True),
        _column("remaining", sa.BigInteger(), null=True),
        _column("created_at", moment, default="now()"),
        _column("answered_at", moment, null=True),
        sa.CheckConstraint("length(key) between 1 and 255", name="key"),
        sa.CheckConstraint("(status is null) = (answered_at is null)", name="answered"),
        schema="fanfold",
    )
    op.create_index("idempotency_keys_created_at_idx", "idempotency_keys", ["created_at"], schema="fanfold")


def _create_answers() -> None:
    op.create_table(
        "idempotency_answers",
        _key("tenant_id", sa.Uuid()),
        _key("request_id", sa.Uuid()),
        _key("part", sa.Integer()),
        _column("body", sa.LargeBinary()),
        _column("created_at", sa.DateTime(timezone=True), default="now()"),
        sa.CheckConstraint("octet_length(body) <= 1048576", name="body"),
        schema="fanfold",
    )
    op.create_index(
        "idempotency_answers_created_at_idx", "idempotency_answers", ["created_at"], schema="fanfold"
    )
    # What is sealed cannot be made smaller: trying costs time, and its length would not be known unread.
    op.execute("alter table fanfold.idempotency_answers alter column body set storage external")


def _protect(table: str) -> None:
    mine = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for statement in (
        f"alter table fanfold.{table} enable row level security, force row level security",
        f"create policy tenant on fanfold.{table} to fanfold_app using ({mine}) with check ({mine})",
        f"create policy system on fanfold.{table} to fanfold_system using (true) with check (true)",
        f"create policy operator on fanfold.{table} to fanfold_operator using (true) with check (true)",
    ):
        op.execute(statement)


def _create_purge() -> None:
    op.get_bind().exec_driver_sql((SQL / "idempotency_purge_0007.sql").read_text(encoding="utf-8"))
    op.execute(f"revoke all on function {PURGE} from public")
    # Handing it over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute(f"alter function {PURGE} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"grant execute on function {PURGE} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _create_keys()
    _create_answers()
    for table in TABLES:
        _protect(table)
    for statement in GRANTS:
        op.execute(statement)
    _create_purge()


def downgrade() -> None:
    op.execute(f"drop function {PURGE}")
    for table in reversed(TABLES):
        op.drop_table(table, schema="fanfold")
