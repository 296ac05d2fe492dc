"""Deleted tenants are erased when their grace is over; whoever is no member any more has no sign-in left.

Revision ID: 0013
Revises: 0012
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
ERASE = "fanfold.tenant_erase(integer)"
ENDED = "fanfold.membership_ended()"
# The system role erases what it could only read before. Nobody can log in as it: its functions are all it does.
CHANGED = ("tenants", "audit_events", "sessions")
EMPTIED = (
    "sessions", "oauth_clients", "api_keys", "upstream_prices", "upstreams", "invitations", "memberships",
)  # fmt: skip
# Whose policy of the system role is for reading alone until now.
READ_ONLY = (
    "tenants", "audit_events", "sessions", "oauth_clients", "upstream_prices", "upstreams", "invitations",
    "memberships",
)  # fmt: skip
# Whatever ends a membership: leaving, being removed, the end of the account.
MEMBERSHIP_ENDED = """
create function fanfold.membership_ended() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
begin
  update fanfold.sessions set revoked_at = now()
   where tenant_id = old.tenant_id and user_id = old.user_id and revoked_at is null;
  return null;
end
$f$
"""


def _hand_over() -> None:
    # Handing functions over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    for function in (ERASE, ENDED):
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"grant execute on function {ERASE} to fanfold_app")
    op.execute("reset role")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("erase_tried_at", sa.DateTime(timezone=True)), schema="fanfold")
    for table in READ_ONLY:
        op.execute(f"drop policy system on fanfold.{table}")
        op.execute(
            f"create policy system on fanfold.{table} to fanfold_system using (true) with check (true)"
        )
    for table in CHANGED:
        op.execute(f"grant select, update on fanfold.{table} to fanfold_system")
    for table in EMPTIED:
        op.execute(f"grant select, delete on fanfold.{table} to fanfold_system")
    op.get_bind().exec_driver_sql((SQL / "tenant_erase_0013.sql").read_text(encoding="utf-8"))
    op.execute(MEMBERSHIP_ENDED)
    # Before the function is another's: only its owner may name it here.
    op.execute(
        "create trigger membership_ended after delete on fanfold.memberships"
        " for each row execute function fanfold.membership_ended()"
    )
    _hand_over()


def downgrade() -> None:
    op.execute("drop trigger membership_ended on fanfold.memberships")
    for function in (ERASE, ENDED):
        op.execute(f"drop function {function}")
    for table in CHANGED:
        op.execute(f"revoke update on fanfold.{table} from fanfold_system")
    for table in EMPTIED:
        op.execute(f"revoke delete on fanfold.{table} from fanfold_system")
    for table in ("upstreams", "upstream_prices", "invitations", "audit_events"):
        op.execute(f"revoke select on fanfold.{table} from fanfold_system")
    for table in READ_ONLY:
        op.execute(f"drop policy system on fanfold.{table}")
        op.execute(f"create policy system on fanfold.{table} for select to fanfold_system using (true)")
    op.drop_column("tenants", "erase_tried_at", schema="fanfold")
