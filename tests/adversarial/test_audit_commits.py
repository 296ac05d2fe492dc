"""A tenant's own changes and their lines in the audit log commit together: where the commit fails there is neither."""

import asyncio
from typing import Any

from tests.adversarial.rows import tables_of_tenants
from tests.fixtures.app import PASSWORD, Product, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect

# Runs as the last thing of a transaction: both are written by then, and the commit itself is what fails.
_FAILING = """
create function fanfold.refuse() returns trigger language plpgsql as $f$ begin raise 'no commit'; end $f$;
create constraint trigger refuse after insert on fanfold.audit_events deferrable initially deferred
       for each row execute function fanfold.refuse();
"""
_WORKING = "drop trigger refuse on fanfold.audit_events"
_UPSTREAM = {"slug": "one", "kind": "echo", "url": "https://echo.example/"}
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH", "/v1/tenant", {"name": "织云科技 🐟"}),
    ("POST", "/v1/tenant/invitations", {"email": "ada@example.com", "role": "viewer"}),
    ("POST", "/v1/api-keys", {"name": "one"}),
    ("POST", "/v1/clients", {"name": "one", "scopes": ["process"]}),
    ("POST", "/v1/upstreams", _UPSTREAM),
]
# Of a person of no tenant, whose leaving would have lines of its own.
END = ("DELETE", "/v1/me", {"current_password": PASSWORD})


async def _state(connection: Any) -> dict[str, Any]:
    counts = {
        table: await connection.fetchval(f"select count(*) from fanfold.{table}")
        for table in await tables_of_tenants(connection)
    }
    people = await connection.fetch("select name, email, is_active from fanfold.users order by id")
    return counts | {
        "names": await connection.fetch("select name from fanfold.tenants order by id"),
        "people": people,
    }


async def _delivered(connection: Any) -> None:
    """Wait until what was told before is out of the outbox."""
    async with asyncio.timeout(60):
        while await connection.fetchval("select count(*) from fanfold.outbox"):
            await asyncio.sleep(0.05)


async def _change(product: Product, token: str, change: tuple[str, str, dict[str, Any]]) -> int:
    method, path, body = change
    http = product.http(token, raise_app_exceptions=False)
    return (await http.request(method, path, json=body)).status_code


async def test_where_the_commit_fails_there_is_neither_change_nor_line(own_database: TestDatabase):
    async with running_product(own_database, product_settings(own_database)) as product:
        tenant = await product.tenant()
        connection = await connect(own_database.superuser_url)
        owner, nobodys = [(await product.signed_in(each)).tokens["access_token"] for each in (tenant, None)]
        changes = [*((owner, change) for change in CHANGES), (nobodys, END)]
        try:
            await _delivered(connection)
            await connection.execute(_FAILING)
            before = await _state(connection)
            for token, change in changes:
                assert await _change(product, token, change) == 500, change
                assert await _state(connection) == before, change
            await connection.execute(_WORKING)
            for token, change in changes:
                lines = await connection.fetchval("select count(*) from fanfold.audit_events")
                assert await _change(product, token, change) in {200, 201, 204}, change
                assert await connection.fetchval("select count(*) from fanfold.audit_events") > lines, change
        finally:
            await connection.close()
