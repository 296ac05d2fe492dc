"""The price in force, between two looks into the database."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.db import Database
from fanfold.resources import load_where_billed
from fanfold.upstreams.directory import HORIZON, UpstreamDirectory
from tests.fixtures.database import connect


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
    await schedule(tenant, one, 50, 3)
    directory = UpstreamDirectory(database, product.app.state.key_ring, ttl_s=3600, clock=clock)
    for seconds, units in ((0, 1), (20, 1), (31, 2), (40, 2), (51, 3), (21, 1)):
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


class TestCredentialsThatDoNotOpen:
    @pytest.fixture
    async def locked(self, product):
        """A tenant's upstreams as a process sees them that lacks their key, and one of another key beside them."""
        tenant = await product.tenant()
        closed = await tenant.upstream("https://closed.example/", slug="closed", credential="c")
        await tenant.upstream("https://open.example/", slug="open")
        other = KeyRing([SecretStr("another-secret-of-the-tests-long-enough")])
        return tenant, closed, UpstreamDirectory(product.app.state.database, other, ttl_s=0.0)

    async def test_they_are_there_and_the_others_are_asked(self, locked):
        tenant, closed, directory = locked
        found = await directory.of(tenant.id)
        for ask in (lambda: found.find("closed"), lambda: found.find_url(closed["url"]), found.find_default):
            with pytest.raises(SealBroken):
                ask()
        assert (found.find("none"), found.find_url("https://none.example/")) == (None, None)
        assert found.find("open") == found.find_url("https://open.example/")

    async def test_one_that_is_disabled_is_none(self, locked):
        tenant, closed, directory = locked
        await tenant.http.patch(f"/v1/upstreams/{closed['id']}", json={"enabled": False})
        found = await directory.of(tenant.id)
        assert (found.find("closed"), found.find_url(closed["url"]), found.find_default()) == (None,) * 3

    async def test_so_are_shared_ones_unless_the_tenant_has_its_own(self, product, locked):
        _, _, directory = locked
        shared = await product.shared_upstream(
            "https://all.example/", slug="all", credential="c", is_default=True
        )
        other = await product.tenant()
        found = await directory.of(other.id)
        for ask in (lambda: found.find("all"), found.find_default):
            with pytest.raises(SealBroken):
                ask()
        assert found.find_url(shared["url"]) is None
        await other.upstream("https://own.example/", slug="all")
        found = await directory.of(other.id)
        assert found.find("all") == found.find_default()
        assert found.find("all") is not None

    async def test_over_http_it_is_a_503(self, product):
        tenant = await product.tenant()
        made = await tenant.upstream(product.zoo.url("ok"), credential="c")
        superuser = await connect(product.database.superuser_url)
        lost = "update fanfold.upstreams set credential_sealed = '\\x00' || credential_sealed where id = $1"
        await superuser.execute(lost, made["id"])
        await superuser.close()
        product.app.state.upstream_directory.forget(tenant.id)
        for named in ({}, {"upstreams": [made["slug"]]}, {"api_urls": [made["url"]]}):
            for path in ("/v1/process", "/v1/process/quote"):
                answer = await tenant.http.post(path, json={"text": "文", **named})
                assert (answer.status_code, answer.json()["code"]) == (503, "not-ready"), answer.text


@pytest.mark.parametrize("price", ["units_per_1k_input_tokens", "units_per_1k_output_tokens"])
async def test_the_vocabulary_is_loaded_where_anybody_bills_tokens(product, database, database_urls, price):
    superuser = await connect(database_urls.superuser_url)
    try:
        await superuser.execute(
            "UPDATE fanfold.upstream_prices SET units_per_1k_input_tokens = 0, units_per_1k_output_tokens = 0"
        )
    finally:
        await superuser.close()
    tenant = await product.tenant()
    await tenant.upstream("https://one.example/", slug="one", units_per_call=1)
    loaded: list[bool] = []
    await load_where_billed(database, lambda: loaded.append(True))
    assert loaded == []
    await tenant.upstream("https://two.example/", slug="two", options={"max_tokens": 9}, **{price: 3})
    await load_where_billed(database, lambda: loaded.append(True))
    assert loaded == [True]
