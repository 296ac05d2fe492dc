"""People: users, memberships, invitations; their sign-ins, OAuth clients, and the keys that sign tokens.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: None = None
depends_on: None = None

# Global tables are the identity role's alone; of users, a tenant reads its members' names.
GLOBAL_TABLES = ("users", "sessions", "refresh_tokens", "signing_keys")
TENANT_TABLES = ("memberships", "invitations", "oauth_clients")
_MINE = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
_IS_MEMBER = f"exists (select from fanfold.memberships m where m.user_id = users.id and m.{_MINE})"
_IS_PERSON = "exists (select from fanfold.users u where u.id = {}.tenant_id)"
GRANTS = (
    "grant usage on schema fanfold to fanfold_identity",
    "grant select, insert, update on fanfold.users to fanfold_identity, fanfold_operator",
    "grant select (id, email, name, is_active) on fanfold.users to fanfold_app",
    "grant select on fanfold.users, fanfold.sessions, fanfold.memberships, fanfold.oauth_clients to fanfold_system",
    "grant select, insert, update, delete on fanfold.sessions, fanfold.refresh_tokens to fanfold_identity",
    "grant select, insert, update, delete on fanfold.signing_keys to fanfold_identity",
    "grant select, update on fanfold.sessions to fanfold_operator",
    "grant select, insert, update, delete on fanfold.memberships to fanfold_identity, fanfold_operator",
    # A tenant makes nobody its member, or it could read anybody's address: people join, on the identity role.
    "grant select, update (role), delete on fanfold.memberships to fanfold_app",
    "grant select, insert, update, delete on fanfold.invitations to fanfold_identity, fanfold_operator",
    "grant select, insert, update on fanfold.invitations, fanfold.oauth_clients to fanfold_app",
    "grant select, update on fanfold.oauth_clients to fanfold_identity",
    "grant select, delete on fanfold.oauth_clients to fanfold_operator",
    # What a person does before there is a tenant: found one, be told by mail, ask twice without harm.
    "grant select on fanfold.plans to fanfold_identity",
    "grant select, insert on fanfold.tenants to fanfold_identity",
    "grant insert on fanfold.outbox to fanfold_identity",
    "grant select, insert, update on fanfold.idempotency_keys to fanfold_identity",
    "grant select, insert on fanfold.idempotency_answers to fanfold_identity",
    "grant select on fanfold.reservations to fanfold_identity",
)
POLICIES = (
    "create policy identity on fanfold.tenants to fanfold_identity using (true) with check (true)",
    "create policy identity on fanfold.outbox to fanfold_identity with check (true)",
    # A person's keys are kept under the person's id: no tenant's are seen.
    *(
        f"create policy identity on fanfold.{table} to fanfold_identity using ({_IS_PERSON.format(table)})"
        f" with check ({_IS_PERSON.format(table)})"
        for table in ("idempotency_keys", "idempotency_answers")
    ),
    f"create policy member on fanfold.users for select to fanfold_app using ({_IS_MEMBER})",
)


def _column(
    name: str, kind: sa.types.TypeEngine, *, null: bool = False, default: str | None = None
) -> sa.Column:
    return sa.Column(name, kind, nullable=null, server_default=sa.text(default) if default else None)


def _moment(name: str, *, null: bool = True) -> sa.Column:
    return _column(name, sa.DateTime(timezone=True), null=null, default=None if null else "now()")


def _tenant_id() -> sa.Column:
    return sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("fanfold.tenants.id"), primary_key=True)


def _user(name: str, *, null: bool = True, **options: bool) -> sa.Column:
    return sa.Column(name, sa.Uuid(), sa.ForeignKey("fanfold.users.id"), nullable=null, **options)


def _create_people() -> None:
    words = sa.Text()
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("email", words),
        _column("email_key", words),
        _column("name", words, default="''"),
        _column("hashed_password", words),
        _column("is_active", sa.Boolean(), default="true"),
        _column("is_verified", sa.Boolean(), default="false"),
        _column("is_operator", sa.Boolean(), default="false"),
        _column("wanted_tenant", words, null=True),
        _column("totp_wanted_sealed", sa.LargeBinary(), null=True),
        _column("totp_sealed", sa.LargeBinary(), null=True),
        _column("totp_step", sa.BigInteger(), null=True),
        _moment("credentials_changed_at", null=False),
        _moment("created_at", null=False),
        _moment("updated_at", null=False),
        sa.UniqueConstraint("email_key"),
        schema="fanfold",
    )
    op.create_table(
        "memberships",
        _tenant_id(),
        _user("user_id", null=False, primary_key=True),
        _column("role", words),
        _moment("created_at", null=False),
        sa.CheckConstraint("role in ('owner', 'admin', 'developer', 'viewer')", name="role"),
        schema="fanfold",
    )
    op.create_index("memberships_user_id_idx", "memberships", ["user_id"], schema="fanfold")
    op.create_table(
        "invitations",
        _tenant_id(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("email", words),
        _column("email_key", words),
        _column("role", words),
        _user("invited_by"),
        _moment("created_at", null=False),
        _moment("expires_at", null=False),
        _moment("accepted_at"),
        _user("accepted_by"),
        _moment("revoked_at"),
        sa.CheckConstraint("role in ('owner', 'admin', 'developer', 'viewer')", name="role"),
        schema="fanfold",
    )
    op.create_index(
        "invitations_open_idx", "invitations", ["tenant_id", "email_key"], unique=True, schema="fanfold",
        postgresql_where=sa.text("accepted_at is null and revoked_at is null"),
    )  # fmt: skip
    op.create_index("invitations_accepted_by_idx", "invitations", ["accepted_by"], schema="fanfold")


def _create_sign_ins() -> None:
    words, digest = sa.Text(), sa.LargeBinary()
    op.create_table(
        "oauth_clients",
        _tenant_id(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        _column("name", words),
        _column("digest", digest),
        _column("scopes", postgresql.ARRAY(words)),
        _user("created_by"),
        _moment("created_at", null=False),
        _moment("last_used_at"),
        _moment("revoked_at"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("id"),
        schema="fanfold",
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _user("user_id"),
        sa.Column("client_id", sa.Uuid(), sa.ForeignKey("fanfold.oauth_clients.id"), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("fanfold.tenants.id"), nullable=True),
        _column("scopes", postgresql.ARRAY(words), null=True),
        _column("user_agent", words, null=True),
        _moment("created_at", null=False),
        _moment("last_used_at", null=False),
        _moment("expires_at", null=False),
        _moment("revoked_at"),
        sa.CheckConstraint("(user_id is null) <> (client_id is null)", name="holder"),
        schema="fanfold",
    )
    for column in ("user_id", "tenant_id", "expires_at"):
        op.create_index(f"sessions_{column}_idx", "sessions", [column], schema="fanfold")
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", digest, primary_key=True),
        sa.Column(
            "session_id", sa.Uuid(), sa.ForeignKey("fanfold.sessions.id", ondelete="cascade"), nullable=False
        ),
        _moment("created_at", null=False),
        _moment("used_at"),
        schema="fanfold",
    )
    op.create_index("refresh_tokens_session_id_idx", "refresh_tokens", ["session_id"], schema="fanfold")
    # Of each family one token is live, whatever the code above it does.
    op.create_index(
        "refresh_tokens_live_idx", "refresh_tokens", ["session_id"], unique=True, schema="fanfold",
        postgresql_where=sa.text("used_at is null"),
    )  # fmt: skip
    op.create_table(
        "signing_keys",
        sa.Column("kid", words, primary_key=True),
        _column("algorithm", words),
        _column("private_sealed", sa.LargeBinary()),
        _column("public_jwk", postgresql.JSONB(), null=True),
        _moment("created_at", null=False),
        _moment("retired_at"),
        schema="fanfold",
    )


def _protect(table: str) -> None:
    op.execute(f"alter table fanfold.{table} enable row level security, force row level security")
    op.execute(f"create policy system on fanfold.{table} for select to fanfold_system using (true)")
    for role in ("operator", "identity"):
        op.execute(
            f"create policy {role} on fanfold.{table} to fanfold_{role} using (true) with check (true)"
        )


def upgrade() -> None:
    _create_people()
    _create_sign_ins()
    for table in (*GLOBAL_TABLES, *TENANT_TABLES):
        _protect(table)
    for table in TENANT_TABLES:
        op.execute(
            f"create policy tenant on fanfold.{table} to fanfold_app using ({_MINE}) with check ({_MINE})"
        )
    for statement in (*GRANTS, *POLICIES):
        op.execute(statement)


def downgrade() -> None:
    for table in ("outbox", "idempotency_keys", "idempotency_answers", "tenants"):
        op.execute(f"drop policy identity on fanfold.{table}")
        op.execute(f"revoke all on fanfold.{table} from fanfold_identity")
    op.execute("revoke all on fanfold.plans, fanfold.reservations from fanfold_identity")
    for table in ("refresh_tokens", "sessions", "oauth_clients", "invitations"):
        op.drop_table(table, schema="fanfold")
    op.execute("drop policy member on fanfold.users")
    for table in ("memberships", "users", "signing_keys"):
        op.drop_table(table, schema="fanfold")
    op.execute("revoke usage on schema fanfold from fanfold_identity")
