"""Jobs: their rows, their input and answers, the queue of turns, and a part of the ledger that ends no reservation.

Revision ID: 0018
Revises: 0017
"""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
MOMENT = sa.DateTime(timezone=True)
# Table -> what the serving role may do with it, beside reading: what is sealed it may seal anew. Everything else goes
# through the functions.
TABLES = {
    "jobs": ", update (request, output)",
    "job_parts": ", insert, delete, update (body)",
    "job_results": ", update (body)",
    "job_changes": "",
    "tenant_storage": "",
}
QUEUE = ("pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics")
TYPES = {
    "job_new": "item integer, source text, metadata text, request bytea, api_key_id uuid, total integer, "
    "characters bigint, units_max bigint, weight integer, retention_days integer, bytes bigint, "
    "max_stored_bytes bigint",
    "job_part": "item integer, place integer, first_index integer, calls integer, units_max bigint, body bytea",
    "job_turn": "item integer, kind smallint, fence integer, closed_calls integer, closed_units bigint, status text, "
    "error text, output bytea, fold_error text",
    "job_result": "item integer, place integer, call_index integer, success boolean, units bigint, body bytea",
}
LEDGER_COMMIT = (
    "fanfold.ledger_commit(uuid[], date[], integer[], uuid[], fanfold.ledger_operation[], fanfold.ledger_reading[], "
    "fanfold.ledger_claim[], fanfold.ledger_mark[])"
)
JOBS_COMMIT = (
    "fanfold.jobs_commit(uuid[], date[], integer[], uuid[], fanfold.ledger_operation[], fanfold.ledger_reading[], "
    "fanfold.ledger_claim[], fanfold.ledger_mark[], fanfold.job_new[], fanfold.job_part[], fanfold.job_turn[], "
    "fanfold.job_result[])"
)
OPEN_FUNCTIONS = (
    LEDGER_COMMIT,
    JOBS_COMMIT,
    "fanfold.job_turn_begin(bigint)",
    "fanfold.job_turn_next(uuid, integer)",
    "fanfold.job_turns_mend()",
    "fanfold.job_claim(uuid, uuid, double precision, integer, integer)",
    "fanfold.job_part_next(uuid, uuid, integer)",
    "fanfold.job_standing(uuid, uuid, date)",
    "fanfold.job_beat(uuid, uuid, integer, double precision, integer, bigint, boolean)",
    "fanfold.job_leave(uuid, uuid, integer, text, jsonb, integer)",
    "fanfold.job_cancel(uuid, uuid)",
    "fanfold.job_delete(uuid, uuid)",
    "fanfold.jobs_purge(integer, uuid)",
    "fanfold.jobs_seen(uuid[], uuid[])",
    "fanfold.jobs_figures()",
)
INNER_FUNCTIONS = (
    "fanfold.job_turn_queue(uuid, timestamptz)",
    "fanfold.job_unknown(fanfold.jobs)",
    "fanfold.job_dead(fanfold.jobs, jsonb)",
    "fanfold.job_record(uuid, uuid, integer, bigint, boolean, fanfold.job_result[])",
    "fanfold.job_end(uuid, uuid, text, jsonb, bytea, jsonb)",
    "fanfold.job_again(uuid, uuid, date)",
)
# What a function calls may come after it.
FILES = (
    "ledger_commit", "job_turn_queue", "job_turn_begin", "job_turn_next", "job_turns_mend", "job_unknown",
    "job_end", "job_dead", "job_claim", "job_part_next", "job_standing", "job_beat", "job_leave", "job_record",
    "job_again", "job_cancel", "job_delete", "jobs_purge", "jobs_seen", "jobs_figures", "jobs_commit",
)  # fmt: skip
STORED_BYTES = {"pro": 10_000_000_000, "scale": 100_000_000_000}
_MINE = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _key(name: str, kind: sa.types.TypeEngine | None = None) -> sa.Column:
    return sa.Column(name, kind or sa.Uuid(), primary_key=True)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        _key("tenant_id"),
        _key("id"),
        _column("status", sa.Text()),
        _column("source", sa.Text()),
        _column("metadata", JSONB(), default="'{}'"),
        _column("request", sa.LargeBinary()),
        _column("api_key_id", sa.Uuid(), null=True),
        _column("total", sa.Integer()),
        _column("fold_first", sa.Integer()),
        _column("successful", sa.Integer(), default="0"),
        _column("failed", sa.Integer(), default="0"),
        _column("characters", sa.BigInteger()),
        _column("units", sa.BigInteger(), default="0"),
        _column("units_max", sa.BigInteger()),
        _column("period_start", sa.Date()),
        _column("weight", sa.Integer()),
        _column("retention_days", sa.Integer()),
        _column("stored_bytes", sa.BigInteger()),
        _column("fence", sa.Integer(), default="0"),
        _column("worker_id", sa.Uuid(), null=True),
        _column("lease_until", MOMENT, null=True),
        _column("attempts", sa.Integer(), default="0"),
        _column("round", sa.Integer(), default="0"),
        _column("due_at", MOMENT, default="now()"),
        _column("open_calls", sa.Integer(), default="0"),
        _column("open_units", sa.BigInteger(), default="0"),
        _column("cancel_requested_at", MOMENT, null=True),
        _column("error", JSONB(), null=True),
        _column("fold_error", JSONB(), null=True),
        _column("output", sa.LargeBinary(), null=True),
        _column("seq", sa.BigInteger(), default="0"),
        _column("created_at", MOMENT, default="now()"),
        _column("started_at", MOMENT, null=True),
        _column("ended_at", MOMENT, null=True),
        _column("expires_at", MOMENT, null=True),
        sa.CheckConstraint(
            "status in ('queued', 'running', 'paused', 'succeeded', 'partial', 'failed', 'cancelled', 'dead')",
            name="status",
        ),
        sa.CheckConstraint(
            "(ended_at is null) = (status in ('queued', 'running', 'paused'))", name="ended_at"
        ),
        sa.CheckConstraint("source in ('json', 'text', 'ndjson')", name="source"),
        schema="fanfold",
    )
    under_way = sa.text("status in ('queued', 'running')")
    for name, columns, where in (
        ("due", ["tenant_id", "due_at"], under_way),
        ("expires_at", ["expires_at"], sa.text("expires_at is not null")),
        ("dead", ["ended_at"], sa.text("status = 'dead'")),
    ):
        op.create_index(f"jobs_{name}_idx", "jobs", columns, schema="fanfold", postgresql_where=where)


