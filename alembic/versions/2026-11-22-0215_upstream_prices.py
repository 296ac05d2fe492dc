"""Prices of upstreams, each from a moment on.

Revision ID: 0006
Revises: 0005
"""

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
