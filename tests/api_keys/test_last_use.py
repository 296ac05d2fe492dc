"""When a key was used last. The danger: that requests wait for each other, or for whoever holds the key's row."""

import asyncio
import datetime as dt

from fanfold.api_keys.last_use import MAX_NOTED, LastUse
from fanfold.auth.principal import Principal, PrincipalKind
from fanfold.core.identifiers import uuid7
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import connect

NOW = dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)


class Clock:
    now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


async def own_key(product, tenant) -> Principal:
    authenticator, *_ = product.app.state.authenticators
    principal: Principal | None = await authenticator.authenticate(tenant.key)
    assert principal is not None
    return principal


async def shown(tenant) -> str | None:
    [key] = (await tenant.http.get("/v1/api-keys")).json()["data"]
    last: str | None = key["last_used_at"]
    return last


async def test_it_is_written_at_most_once_a_minute(product):
    tenant, clock = await product.tenant(), Clock()
    principal = await own_key(product, tenant)
    use = LastUse(product.app.state.database, now=clock)
    use.note(principal)
    await use.flush()
    assert (use.written, await shown(tenant)) == (1, "2030-01-31T12:00:00Z")
    clock.now += dt.timedelta(seconds=59)
    use.note(principal)
    await use.flush()
    other_process = LastUse(product.app.state.database, now=clock)
    other_process.note(principal)
    await other_process.flush()
    assert (use.written, other_process.written) == (1, 0)
    clock.now += dt.timedelta(seconds=1)
    use.note(principal)
    await use.flush()
    assert (use.written, await shown(tenant)) == (2, "2030-01-31T12:01:00Z")


async def test_many_keys_are_one_statement_and_others_stay_as_they_are(product):
    tenants = [await product.tenant() for _ in range(3)]
    use = LastUse(product.app.state.database, now=Clock())
    for tenant in tenants[:2]:
        use.note(await own_key(product, tenant))
    await use.flush()
    assert use.written == 2
    assert [await shown(tenant) is None for tenant in tenants] == [False, False, True]


async def test_operators_and_people_are_not_noted(product):
    use = LastUse(product.app.state.database, now=Clock())
    tenant = await product.tenant()
    principal = await own_key(product, tenant)
    for kind in (PrincipalKind.USER, PrincipalKind.CLIENT):
        use.note(Principal(kind=kind, id=principal.id, scopes=principal.scopes, tenant=principal.tenant))
    use.note(
        Principal(kind=PrincipalKind.OPERATOR_KEY, id=principal.id, scopes=principal.scopes, tenant=None)
    )
    await use.flush()
    assert use.written == 0
    assert await shown(tenant) is None


async def test_what_is_noted_is_bounded(product):
    use = LastUse(product.app.state.database, now=Clock())
    principal = await own_key(product, await product.tenant())
    for _ in range(MAX_NOTED + 10):
        use.note(Principal(kind=principal.kind, id=uuid7(), scopes=principal.scopes, tenant=principal.tenant))
    assert len(use._noted) == MAX_NOTED


async def test_nobody_waits_for_a_row_that_is_held_nor_for_each_other(product, database_urls, figures):
    tenant = await product.tenant()
    principal = await own_key(product, tenant)
    holder = await connect(database_urls.superuser_url)
    try:
        async with holder.transaction():
            await holder.fetchrow("select from fanfold.api_keys where id = $1 for update", principal.id)
            uses = [LastUse(product.app.state.database, now=Clock()) for _ in range(4)]
            for use in uses:
                use.note(principal)
            async with asyncio.timeout(20):
                answers, *_ = await asyncio.gather(
                    asyncio.gather(*(tenant.http.get("/v1/usage") for _ in range(50))),
                    *(use.flush() for use in uses),
                )
            waiting = await holder.fetchval(
                "select count(*) from pg_locks where not granted and database ="
                " (select oid from pg_database where datname = current_database())"
            )
        assert {answer.status_code for answer in answers} == {200}
        assert (waiting, [use.written for use in uses]) == (0, [0] * 4)
        figures(
            f"a key's row held: {len(answers)} of {len(answers)} requests answered, {waiting} waiting for a lock"
        )
    finally:
        await holder.close()
    again = LastUse(product.app.state.database, now=Clock())
    again.note(principal)
    await again.flush()
    assert again.written == 1


async def test_a_database_that_is_away_loses_nothing(product):
    class Away:
        def begin(self):
            raise ConnectionError

    tenant = await product.tenant()
    use = LastUse(Away(), now=Clock())  # type: ignore[arg-type]  # a fake
    use.note(await own_key(product, tenant))
    await use.round()
    assert use.failures == 1
    use._database = product.app.state.database
    await use.round()
    assert use.written == 1


async def test_a_server_that_stops_writes_what_it_noted(own_database):
    async with running_product(own_database, product_settings(own_database)) as product:
        tenant = await product.tenant()
        await tenant.http.get("/v1/usage")
        assert await shown(tenant) is None
    connection = await connect(own_database.superuser_url)
    try:
        assert await connection.fetchval("select last_used_at from fanfold.api_keys") is not None
    finally:
        await connection.close()