def _create_texts() -> None:
    op.create_table(
        "job_parts",
        _key("tenant_id"),
        _key("job_id"),
        _key("place", sa.Integer()),
        _column("first_index", sa.Integer()),
        _column("calls", sa.Integer()),
        _column("missing", sa.Integer()),
        _column("units_max", sa.BigInteger()),
        _column("body", sa.LargeBinary()),
        sa.CheckConstraint("missing between 0 and calls", name="missing"),
        schema="fanfold",
    )
    op.create_index("job_parts_job_id_idx", "job_parts", ["job_id", "first_index"], schema="fanfold")
    op.create_table(
        "job_results",
        _key("tenant_id"),
        _key("job_id"),
        _key("call_index", sa.Integer()),
        _column("seq", sa.BigInteger()),
        _column("success", sa.Boolean()),
        _column("units", sa.BigInteger()),
        _column("body", sa.LargeBinary()),
        schema="fanfold",
    )
    op.create_index("job_results_seq_idx", "job_results", ["tenant_id", "job_id", "seq"], schema="fanfold")
    op.create_table(
        "job_changes",
        _key("tenant_id"),
        _key("job_id"),
        _key("seq", sa.BigInteger()),
        _column("status", sa.Text()),
        _column("changed_at", MOMENT, default="now()"),
        schema="fanfold",
    )
    op.create_table(
        "tenant_storage",
        _key("tenant_id"),
        _column("bytes", sa.BigInteger(), default="0"),
        sa.CheckConstraint("bytes >= 0", name="bytes"),
        schema="fanfold",
    )
    # Sealed, so there is nothing in them to compress.
    op.execute("alter table fanfold.job_parts alter column body set storage external")
    op.execute("alter table fanfold.job_results alter column body set storage external")


