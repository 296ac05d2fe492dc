"""Row-level security, read from the catalogue; and taken away bit by bit, to see that it is missed."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from fanfold.core.migrations import migrate
from tests.adversarial.catalogue import PEOPLE_TABLES, faults
from tests.fixtures.database import TestDatabase, TestServer, connect

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def own_database(test_server: TestServer) -> Iterator[TestDatabase]:
    """A database that may be spoiled."""
    database = test_server.create(template=test_server.ensure_template())
    migrate(database.owner_url, app_url=database.app_url)
    yield database
    test_server.drop(database)


@pytest_asyncio.fixture(loop_scope="module")
async def superuser(own_database: TestDatabase) -> AsyncIterator[Any]:
    connection = await connect(own_database.superuser_url)
    yield connection
    await connection.close()


async def test_nothing_is_missing(superuser, capsys):
    assert await faults(superuser) == []
    tables = await superuser.fetchval(
        "select count(*) from pg_class where relnamespace = 'fanfold'::regnamespace and relrowsecurity"
    )
    assert tables >= 6
    with capsys.disabled():
        print(f"\ncatalogue: {tables} tables and partitions under row-level security, nothing missing")


SABOTAGE = [
    "alter table fanfold.{} disable row level security",
    "alter table fanfold.{} no force row level security",
    "drop policy tenant on fanfold.{}",
    "drop policy system on fanfold.{}",
    "alter policy tenant on fanfold.{} to public",
    "alter policy tenant on fanfold.{} to fanfold_app, fanfold_operator",
    "alter policy tenant on fanfold.{} using (true)",
    "alter policy tenant on fanfold.{} with check (true)",
    "create policy another on fanfold.{} to fanfold_app using (true)",
    "grant truncate on fanfold.{} to fanfold_app",
    "grant select on fanfold.{} to public",
    "alter table fanfold.{} owner to fanfold_app",
    "create view fanfold.seen as select * from fanfold.{}",
    "create materialized view fanfold.seen as select * from fanfold.{}",
    "create table fanfold.copied as select * from fanfold.{}",
]


async def _tenant_tables(connection: Any) -> list[str]:
    rows = await connection.fetch(
        "select relname from pg_class where relnamespace = 'fanfold'::regnamespace and relrowsecurity"
        " and not relispartition order by relname"
    )
    return [row["relname"] for row in rows if row["relname"] not in PEOPLE_TABLES]


@pytest.mark.parametrize("sabotage", SABOTAGE)
async def test_what_is_taken_from_one_table_is_missed(superuser, sabotage: str):
    tables = await _tenant_tables(superuser)
    assert {"tenants", "api_keys", "upstreams", "usage_events"} <= set(tables)
    for table in tables:
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute(sabotage.format(table))
        assert await faults(superuser), f"{sabotage.format(table)} was not seen"
        await transaction.rollback()
    assert await faults(superuser) == []


@pytest.mark.parametrize(
    "sabotage",
    [
        "create table fanfold.notes (tenant_id uuid not null, id uuid, primary key (tenant_id, id))",
        "create table fanfold.notes (id uuid primary key)",
        "alter role fanfold_app bypassrls",
        "alter role fanfold_app superuser",
        "alter role fanfold_operator login",
        "grant pg_read_all_data to fanfold_app",
        "grant fanfold_system to fanfold_app",
        "grant fanfold_operator to fanfold_app with inherit true",
        "grant fanfold_system to fanfold_owner with inherit true",
        "grant create on schema fanfold to fanfold_app",
        "grant create on schema public to public",
        "grant usage on schema fanfold to public",
        "grant select on fanfold.operator_keys to fanfold_app",
        "grant select on fanfold.usage_events_default to fanfold_app",
        "grant select (slug) on fanfold.tenants to public",
        "grant select on fanfold.sessions to fanfold_app",
        "grant select (hashed_password) on fanfold.users to fanfold_app",
        "alter policy member on fanfold.users using (true)",
        "alter table fanfold.signing_keys no force row level security",
        "create policy tenant on fanfold.refresh_tokens to fanfold_app using (true)",
        "alter policy shared on fanfold.upstreams using (true)",
        "alter policy shared on fanfold.upstream_prices to public",
        "alter policy sharing on fanfold.upstreams to fanfold_app",
        "alter policy sharing on fanfold.upstreams using (true)",
        "alter policy sharing on fanfold.upstream_prices with check (true)",
        (
            "drop policy shared on fanfold.upstreams;"
            " create policy shared on fanfold.upstreams to fanfold_app"
            " using (tenant_id = '00000000-0000-0000-0000-000000000000'::uuid)"
        ),
        (
            "drop policy operator on fanfold.upstream_prices;"
            " create policy operator on fanfold.upstream_prices to fanfold_operator using (true)"
        ),
        (
            "create policy shared on fanfold.api_keys for select to fanfold_app"
            " using (tenant_id = '00000000-0000-0000-0000-000000000000'::uuid)"
        ),
        "alter table fanfold.usage_events_default no force row level security",
        "create policy p on fanfold.usage_events_default using (true)",
        "alter function fanfold.authenticate owner to fanfold_owner",
        "alter function fanfold.authenticate reset search_path",
        "alter function fanfold.authenticate set search_path = fanfold, pg_catalog",
        "grant execute on function fanfold.authenticate to public",
        "create function fanfold.peek() returns bigint language sql security definer as 'select 1::bigint'",
        "do $$ begin execute format('grant temporary on database %I to fanfold_app', current_database()); end $$",
        "do $$ begin execute format('grant connect on database %I to public', current_database()); end $$",
    ],
)
async def test_every_other_hole_is_seen(superuser, sabotage: str):
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute(sabotage)
    assert await faults(superuser), f"{sabotage} was not seen"
    await transaction.rollback()


async def test_row_level_security_is_what_keeps_tenants_apart(own_database, superuser):
    """Not a filter of ours: with it taken off, the same session sees everybody."""
    await superuser.execute(
        "insert into fanfold.tenants (id, slug, name, plan)"
        " values (gen_random_uuid(), 'one', 'One', 'free'), (gen_random_uuid(), 'two', 'Two', 'free')"
    )
    app = await connect(own_database.app_url)
    try:
        count = "select count(*) from fanfold.tenants"
        assert await app.fetchval(count) == 0
        await superuser.execute("alter table fanfold.tenants disable row level security")
        assert await app.fetchval(count) == 2
        assert await faults(superuser) == ["tenants: row-level security is not enabled and forced"]
        await superuser.execute("alter table fanfold.tenants enable row level security")
        assert await app.fetchval(count) == 0
    finally:
        await app.close()
