"""Rate-limit buckets that every process shares.

Revision ID: 0003
Revises: 0002
"""

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
