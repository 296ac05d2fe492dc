"""What Postgres's own catalogue must say for tenants to be kept apart, and where it does not."""

from collections.abc import Iterator
from typing import Any

# Tables of no tenant. A new one is entered here by hand, or has tenant_id.
SHARED_TABLES = frozenset(
    {
        "plans", "operator_keys", "alembic_version",
        # How far all tenants' usage is rolled up, and which months are gone: counts and times, nothing of a tenant.
        "usage_rolls", "usage_removed_months",
        # Counts under keys of text, written by its own functions alone: the serving role reads nothing.
        "concurrency_leases",
        # Strangers have buckets too, and a process serves all tenants; only their own functions touch these.
        "rate_buckets", "rate_processes",
        # pgqueuer's own: that a tenant has jobs to run, and nothing of what is in them.
        "pgqueuer", "pgqueuer_log", "pgqueuer_schedules", "pgqueuer_statistics",
    }
)  # fmt: skip
# People and their sign-ins: of no tenant, or of several. The identity role has them; the serving role, for its tenant's
# members, some columns of `users` and nothing else.
PEOPLE_TABLES = {
    "users": {("member", "fanfold_app")},
    "sessions": set(),
    "refresh_tokens": set(),
    "signing_keys": set(),
}
_PEOPLE_POLICIES = {
    ("system", "fanfold_system"),
    ("operator", "fanfold_operator"),
    ("identity", "fanfold_identity"),
}
# Rights on single columns; which ones tests/adversarial/test_people_rights.py and tests/jobs/test_resealing.py try.
COLUMN_GRANTS = {
    "jobs": {("fanfold_app", "UPDATE of a column")},
    "job_parts": {("fanfold_app", "UPDATE of a column")},
    "job_results": {("fanfold_app", "UPDATE of a column")},
    "users": {("fanfold_app", "SELECT of a column")},
    "memberships": {("fanfold_app", "UPDATE of a column")},
}
_NAMES = ("SELECT of a column", "email id is_active name")
_IS_MEMBER = (
    "(EXISTS ( SELECT\n   FROM fanfold.memberships m\n  WHERE ((m.user_id = users.id) AND (m.tenant_id = "
    "(NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid))))"
)
# The one table whose rows are the tenants themselves.
TENANT_COLUMNS = {"tenants": "id"}
# What all tenants share: rows of the nil tenant. Every tenant reads them, operators alone write them, and nothing else.
SHARING_TABLES = frozenset({"upstreams", "upstream_prices"})
_SHARED = "(tenant_id = '00000000-0000-0000-0000-000000000000'::uuid)"
_SHARING = {"shared": "fanfold_app", "sharing": "fanfold_operator"}
# Each policy's command, for whom it lets read and what it lets write.
_SHARING_SAY = {
    "shared": ("r", _SHARED, None), "sharing": ("*", _SHARED, _SHARED), "operator": ("r", "true", None),
}  # fmt: skip
# These attach and detach partitions, which only the tables' owner may.
OWNERS_FUNCTIONS = frozenset({"usage_partitions", "usage_retention"})
ROLES = ("fanfold_app", "fanfold_system", "fanfold_operator", "fanfold_identity")

_MINE = "({} = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
_POLICIES = {"tenant": "fanfold_app", "system": "fanfold_system", "operator": "fanfold_operator"}
# Where the identity role reads or writes a tenant's table as well.
IDENTITY_TABLES = frozenset(
    {
        "tenants", "outbox", "idempotency_keys", "idempotency_answers", "audit_events", "memberships", "invitations",
        "oauth_clients",
    }
)  # fmt: skip

_TABLES = """
select c.oid, c.relname as name, c.relkind::text as kind, c.relispartition as is_partition, o.rolname as owner,
       c.relrowsecurity as is_enabled, c.relforcerowsecurity as is_forced,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') as has_tenant_id,
       (select a.attname from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
         where i.indrelid = c.oid and i.indisprimary) as first_of_key
  from pg_class c join pg_roles o on o.oid = c.relowner
 where c.relnamespace = 'fanfold'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
_POLICY = """
select p.polname as name, p.polpermissive as is_permissive, p.polcmd::text as command,
       (select array_agg(r.oid::regrole::text) from pg_roles r where r.oid = any (p.polroles)) as roles,
       0 = any (p.polroles) as is_public,
       pg_get_expr(p.polqual, p.polrelid) as qualifier, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
  from pg_policy p where p.polrelid = $1
