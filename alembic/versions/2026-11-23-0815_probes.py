"""What a part of a job has written already is looked up by its range: a list led through all of a tenant's events.

Revision ID: 0021
Revises: 0020
"""

from pathlib import Path

from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
LEDGER_COMMIT = (
    "fanfold.ledger_commit(uuid[], date[], integer[], uuid[], fanfold.ledger_operation[], fanfold.ledger_reading[], "
    "fanfold.ledger_claim[], fanfold.ledger_mark[])"
)
JOB_RECORD = "fanfold.job_record(uuid, uuid, integer, bigint, boolean, fanfold.job_result[])"


def _replace(function: str, name: str, *, is_open: bool) -> None:
    op.execute(f"drop function {function}")
    # Past SQLAlchemy, which would take a `:name` for a parameter of its own.
    op.get_bind().exec_driver_sql((SQL / name).read_text(encoding="utf-8"))
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"revoke execute on function {function} from public")
    if is_open:
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _replace(LEDGER_COMMIT, "ledger_commit_0021.sql", is_open=True)
    _replace(JOB_RECORD, "job_record_0021.sql", is_open=False)


def downgrade() -> None:
    _replace(JOB_RECORD, "job_record_0018.sql", is_open=False)
    _replace(LEDGER_COMMIT, "ledger_commit_0020.sql", is_open=True)
