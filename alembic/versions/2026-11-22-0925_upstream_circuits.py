"""Circuits that are open, by the process that opened them: what `GET /v1/upstreams/{id}` shows of all processes.

Revision ID: 0017
Revises: 0016
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
NOTE = (
    "fanfold.upstream_circuits_note(uuid, uuid[], uuid[], text[], double precision[], double precision[],"
    " double precision[], boolean[])"
)
LEAVE = "fanfold.upstream_circuits_leave(uuid)"
# A process that stops well takes its circuits along; those of one that was killed expire.
LEAVING = """
create function fanfold.upstream_circuits_leave(p_process uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $f$
  update fanfold.upstream_circuits set expires_at = now() where process_id = p_process and expires_at > now()
$f$
"""
_MINE = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
PROTECTION = (
    "alter table fanfold.upstream_circuits enable row level security, force row level security",
    f"create policy tenant on fanfold.upstream_circuits to fanfold_app using ({_MINE}) with check ({_MINE})",
    "create policy system on fanfold.upstream_circuits to fanfold_system using (true) with check (true)",
    "create policy operator on fanfold.upstream_circuits to fanfold_operator using (true)",
    # Deletes: an upstream at a new address begins with a closed circuit.
    "grant select, delete on fanfold.upstream_circuits to fanfold_app, fanfold_operator",
    "grant select, insert, update, delete on fanfold.upstream_circuits to fanfold_system",
)


def _create_table() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "upstream_circuits",
        sa.Column("tenant_id", sa.Uuid(), primary_key=True),
        sa.Column("upstream_id", sa.Uuid(), primary_key=True),
        sa.Column("process_id", sa.Uuid(), primary_key=True),
        sa.Column("opened_at", moment, nullable=False),
        sa.Column("retry_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("told_at", moment),
        schema="fanfold",
    )
    for name, column in (("expires_at", "expires_at"), ("process_id", "process_id")):
        op.create_index(f"upstream_circuits_{name}_idx", "upstream_circuits", [column], schema="fanfold")


def _create_functions() -> None:
    # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
    op.get_bind().exec_driver_sql((SQL / "upstream_circuits_note_0017.sql").read_text(encoding="utf-8"))
    op.execute(LEAVING)
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in (NOTE, LEAVE):
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in (NOTE, LEAVE):
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _create_table()
    for statement in PROTECTION:
        op.execute(statement)
    _create_functions()


def downgrade() -> None:
    for function in (NOTE, LEAVE):
        op.execute(f"drop function {function}")
    op.drop_table("upstream_circuits", schema="fanfold")
