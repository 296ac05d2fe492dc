"""The price in force, between two looks into the database."""

from datetime import UTC, datetime, timedelta

import pytest

from fanfold.core.db import Database
from fanfold.upstreams.directory import HORIZON, UpstreamDirectory


class Clock:
    """A clock that only its owner moves; what is cached stays fresh."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


class Counted(Database):
    """Counts the sessions it opens."""

    opened = 0

    def session(self, tenant_id):
        self.opened += 1
        return super().session(tenant_id)


@pytest.fixture
async def database(database_urls):
    async with Counted(database_urls.app_url) as database:
        yield database


def in_seconds(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def schedule(tenant, upstream, seconds, units):
    body = {"effective_from": in_seconds(seconds), "units_per_call": units}
    answer = await tenant.http.post(f"/v1/upstreams/{upstream['id']}/prices", json=body)
    assert answer.status_code == 201, answer.text


async def test_a_price_holds_from_its_moment_without_another_look(product, database):
    tenant, clock = await product.tenant(), Clock()
    one = await tenant.upstream("https://one.example/", slug="one", units_per_call=1)
    await tenant.upstream("https://two.example/", slug="two", units_per_call=5)
    await schedule(tenant, one, 30, 2)
    await schedule(tenant, one, 40, 3)
    directory = UpstreamDirectory(database, product.app.state.key_ring, ttl_s=3600, clock=clock)
    for seconds, units in ((0, 1), (28, 1), (31, 2), (39, 2), (41, 3), (29, 1)):
        clock.now = 5_000.0 + seconds
        found = await directory.of(tenant.id)
        by_name, by_address = found.find("one"), found.find_url("https://ONE.example")
        assert by_name is not None
        assert by_name == by_address == found.default
        assert (by_name.price.units_per_call, found.enabled[1].price.units_per_call) == (units, 5)
    assert database.opened == 2  # its own, and those that all share


async def test_what_begins_later_than_the_horizon_is_not_loaded(product, database):
    tenant, clock = await product.tenant(), Clock()
    one = await tenant.upstream("https://one.example/", slug="one")
    await schedule(tenant, one, HORIZON.total_seconds() + 30, 2)
    directory = UpstreamDirectory(database, product.app.state.key_ring, ttl_s=3600, clock=clock)
    before = await directory.of(tenant.id)
    assert await directory.of(tenant.id) is before  # nothing is about to change: nothing is made anew
    assert before.default is not None
    assert before.default.price.units_per_call == 1
