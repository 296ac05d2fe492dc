"""How tenants and their keys end: deletion with a grace, rotation with a grace, last use; and who a sign-in is now.

Revision ID: 0011
Revises: 0010
"""

from pathlib import Path

import sqlalchemy as sa

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: None = None
depends_on: None = None

SQL = Path(__file__).parents[1] / "sql"
AUTHENTICATE = "fanfold.authenticate(bytea[])"
SESSION = "fanfold.authenticate_session(uuid)"
KEYS_USED = "fanfold.api_keys_used(uuid[], uuid[], timestamptz[])"
# As 0004 left it.
BEFORE = """
create function fanfold.authenticate(p_digests bytea[])
returns table (key_id uuid, tenant_id uuid, tenant_slug text, tenant_status text, scopes text[],
               requests_per_minute integer, burst integer, max_concurrent_requests integer, limits jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $f$
    select k.id, k.tenant_id, t.slug, t.status, k.scopes, k.requests_per_minute, k.burst, k.max_concurrent_requests,
           to_jsonb(p) - 'code' || t.limit_overrides
      from fanfold.api_keys k
      join fanfold.tenants t on t.id = k.tenant_id
      join fanfold.plans p on p.code = t.plan
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    union all
    select k.id, null, null, null, array['operator'], null, null, null, null
      from fanfold.operator_keys k
     where k.digest = any (p_digests) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
$f$
"""


def _give_to_system(function: str) -> None:
    op.execute(f"revoke all on function {function} from public")
    # Handing a function over needs CREATE on the schema for the new owner, at that moment only.
    op.execute("grant create on schema fanfold to fanfold_system")
    op.execute(f"alter function {function} owner to fanfold_system")
    op.execute("revoke create on schema fanfold from fanfold_system")
    op.execute("set local role fanfold_system")
    op.execute(f"grant execute on function {function} to fanfold_app")
    op.execute("reset role")


def _run_file(name: str) -> None:
    # As the driver takes it: SQLAlchemy's text() would look for bind parameters in it.
    op.get_bind().exec_driver_sql((SQL / f"{name}_0011.sql").read_text(encoding="utf-8"))


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.drop_constraint("tenants_status_check", "tenants", schema="fanfold")
    op.create_check_constraint(
        "status", "tenants", "status in ('active', 'suspended', 'deleted')", schema="fanfold"
    )
    for name in ("erase_at", "erased_at"):
        op.add_column("tenants", sa.Column(name, moment), schema="fanfold")
    op.create_index(
        "tenants_erase_at_idx", "tenants", ["erase_at"], schema="fanfold",
        postgresql_where=sa.text("erase_at is not null and erased_at is null"),
    )  # fmt: skip
    op.add_column("api_keys", sa.Column("previous_digest", sa.LargeBinary()), schema="fanfold")
    op.add_column("api_keys", sa.Column("previous_until", moment), schema="fanfold")
    op.add_column("api_keys", sa.Column("last_used_at", moment), schema="fanfold")
    op.add_column("api_keys", sa.Column("created_by", sa.Uuid()), schema="fanfold")
    op.create_index(
        "api_keys_previous_digest_idx", "api_keys", ["previous_digest"], unique=True, schema="fanfold",
        postgresql_where=sa.text("previous_digest is not null"),
    )  # fmt: skip
    op.execute("grant insert, update, delete on fanfold.plans to fanfold_operator")
    op.execute(f"drop function {AUTHENTICATE}")
    # When a key was used last is written by a function of the system role's, for keys of all tenants at once.
    op.execute("drop policy system on fanfold.api_keys")
    op.execute("create policy system on fanfold.api_keys to fanfold_system using (true) with check (true)")
    op.execute("grant update on fanfold.api_keys to fanfold_system")
    functions = {"authenticate": AUTHENTICATE, "authenticate_session": SESSION, "api_keys_used": KEYS_USED}
    for name, function in functions.items():
        _run_file(name)
        _give_to_system(function)
    op.execute("set local role fanfold_system")
    op.execute(f"grant execute on function {SESSION} to fanfold_identity")
    op.execute("reset role")


def downgrade() -> None:
    op.execute("revoke insert, update, delete on fanfold.plans from fanfold_operator")
    op.execute(f"drop function {KEYS_USED}")
    op.execute("revoke update on fanfold.api_keys from fanfold_system")
    op.execute("drop policy system on fanfold.api_keys")
    op.execute("create policy system on fanfold.api_keys for select to fanfold_system using (true)")
    op.execute(f"drop function {SESSION}")
    op.execute(f"drop function {AUTHENTICATE}")
    op.execute(BEFORE)
    _give_to_system(AUTHENTICATE)
    op.drop_index("api_keys_previous_digest_idx", "api_keys", schema="fanfold")
    for name in ("previous_digest", "previous_until", "last_used_at", "created_by"):
        op.drop_column("api_keys", name, schema="fanfold")
    op.drop_index("tenants_erase_at_idx", "tenants", schema="fanfold")
    for name in ("erase_at", "erased_at"):
        op.drop_column("tenants", name, schema="fanfold")
    op.drop_constraint("tenants_status_check", "tenants", schema="fanfold")
    op.create_check_constraint("status", "tenants", "status in ('active', 'suspended')", schema="fanfold")
