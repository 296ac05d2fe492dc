"""`/v1/upstreams/{upstream_id}/prices` over HTTP, and prices in the upstream itself."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from fanfold.core.repository import encode_cursor
from fanfold.upstreams.price_service import MAX_UPCOMING
from fanfold.upstreams.repository import PriceRepository

URL = "https://api.example.com/v1"
UNITS = ("units_per_call", "units_per_1k_chars", "units_per_1k_input_tokens", "units_per_1k_output_tokens")


class Prices:
    """One tenant's upstream, and its prices over HTTP."""

    def __init__(self, tenant, upstream) -> None:
        self.tenant, self.http, self.upstream = tenant, tenant.http, upstream
        self.path = f"/v1/upstreams/{upstream['id']}"

    async def list(self, **query):
        answer = await self.http.get(f"{self.path}/prices", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def add(self, *, status=201, **body):
        answer = await self.http.post(f"{self.path}/prices", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def patch(self, *, status=200, **body):
        answer = await self.http.patch(self.path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def withdraw(self, price_id):
        return await self.http.delete(f"{self.path}/prices/{price_id}")


@pytest.fixture
def prices(product):
    async def made(**options):
        tenant = await product.tenant()
        return Prices(tenant, await tenant.upstream(URL, **options))

    return made


def year(number):
    return f"{number}-01-01T00:00:00Z"


def units(price):
    return tuple(price[name] for name in UNITS)


class TestHistory:
    async def test_the_first_price_begins_with_the_upstream(self, prices):
        one = await prices(units_per_call=3, units_per_1k_chars=2)
        listed = await one.list()
        (price,) = listed["data"]
        assert listed["next_cursor"] is None
        assert units(price) == (3, 2, 0, 0) == units(one.upstream)
        assert price["effective_until"] is None
        age = datetime.fromisoformat(price["effective_from"]) - datetime.fromisoformat(
            one.upstream["created_at"]
        )
        assert timedelta(0) <= age < timedelta(seconds=10)

    async def test_a_change_of_units_is_a_new_price_and_the_old_one_ends_where_it_begins(self, prices):
        one = await prices()
        changed = await one.patch(units_per_call=5)
        assert units(changed) == (5, 0, 0, 0)
        assert units((await one.http.get(one.path)).json()) == (5, 0, 0, 0)
        new, old = (await one.list())["data"]
        assert (units(new), units(old)) == ((5, 0, 0, 0), (1, 0, 0, 0))
        assert old["effective_until"] == new["effective_from"]
        assert new["effective_until"] is None

    async def test_a_change_of_anything_else_is_none(self, prices):
        one = await prices(units_per_call=5)
        await one.patch(timeout_s=30, units_per_call=5)
        assert len((await one.list())["data"]) == 1

    async def test_a_list_of_upstreams_has_each_one_s_price_in_force(self, prices):
        one = await prices(slug="one", units_per_call=5)
        await one.http.post("/v1/upstreams", json={"slug": "two", "kind": "http_json", "url": URL})
        await one.patch(units_per_call=6)
        await one.add(effective_from=year(2999), units_per_call=7)
        listed = (await one.http.get("/v1/upstreams")).json()["data"]
        assert {row["slug"]: row["units_per_call"] for row in listed} == {"one": 6, "two": 1}

    async def test_pages_are_whole_and_newest_first(self, prices):
        one = await prices()
        for number in (2999, 2997, 2998):
            await one.add(effective_from=year(number), units_per_call=number)
        whole = (await one.list())["data"]
        assert [price["units_per_call"] for price in whole] == [2999, 2998, 2997, 1]
        assert [price["effective_until"] for price in whole] == [None, year(2999), year(2998), year(2997)]
        paged, cursor = [], None
        while True:
            page = await one.list(limit=1, **({"cursor": cursor} if cursor else {}))
            paged += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert paged == whole

    @pytest.mark.parametrize("cursor", ["x", "=", encode_cursor(UUID(int=2**127))])
    async def test_what_is_no_cursor_is_refused(self, prices, cursor):
        one = await prices()
        answer = await one.http.get(f"{one.path}/prices", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["errors"][0]["type"]) == (422, "cursor")

    async def test_they_go_with_their_upstream(self, prices):
        one = await prices()
        await one.add(effective_from=year(2999))
        assert (await one.http.delete(one.path)).status_code == 204
        assert (await one.http.get(f"{one.path}/prices")).status_code == 404


class TestAdd:
    async def test_units_left_out_keep_the_value_in_force_at_that_time(self, prices):
        one = await prices(units_per_call=1, units_per_1k_chars=2)
        await one.add(effective_from=year(2998), units_per_call=10)
        assert units(await one.add(effective_from=year(2999), units_per_1k_chars=9)) == (10, 9, 0, 0)
        between = await one.add(effective_from=year(2997), units_per_1k_chars=7)
        assert units(between) == (1, 7, 0, 0)
        assert between["effective_until"] == year(2998)
        now = await one.add(units_per_1k_input_tokens=4)
        assert units(now) == (1, 2, 4, 0)
        assert now["effective_until"] == year(2997)
        assert units((await one.http.get(one.path)).json()) == (1, 2, 4, 0)

    async def test_the_same_moment_in_another_zone_is_a_conflict(self, prices):
        one = await prices()
        added = await one.add(effective_from="2999-01-01T08:00:00+08:00")
        assert added["effective_from"] == year(2999)
        assert (await one.add(effective_from=year(2999), status=409))["code"] == "conflict"

    @pytest.mark.parametrize(
        "begins",
        ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00", "2999-01-01", "now", 32503680000,
         "9999-12-31T23:59:59.999999Z", "9999-12-31T22:59:59.999999-01:00"],
    )  # fmt: skip
    async def test_a_moment_that_has_passed_or_is_none_is_refused(self, prices, begins):
        one = await prices()
        refused = await one.add(effective_from=begins, status=422)
        assert refused["errors"][0]["loc"] == ["body", "effective_from"]
        assert len((await one.list())["data"]) == 1

    async def test_the_last_second_of_the_calendar_is_a_moment_as_any_other(self, prices):
        one = await prices()
        added = await one.add(effective_from="9999-12-31T23:59:59Z")
        assert added["effective_from"] == "9999-12-31T23:59:59Z"
        cursor = (await one.list(limit=1))["next_cursor"]
        assert len((await one.list(cursor=cursor))["data"]) == 1
        assert (await one.withdraw(added["id"])).status_code == 204

    async def test_not_more_to_come_than_may_be_kept(self, prices):
        one = await prices()
        for number in range(MAX_UPCOMING):
            await one.add(effective_from=year(2100 + number))
        assert (await one.add(effective_from=year(2999), status=409))["code"] == "conflict"
        assert len((await one.list())["data"]) == 1 + MAX_UPCOMING
        now = await one.add(units_per_call=7)  # it is none to come
        assert now["effective_until"] == year(2100)

    async def test_many_at_once_hold_one_after_the_other_and_none_is_lost(self, prices):
        one = await prices()
        changes = [one.patch(units_per_call=10 + number) for number in range(8)]
        answers = await asyncio.gather(*changes, *(one.add(units_per_1k_chars=number) for number in range(8)))
        listed = (await one.list())["data"]
        assert len(listed) == 1 + 16
        assert units((await one.http.get(one.path)).json()) == units(listed[0])
        assert {answer["units_per_call"] for answer in answers} >= {*range(10, 18)}

    async def test_of_many_at_once_for_one_moment_or_one_last_place_one_is_taken(self, prices):
        one = await prices()
        for number in range(MAX_UPCOMING - 2):
            await one.add(effective_from=year(2100 + number))
        for moments in ([year(2998)] * 6, [year(2900 + number) for number in range(6)]):
            adding = [
                one.http.post(f"{one.path}/prices", json={"effective_from": moment}) for moment in moments
            ]
            answers = await asyncio.gather(*adding)
            assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
        assert len((await one.list())["data"]) == 1 + MAX_UPCOMING

    @pytest.mark.parametrize("scopes", [["process", "usage:read"]])
    async def test_needs_the_scope_of_upstreams(self, product, prices, scopes):
        one = await prices()
        added = await one.add(effective_from=year(2999))
        tenant = await product.tenant(scopes=scopes)
        assert (await tenant.http.post(f"{one.path}/prices", json={})).status_code == 403
        assert (await tenant.http.delete(f"{one.path}/prices/{added['id']}")).status_code == 403


class TestOutputTokens:
    """A price on output needs `options.max_tokens`, now and whenever it begins."""

    async def test_a_price_to_come_needs_the_bound(self, prices):
        one = await prices()
        refused = await one.add(effective_from=year(2999), units_per_1k_output_tokens=1, status=422)
        assert refused["errors"][0]["loc"] == ["body", "options"]
        await one.patch(options={"max_tokens": 5})
        await one.add(effective_from=year(2999), units_per_1k_output_tokens=1)

    async def test_the_bound_cannot_be_taken_away_from_a_price_in_force_or_to_come(self, prices):
        one = await prices(options={"max_tokens": 5})
        later = await one.add(effective_from=year(2999), units_per_1k_output_tokens=1)
        await one.patch(options={}, status=422)
        assert (await one.withdraw(later["id"])).status_code == 204
        await one.patch(options={})
        await one.patch(options={"max_tokens": 5}, units_per_1k_output_tokens=1)
        await one.patch(options={}, status=422)
        await one.patch(options={}, units_per_1k_output_tokens=0)


class TestWithdraw:
    async def test_one_to_come_is_as_if_it_had_never_been(self, prices):
        one = await prices()
        added = await one.add(effective_from=year(2999))
        assert (await one.list())["data"][1]["effective_until"] == year(2999)
        assert (await one.withdraw(added["id"])).status_code == 204
        (only,) = (await one.list())["data"]
        assert only["effective_until"] is None
        assert (await one.withdraw(added["id"])).status_code == 404

    async def test_one_that_has_begun_stays(self, prices):
        one = await prices()
        await one.patch(units_per_call=2)
        for price in (await one.list())["data"]:
            refused = await one.withdraw(price["id"])
            assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert len((await one.list())["data"]) == 2

    async def test_only_by_way_of_its_own_upstream(self, prices):
        one = await prices()
        added = await one.add(effective_from=year(2999))
        other = await one.http.post("/v1/upstreams", json={"slug": "b", "kind": "http_json", "url": URL})
        stranger = await one.http.delete(f"/v1/upstreams/{other.json()['id']}/prices/{added['id']}")
        assert stranger.status_code == 404
        assert len((await one.list())["data"]) == 2


class TestInForce:
    async def test_at_any_moment_the_latest_that_has_begun(self, product, prices):
        one = await prices(units_per_call=1)
        begins = {year(number): number for number in (2100, 2300, 2200)}
        for moment, number in begins.items():
            await one.add(effective_from=moment, units_per_call=number)
        upstream_id = UUID(one.upstream["id"])
        async with product.app.state.database.session(one.tenant.id) as session:
            repository = PriceRepository(session, one.tenant.id)
            now = await repository.now()
            for moment, expected in (
                (now, 1), ("2099-12-31T23:59:59.999999Z", 1), (year(2100), 2100), (year(2101), 2100),
                ("2199-12-31T23:59:59.999999Z", 2100), (year(2200), 2200), (year(9999), 2300),
            ):  # fmt: skip
                at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
                found = await repository.in_force(upstream_id, at)
                assert found is not None
                assert found.units_per_call == expected
            assert await repository.in_force(upstream_id, datetime(2000, 1, 1, tzinfo=UTC)) is None
