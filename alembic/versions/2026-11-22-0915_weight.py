"""A plan's weight: its tenants' share of the slots that tenants use together.

Revision ID: 0015
Revises: 0013
"""

import sqlalchemy as sa

from alembic import op

revision: str = "0015"
down_revision: str | None = "0013"
branch_labels: None = None
depends_on: None = None

# Plans of one's own have the smallest; an operator may give them more.
WEIGHTS = {"pro": 4, "scale": 16}


def upgrade() -> None:
    op.add_column(
        "plans", sa.Column("weight", sa.Integer(), nullable=False, server_default="1"), schema="fanfold"
    )
    op.create_check_constraint("weight", "plans", "weight between 1 and 1000", schema="fanfold")
    plans = sa.table("plans", sa.column("code"), sa.column("weight"), schema="fanfold")
    for code, weight in WEIGHTS.items():
        op.execute(plans.update().where(plans.c.code == code).values(weight=weight))


def downgrade() -> None:
    op.drop_column("plans", "weight", schema="fanfold")
