"""The outbox: what is told of a transaction, written in it.

Revision ID: 0005
Revises: 0004
"""

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
