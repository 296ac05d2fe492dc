"""What jobs commit, with fewer expressions; its texts travel as one, and its rows as text.

What servers of the release before call stands beside it, with its types, and goes a release later.

Revision ID: 0022
Revises: 0021
"""

from collections.abc import Iterable
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
TYPES = {
    "job_made": "item integer, source text, metadata_first integer, metadata_bytes integer, request_first integer, "
    "request_bytes integer, api_key_id uuid, total integer, characters bigint, units_max bigint, weight integer, "
    "retention_days integer, bytes bigint, max_stored_bytes bigint",
    "job_portion": "item integer, place integer, first_index integer, calls integer, units_max bigint, "
    "body_first integer, body_bytes integer",
    "job_answer": "item integer, place integer, call_index integer, success boolean, units bigint, "
    "body_first integer, body_bytes integer",
}
# Name -> signature. The first is called by functions alone, the others by the serving role too.
RECORD = "job_record(uuid, uuid, integer, bigint, boolean, fanfold.job_answer[], bytea)"
TAKE = "job_turn_take(bigint, uuid, uuid, double precision, integer, integer)"
COMMIT = (
    f"jobs_commit({LEDGER}, fanfold.job_made[], fanfold.job_portion[], fanfold.job_turn[], "
    "fanfold.job_answer[], bytea)"
)
MADE = {"job_record": RECORD, "job_turn_take": TAKE, "jobs_commit": COMMIT}
OPEN = ("job_turn_take", "jobs_commit")
# Their signatures stay, and so do they, with their rights: only what they do is written anew.
REWRITTEN = ("job_standing", "job_turn_queue", "job_end")


def _run(names: Iterable[str], version: str) -> None:
    for name in names:
        statement = (SQL / f"{name}_{version}.sql").read_text(encoding="utf-8")
        if name in REWRITTEN:
            statement = statement.replace("create function", "create or replace function", 1)
        # Past SQLAlchemy, which would take a `:name` for a parameter of its own.
        op.get_bind().exec_driver_sql(statement)


def _rewrite(version: str) -> None:
    # Only their owner may.
    op.execute("set local role fanfold_system")
    _run(REWRITTEN, version)
    op.execute("reset role")


def upgrade() -> None:
    for name, members in TYPES.items():
        op.execute(f"create type fanfold.{name} as ({members})")
    # Making a function, or handing one over, needs CREATE on the schema for its owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    _rewrite("0022")
    _run(MADE, "0022")
    for function in MADE.values():
        op.execute(f"revoke all on function fanfold.{function} from public")
        op.execute(f"alter function fanfold.{function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for name in OPEN:
        op.execute(f"grant execute on function fanfold.{MADE[name]} to fanfold_app")
    op.execute("reset role")


def downgrade() -> None:
    for function in MADE.values():
        op.execute(f"drop function fanfold.{function}")
    for name in TYPES:
        op.execute(f"drop type fanfold.{name}")
    op.execute("grant create on schema fanfold to fanfold_system")
    _rewrite("0018")
    op.execute("revoke create on schema fanfold from fanfold_system")
