"""Prices that were members of an upstream become its first price, and go back."""

from fanfold.core.migrations import downgrade, migrate
from tests.core.asking import execute, rows
from tests.fixtures.database import TestDatabase

UNITS = "units_per_call, units_per_1k_chars, units_per_1k_input_tokens, units_per_1k_output_tokens"
FORCED = """
select count(*) from pg_class
 where relname in ('upstreams', 'upstream_prices') and relkind = 'r' and relforcerowsecurity
"""
TENANTS = """
insert into fanfold.tenants (id, slug, name, plan)
select ('00000000-0000-0000-0000-00000000000' || n)::uuid, 't' || n, 't', 'free' from generate_series(1, 2) n
"""
UPSTREAMS = f"""
insert into fanfold.upstreams (tenant_id, id, slug, kind, url, method, options, headers, auth_header, timeout_s,
       max_attempts, max_concurrency, weight, idempotent, enabled, is_default, created_at, {UNITS})
select id, id, 'u', 'echo', 'https://a.example', 'POST', '{{}}', '{{}}', 'X', 1, 1, 1, 1, true, true, true,
       '2026-11-02T03:04:05Z', right(id::text, 1)::integer, 20, 30, 40
  from fanfold.tenants
"""
LATER = f"""
insert into fanfold.upstream_prices (tenant_id, upstream_id, id, effective_from, {UNITS})
select id, id, gen_random_uuid(), moment, units, 0, 0, 0 from fanfold.upstreams
 cross join (values ('2026-11-03T00:00:00Z'::timestamptz, 7), (now() + interval '1 hour', 9)) p (moment, units)
 where slug = 'u' and right(id::text, 1) = '1'
"""


def test_no_price_of_any_tenant_is_lost_up_or_down(fresh_database: TestDatabase) -> None:
    migrate(fresh_database.owner_url)
    downgrade(fresh_database.owner_url, "0005")
    execute(fresh_database.superuser_url, TENANTS, UPSTREAMS)

    migrate(fresh_database.owner_url)

    prices = f"select effective_from::text, {UNITS} from fanfold.upstream_prices order by tenant_id"
    at = "2026-11-02 03:04:05+00"
    assert rows(fresh_database.superuser_url, prices) == [(at, 1, 20, 30, 40), (at, 2, 20, 30, 40)]
    assert rows(fresh_database.superuser_url, FORCED) == [(2,)]
    execute(fresh_database.superuser_url, LATER)

    downgrade(fresh_database.owner_url, "0005")

    members = f"select {UNITS} from fanfold.upstreams order by tenant_id"
    assert rows(fresh_database.superuser_url, members) == [(7, 0, 0, 0), (2, 20, 30, 40)]
    assert rows(fresh_database.superuser_url, FORCED) == [(1,)]
