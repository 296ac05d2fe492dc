"""Prices of upstreams, each from a moment on.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None

UNITS = ("units_per_call", "units_per_1k_chars", "units_per_1k_input_tokens", "units_per_1k_output_tokens")
GRANTS = (
    "grant select, insert, delete on fanfold.upstream_prices to fanfold_app",
    "grant select on fanfold.upstream_prices to fanfold_operator",
)
# Under FORCE row-level security a change of the tables' owner finds no row. It is lifted within the transaction.
LIFTED = ("upstreams", "upstream_prices")

KEEP_PRICES = f"""
insert into fanfold.upstream_prices (tenant_id, upstream_id, id, effective_from, {", ".join(UNITS)})
select tenant_id, id, gen_random_uuid(), created_at, {", ".join(UNITS)} from fanfold.upstreams
"""
GIVE_PRICES_BACK = f"""
update fanfold.upstreams u set ({", ".join(UNITS)}) = (
    select {", ".join(UNITS)} from fanfold.upstream_prices p
     where p.tenant_id = u.tenant_id and p.upstream_id = u.id
     order by p.effective_from > now(), abs(extract(epoch from p.effective_from - now())) limit 1)
"""


def _moment(name: str, **options: object) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, **options)


def _create_prices() -> None:
    op.create_table(
        "upstream_prices",
        sa.Column("tenant_id", sa.Uuid(), primary_key=True),
        sa.Column("upstream_id", sa.Uuid(), primary_key=True),
        _moment("effective_from", primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in UNITS),
        _moment("created_at", server_default=sa.text("now()")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_id"],
            ["fanfold.upstreams.tenant_id", "fanfold.upstreams.id"],
            ondelete="cascade",
        ),
        sa.UniqueConstraint("tenant_id", "id"),
        sa.CheckConstraint(" and ".join(f"{name} >= 0" for name in UNITS), name="units"),
        schema="fanfold",
    )


def _protect() -> None:
    mine = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for statement in (
        "alter table fanfold.upstream_prices enable row level security, force row level security",
        f"create policy tenant on fanfold.upstream_prices to fanfold_app using ({mine}) with check ({mine})",
        "create policy system on fanfold.upstream_prices for select to fanfold_system using (true)",
        "create policy operator on fanfold.upstream_prices for select to fanfold_operator using (true)",
        *GRANTS,
    ):
        op.execute(statement)


def _seeing_every_row(statement: str) -> None:
    for table in LIFTED:
        op.execute(f"alter table fanfold.{table} no force row level security")
    op.execute(statement)
    for table in LIFTED:
        op.execute(f"alter table fanfold.{table} force row level security")


def upgrade() -> None:
    _create_prices()
    _protect()
    _seeing_every_row(KEEP_PRICES)
    for name in UNITS:
        op.drop_column("upstreams", name, schema="fanfold")


def downgrade() -> None:
    for name in UNITS:
        op.add_column("upstreams", sa.Column(name, sa.Integer(), nullable=True), schema="fanfold")
    _seeing_every_row(GIVE_PRICES_BACK)
    for name in UNITS:
        op.alter_column("upstreams", name, nullable=False, schema="fanfold")
    op.drop_table("upstream_prices", schema="fanfold")
