"""Limits of a key's own, plan-defined periods, leases of concurrent requests.

Revision ID: 0004
Revises: 0003
"""

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
