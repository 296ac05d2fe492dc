"""Upstreams of the operator, which all tenants share: rows of the nil tenant, that tenants read and operators write.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa

from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: None = None
depends_on: None = None

NIL = "'00000000-0000-0000-0000-000000000000'::uuid"
TABLES = ("upstreams", "upstream_prices")
GRANTS = {"upstreams": "insert, update, delete", "upstream_prices": "insert, delete"}


def _replace_tenant_key() -> None:
    # What belongs to a tenant still refers to one: of the nil tenant the reference is null, so that nothing is asked.
    op.drop_constraint("upstreams_tenant_id_fkey", "upstreams", schema="fanfold")
    op.add_column(
        "upstreams",
        sa.Column("owner_id", sa.Uuid(), sa.Computed(f"nullif(tenant_id, {NIL})", persisted=True)),
        schema="fanfold",
    )
    op.create_foreign_key(
        "upstreams_owner_id_fkey", "upstreams", "tenants", ["owner_id"], ["id"],
        source_schema="fanfold", referent_schema="fanfold",
    )  # fmt: skip


def _share(table: str) -> None:
    shared = f"tenant_id = {NIL}"
    for statement in (
        f"create policy shared on fanfold.{table} for select to fanfold_app using ({shared})",
        f"drop policy operator on fanfold.{table}",
        f"create policy operator on fanfold.{table} for select to fanfold_operator using (true)",
        f"create policy sharing on fanfold.{table} to fanfold_operator using ({shared}) with check ({shared})",
        f"grant {GRANTS[table]} on fanfold.{table} to fanfold_operator",
    ):
        op.execute(statement)


def _unshare(table: str) -> None:
    for statement in (
        f"revoke {GRANTS[table]} on fanfold.{table} from fanfold_operator",
        f"drop policy sharing on fanfold.{table}",
        f"drop policy shared on fanfold.{table}",
    ):
        op.execute(statement)


def _remove_shared() -> None:
    # Under FORCE row-level security a change of the tables' owner finds no row. It is lifted within the transaction.
    for table in TABLES:
        op.execute(f"alter table fanfold.{table} no force row level security")
    for table in reversed(TABLES):
        op.execute(f"delete from fanfold.{table} where tenant_id = {NIL}")
    for table in TABLES:
        op.execute(f"alter table fanfold.{table} force row level security")


def upgrade() -> None:
    _replace_tenant_key()
    for table in TABLES:
        _share(table)


def downgrade() -> None:
    for table in TABLES:
        _unshare(table)
    op.execute("drop policy operator on fanfold.upstreams")
    op.execute(
        "create policy operator on fanfold.upstreams to fanfold_operator using (true) with check (true)"
    )
    _remove_shared()
    op.drop_column("upstreams", "owner_id", schema="fanfold")
    op.create_foreign_key(
        "upstreams_tenant_id_fkey", "upstreams", "tenants", ["tenant_id"], ["id"],
        source_schema="fanfold", referent_schema="fanfold",
    )  # fmt: skip