"""
_GRANTS = """
select coalesce(g.rolname, 'PUBLIC') as grantee, a.privilege_type as privilege, null as columns
  from pg_class c cross join lateral aclexplode(c.relacl) a left join pg_roles g on g.oid = a.grantee
 where c.oid = $1 and a.grantee <> c.relowner
union all
select coalesce(g.rolname, 'PUBLIC'), a.privilege_type || ' of a column', string_agg(t.attname, ' ' order by t.attname)
  from pg_attribute t cross join lateral aclexplode(t.attacl) a left join pg_roles g on g.oid = a.grantee
 where t.attrelid = $1 group by 1, 2
"""
_FUNCTIONS = """
select p.proname as name, o.rolname as owner, p.prosecdef as is_definer, coalesce(p.proconfig, '{}') as settings,
       exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                where a.grantee = 0) as is_public
  from pg_proc p join pg_roles o on o.oid = p.proowner where p.pronamespace = 'fanfold'::regnamespace
"""
_ROLES = """
select rolname as name, rolcanlogin as logs_in, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb
       or rolreplication as is_strong from pg_roles where rolname = any ($1)
"""
_MEMBERS = """
select r.rolname as role, m.rolname as member, a.inherit_option as inherits, a.admin_option as administers,
       m.rolsuper as is_superuser
  from pg_auth_members a join pg_roles r on r.oid = a.roleid join pg_roles m on m.oid = a.member
 where r.rolname = any ($1) or m.rolname = any ($1)
"""
_PLACES = """
select 'schema ' || n.nspname as place, coalesce(g.rolname, 'PUBLIC') as grantee, a.privilege_type as privilege
  from pg_namespace n cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
  left join pg_roles g on g.oid = a.grantee
 where n.nspname in ('fanfold', 'public')
union all
select 'database', coalesce(g.rolname, 'PUBLIC'), a.privilege_type
  from pg_database d cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
  left join pg_roles g on g.oid = a.grantee
 where d.datname = current_database()