def _protect(table: str, rights: str) -> None:
    for statement in (
        f"alter table fanfold.{table} enable row level security, force row level security",
        f"create policy tenant on fanfold.{table} to fanfold_app using ({_MINE}) with check ({_MINE})",
        f"create policy system on fanfold.{table} to fanfold_system using (true) with check (true)",
        f"create policy operator on fanfold.{table} for select to fanfold_operator using (true)",
        f"grant select{rights} on fanfold.{table} to fanfold_app",
        f"grant select on fanfold.{table} to fanfold_operator",
        f"grant select, insert, update, delete on fanfold.{table} to fanfold_system",
    ):
        op.execute(statement)


def _extend_tables() -> None:
    op.add_column("outcomes", _column("job_id", sa.Uuid(), null=True), schema="fanfold")
    op.add_column("outcomes", _column("calls", sa.Integer(), null=True), schema="fanfold")
    op.add_column(
        "plans", _column("max_stored_bytes", sa.BigInteger(), default="100000000"), schema="fanfold"
    )
    op.create_check_constraint("max_stored_bytes", "plans", "max_stored_bytes >= 0", schema="fanfold")
    plans = sa.table("plans", sa.column("code"), sa.column("max_stored_bytes"), schema="fanfold")
    for code, most in STORED_BYTES.items():
        op.execute(plans.update().where(plans.c.code == code).values(max_stored_bytes=most))
    op.execute("grant update on fanfold.reservations to fanfold_system")


def _create_queue() -> None:
    # One by one, as the driver takes them.
    for statement in (SQL / "pgqueuer_0018.sql").read_text(encoding="utf-8").split(";\n\nCREATE "):
        op.get_bind().exec_driver_sql(statement if statement.startswith("--") else f"CREATE {statement}")
    for table in QUEUE:
        op.execute(f"grant select, insert, update, delete on fanfold.{table} to fanfold_app, fanfold_system")
        op.execute(f"grant usage on sequence fanfold.{table}_id_seq to fanfold_app, fanfold_system")
    op.execute("alter function fanfold.fn_pgqueuer_changed() set search_path = pg_catalog, pg_temp")
    op.execute("revoke all on function fanfold.fn_pgqueuer_changed() from public")
    # Picked and deleted within seconds: vacuum by count, not by a share of a table that is empty at rest.
    op.execute(
        "alter table fanfold.pgqueuer set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)"
    )


def _run(name: str) -> None:
    # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
    op.get_bind().exec_driver_sql((SQL / name).read_text(encoding="utf-8"))


def _hand_over(functions: Sequence[str], *, is_open: bool) -> None:
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in functions:
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    if is_open:
        op.execute("set local role fanfold_system")
        for function in functions:
            op.execute(f"grant execute on function {function} to fanfold_app")
        op.execute("reset role")


def upgrade() -> None:
    _create_jobs()
    _create_texts()
    for table, rights in TABLES.items():
        _protect(table, rights)
    _extend_tables()
    _create_queue()
    for name, members in TYPES.items():
        op.execute(f"create type fanfold.{name} as ({members})")
    op.execute(f"drop function {LEDGER_COMMIT}")
    for name in FILES:
        _run(f"{name}_0018.sql")
    _hand_over(INNER_FUNCTIONS, is_open=False)
    _hand_over(OPEN_FUNCTIONS, is_open=True)


def downgrade() -> None:
    for function in (*OPEN_FUNCTIONS, *INNER_FUNCTIONS):
        op.execute(f"drop function {function}")
    for name in TYPES:
        op.execute(f"drop type fanfold.{name}")
    for table in (*reversed(TABLES), *QUEUE):
        op.drop_table(table, schema="fanfold")
    op.execute("drop function fanfold.fn_pgqueuer_changed()")
    op.execute("drop type fanfold.pgqueuer_status")
    op.execute("revoke update on fanfold.reservations from fanfold_system")
    op.drop_column("plans", "max_stored_bytes", schema="fanfold")
    for column in ("job_id", "calls"):
        op.drop_column("outcomes", column, schema="fanfold")
    _run("ledger_commit_0008.sql")
    _hand_over([LEDGER_COMMIT], is_open=True)
