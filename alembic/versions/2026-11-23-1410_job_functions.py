"""What jobs commit, with fewer expressions; its texts travel as one, and its rows as text.

Revision ID: 0022
Revises: 0021
"""

from collections.abc import Mapping
from pathlib import Path

from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
LEDGER = (
    "uuid[], date[], integer[], uuid[], fanfold.ledger_operation[], fanfold.ledger_reading[], fanfold.ledger_claim[], "
    "fanfold.ledger_mark[]"
)
# Name -> members, of the old version and of the new one.
OLD_TYPES = {
    "job_new": "item integer, source text, metadata text, request bytea, api_key_id uuid, total integer, "
    "characters bigint, units_max bigint, weight integer, retention_days integer, bytes bigint, "
    "max_stored_bytes bigint",
    "job_part": "item integer, place integer, first_index integer, calls integer, units_max bigint, body bytea",
    "job_result": "item integer, place integer, call_index integer, success boolean, units bigint, body bytea",
}
NEW_TYPES = {
    "job_made": "item integer, source text, metadata_first integer, metadata_bytes integer, request_first integer, "
    "request_bytes integer, api_key_id uuid, total integer, characters bigint, units_max bigint, weight integer, "
    "retention_days integer, bytes bigint, max_stored_bytes bigint",
    "job_portion": "item integer, place integer, first_index integer, calls integer, units_max bigint, "
    "body_first integer, body_bytes integer",
    "job_answer": "item integer, place integer, call_index integer, success boolean, units bigint, "
    "body_first integer, body_bytes integer",
}
# File -> function, in the order in which they are made.
OLD = {
    "job_standing_0018": "job_standing(uuid, uuid, date)",
    "job_turn_queue_0018": "job_turn_queue(uuid, timestamptz)",
    "job_end_0018": "job_end(uuid, uuid, text, jsonb, bytea, jsonb)",
    "job_record_0021": "job_record(uuid, uuid, integer, bigint, boolean, fanfold.job_result[])",
    "jobs_commit_0018": f"jobs_commit({LEDGER}, fanfold.job_new[], fanfold.job_part[], fanfold.job_turn[], "
    "fanfold.job_result[])",
}
NEW = {
    "job_standing_0022": "job_standing(uuid, uuid, date)",
    "job_turn_queue_0022": "job_turn_queue(uuid, timestamptz)",
    "job_turn_take_0022": "job_turn_take(bigint, uuid, uuid, double precision, integer, integer)",
    "job_end_0022": "job_end(uuid, uuid, text, jsonb, bytea, jsonb)",
    "job_record_0022": "job_record(uuid, uuid, integer, bigint, boolean, fanfold.job_answer[], bytea)",
    "jobs_commit_0022": f"jobs_commit({LEDGER}, fanfold.job_made[], fanfold.job_portion[], fanfold.job_turn[], "
    "fanfold.job_answer[], bytea)",
}
# What the serving role may call; the others are called by functions alone.
OPEN = ("jobs_commit", "job_standing", "job_turn_take")


def _drop(functions: Mapping[str, str], types: Mapping[str, str]) -> None:
    for function in functions.values():
        op.execute(f"drop function fanfold.{function}")
    for name in types:
        op.execute(f"drop type fanfold.{name}")


def _make(functions: Mapping[str, str], types: Mapping[str, str]) -> None:
    for name, members in types.items():
        op.execute(f"create type fanfold.{name} as ({members})")
    for file in functions:
        # Past SQLAlchemy, which would take a `:name` for a parameter of its own.
        op.get_bind().exec_driver_sql((SQL / f"{file}.sql").read_text(encoding="utf-8"))
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in functions.values():
        op.execute(f"revoke all on function fanfold.{function} from public")
        op.execute(f"alter function fanfold.{function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in functions.values():
        if function.startswith(OPEN):
            op.execute(f"grant execute on function fanfold.{function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _drop(OLD, OLD_TYPES)
    _make(NEW, NEW_TYPES)


def downgrade() -> None:
    _drop(NEW, NEW_TYPES)
    _make(OLD, OLD_TYPES)
