"""Idempotency keys and the answers they replay.

Revision ID: 0007
Revises: 0006
"""

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
