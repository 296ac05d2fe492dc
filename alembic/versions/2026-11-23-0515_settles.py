"""The ledger's flush asks about parts of jobs where there are any: a settle of another kind costs half as much.

Revision ID: 0020
Revises: 0019
"""

from pathlib import Path

from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
LEDGER_COMMIT = (
    "fanfold.ledger_commit(uuid[], date[], integer[], uuid[], fanfold.ledger_operation[], fanfold.ledger_reading[], "
    "fanfold.ledger_claim[], fanfold.ledger_mark[])"
)


def _replace(name: str) -> None:
    op.execute(f"drop function {LEDGER_COMMIT}")
    # Past SQLAlchemy, which would take a `:name` for a parameter of its own.
    op.get_bind().exec_driver_sql((SQL / name).read_text(encoding="utf-8"))
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute(f"alter function {LEDGER_COMMIT} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"revoke execute on function {LEDGER_COMMIT} from public")
    op.execute(f"grant execute on function {LEDGER_COMMIT} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _replace("ledger_commit_0020.sql")


def downgrade() -> None:
    _replace("ledger_commit_0018.sql")