"""


# What the serving role may become, for a transaction.
_MAY_BE_SET = {("fanfold_operator", "fanfold_app"), ("fanfold_identity", "fanfold_app")}


async def faults(connection: Any) -> list[str]:
    """Return everything that would let a tenant see, or the serving role be, more than it may."""
    found = []
    tables = await connection.fetch(_TABLES)
    for table in tables:
        policies = await connection.fetch(_POLICY, table["oid"])
        grants = await connection.fetch(_GRANTS, table["oid"])
        found += [f"{table['name']}: {fault}" for fault in _of_table(table, policies, grants)]
    for function in await connection.fetch(_FUNCTIONS):
        found += [f"{function['name']}(): {fault}" for fault in _of_function(function)]
    found += _of_roles(await connection.fetch(_ROLES, ROLES), await connection.fetch(_MEMBERS, ROLES))
    found += _of_places(await connection.fetch(_PLACES))
    return found


def _of_table(table: Any, policies: list[Any], grants: list[Any]) -> Iterator[str]:
    if table["kind"] not in {"r", "p"}:
        yield "is a view or a foreign table, which row-level security does not bind"
        return
    if table["owner"] in ROLES:
        yield f"belongs to {table['owner']}"
    yield from _of_grants(table, {(grant["grantee"], grant["privilege"]) for grant in grants})
    if table["name"] in PEOPLE_TABLES:
        yield from _of_people_table(table, policies, grants)
    elif table["has_tenant_id"] or table["name"] in TENANT_COLUMNS:
        yield from _of_tenant_table(table, policies)
    elif table["name"] not in SHARED_TABLES:
        yield "has no tenant_id and is on no list"


def _of_people_table(table: Any, policies: list[Any], grants: list[Any]) -> Iterator[str]:
    if not (table["is_enabled"] and table["is_forced"]):
        yield "row-level security is not enabled and forced"
    found = {(policy["name"], *policy["roles"]) for policy in policies}
    if found != _PEOPLE_POLICIES | PEOPLE_TABLES[table["name"]]:
        yield f"policies {sorted(found)}"
    for policy in policies:
        if policy["name"] == "member" and (policy["command"], policy["qualifier"]) != ("r", _IS_MEMBER):
            yield f"policy member says {policy['qualifier']}"
    for grant in grants:
        if grant["grantee"] == "fanfold_app" and (grant["privilege"], grant["columns"]) != _NAMES:
            yield f"fanfold_app has {grant['privilege']} {grant['columns']}"


def _of_tenant_table(table: Any, policies: list[Any]) -> Iterator[str]:
    column = TENANT_COLUMNS.get(table["name"], "tenant_id")
    if not (table["is_enabled"] and table["is_forced"]):
        yield "row-level security is not enabled and forced"
    if table["is_partition"]:
        yield from ("a partition has a policy of its own" for _ in policies)
        return
    if table["first_of_key"] != column:
        yield f"{column} is not the first of the primary key"
    wanted = {**_POLICIES, "identity": "fanfold_identity"} if table["name"] in IDENTITY_TABLES else _POLICIES
    if table["name"] in SHARING_TABLES:
        wanted = wanted | _SHARING
        yield from _of_sharing(policies)
    yield from _of_policies(policies, wanted, _MINE.format(column))


def _of_sharing(policies: list[Any]) -> Iterator[str]:
    for policy in policies:
        said = (policy["command"], policy["qualifier"], policy["with_check"])
        if said != _SHARING_SAY.get(policy["name"], said):
            yield f"policy {policy['name']} says {said}"


def _of_grants(table: Any, grants: set[tuple[str, str]]) -> Iterator[str]:
    for grantee, privilege in grants - COLUMN_GRANTS.get(table["name"], set()):
        if grantee not in ROLES or privilege not in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            yield f"{grantee} has {privilege}"
        elif table["is_partition"]:
            yield f"{grantee} has {privilege} on a partition"
        elif (table["name"], grantee) == ("operator_keys", "fanfold_app"):
            yield "the serving role has operators' keys"


def _of_policies(policies: list[Any], wanted: dict[str, str], mine: str) -> Iterator[str]:
    if sorted(policy["name"] for policy in policies) != sorted(wanted):
        yield f"policies {sorted(policy['name'] for policy in policies)}"
        return
    for policy in policies:
        name = policy["name"]
        if policy["is_public"] or policy["roles"] != [wanted[name]] or not policy["is_permissive"]:
            yield f"policy {name} is not for {wanted[name]} alone"
        if name == "tenant" and (policy["qualifier"], policy["with_check"], policy["command"]) != (
            mine,
            mine,
            "*",
        ):
            yield f"policy tenant says {policy['qualifier']} with check {policy['with_check']}"


def _of_function(function: Any) -> Iterator[str]:
    if function["is_public"]:
        yield "PUBLIC may execute it"
    if not function["is_definer"]:
        return
    if function["owner"] != "fanfold_system" and function["name"] not in OWNERS_FUNCTIONS:
        yield f"a definer function of {function['owner']}"
    if "search_path=pg_catalog, pg_temp" not in function["settings"]:
        yield "its search_path is not pinned"


def _of_roles(roles: list[Any], members: list[Any]) -> Iterator[str]:
    if len(roles) != len(ROLES):
        yield "a role is missing"
    for role in roles:
        if role["is_strong"]:
            yield f"{role['name']} stands above row-level security, or may make roles"
        if role["logs_in"] and role["name"] != "fanfold_app":
            yield f"{role['name']} may log in"
    for member in members:
        pair = (member["role"], member["member"])
        if member["member"] in ROLES and pair not in _MAY_BE_SET:
            yield f"{pair[1]} is a member of {pair[0]}"
        if (
            member["inherits"]
            and not member["is_superuser"]
            and pair[0] in ROLES
            and pair[0] != "fanfold_app"
        ):
            yield f"{pair[1]} inherits {pair[0]}"


def _of_places(places: list[Any]) -> Iterator[str]:
    allowed = {("schema fanfold", "USAGE"), ("schema public", "USAGE"), ("database", "CONNECT")}
    for place in places:
        if place["grantee"] in (*ROLES, "PUBLIC") and (place["place"], place["privilege"]) not in allowed:
            yield f"{place['place']}: {place['grantee']} has {place['privilege']}"
        if place["grantee"] == "PUBLIC" and place["place"] != "schema public":
            yield f"{place['place']}: PUBLIC has {place['privilege']}"
