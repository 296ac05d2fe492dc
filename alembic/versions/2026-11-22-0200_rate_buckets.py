"""Rate-limit buckets that every process shares, and which processes share them. Unlogged: a crash fills every bucket.

Revision ID: 0003
Revises: 0002
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
TABLES = ("rate_buckets", "rate_processes")
FUNCTIONS = {
    "rate_take": "fanfold.rate_take(text[], integer[], integer[], double precision[], double precision[])",
    "rate_round": "fanfold.rate_round(uuid, boolean)",
}


def _column(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, nullable=False)


def _create_tables() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "rate_buckets",
        sa.Column("key", sa.Text(), primary_key=True),
        _column("used", sa.Double()),
        _column("granted", sa.Integer()),
        _column("seen_at", moment),
        _column("rest_at", moment),
        schema="fanfold",
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "rate_processes",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("seen_at", moment),
        schema="fanfold",
        prefixes=["UNLOGGED"],
    )
    # A row is updated at each lease: room on its page keeps the update from touching the index. Vacuum by count.
    op.execute(
        "alter table fanfold.rate_buckets set "
        "(fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)"
    )


def _create_functions() -> None:
    op.execute("grant create on schema fanfold to fanfold_system")
    for name, function in FUNCTIONS.items():
        # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
        op.get_bind().exec_driver_sql((SQL / f"{name}_0003.sql").read_text(encoding="utf-8"))
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    for function in FUNCTIONS.values():
        op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    _create_tables()
    for table in TABLES:
        op.execute(f"grant select, insert, update, delete on fanfold.{table} to fanfold_system")
    _create_functions()


def downgrade() -> None:
    for function in FUNCTIONS.values():
        op.execute(f"drop function {function}")
    for table in TABLES:
        op.drop_table(table, schema="fanfold")
