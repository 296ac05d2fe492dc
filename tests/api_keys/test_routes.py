"""`/v1/api-keys` over HTTP."""

import datetime as dt
from uuid import uuid4

import pytest

from fanfold.tenants.periods import Period


async def make(tenant, **body):
    answer = await tenant.http.post("/v1/api-keys", json={"name": "ci", **body})
    assert answer.status_code == 201, answer.text
    return answer


class TestCreate:
    async def test_shows_the_key_once(self, product):
        tenant = await product.tenant()
        answer = await make(tenant, scopes=["process", "usage:read"])
        created = answer.json()
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["location"] == f"/v1/api-keys/{created['id']}"
        assert created["key"].startswith(f"ff_live_{created['public_id']}_")
        shown = (await tenant.http.get(f"/v1/api-keys/{created['id']}")).json()
        assert shown == {name: value for name, value in created.items() if name != "key"}

    async def test_the_new_key_works_within_its_scopes_alone(self, product):
        tenant = await product.tenant()
        key = (await make(tenant, scopes=["usage:read"])).json()["key"]
        http = product.http(key)
        assert (await http.get("/v1/usage")).status_code == 200
        refused = await http.post("/v1/process", json={"text": "a"})
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]

    async def test_it_works_as_x_api_key_too(self, product):
        tenant = await product.tenant()
        answer = await product.http().get("/v1/api-keys", headers={"X-API-Key": tenant.key})
        assert answer.status_code == 200

    async def test_scopes_are_never_wider_than_the_maker_s(self, product):
        tenant = await product.tenant(scopes=["keys:write", "process"])
        answer = await tenant.http.post("/v1/api-keys", json={"name": "x", "scopes": ["process", "jobs"]})
        assert (answer.status_code, answer.json()["code"]) == (403, "scope-exceeds-grantor")

    async def test_operator_is_no_scope_of_a_tenant(self, product):
        tenant = await product.tenant()
        answer = await tenant.http.post("/v1/api-keys", json={"name": "x", "scopes": ["operator"]})
        assert answer.status_code == 422

    async def test_the_plan_s_number_of_keys_holds(self, product):
        tenant = await product.tenant(max_api_keys=2)
        first = (await make(tenant)).json()
        refused = await tenant.http.post("/v1/api-keys", json={"name": "x"})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        await tenant.http.delete(f"/v1/api-keys/{first['id']}")
        await make(tenant)

    async def test_an_expiry_must_lie_ahead(self, product):
        tenant = await product.tenant()
        body = {"name": "x", "expires_at": "2020-01-01T00:00:00Z"}
        assert (await tenant.http.post("/v1/api-keys", json=body)).status_code == 422


@pytest.mark.parametrize("limit", ["requests_per_minute", "max_concurrent_requests", "budget_units"])
async def test_a_key_with_a_limit_of_its_own_neither_takes_it_off_nor_makes_keys_without(product, limit):
    tenant = await product.tenant()
    made = (await make(tenant, scopes=["keys:write"], **{limit: 1_000})).json()
    limited = product.http(made["key"])
    path = f"/v1/api-keys/{made['id']}"
    answers = [
        await limited.patch(path, json={limit: None}),
        await limited.patch(path, json={limit: 2_000}),
        await limited.post("/v1/api-keys", json={"name": "free"}),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(403, "scope-exceeds-grantor")] * 3
    assert (await limited.patch(path, json={"name": "renamed"})).status_code == 200
    assert (await tenant.http.patch(path, json={limit: None})).status_code == 200


class TestUpdate:
    async def test_changes_what_is_sent_and_leaves_the_rest(self, product):
        tenant = await product.tenant()
        key_id = (await make(tenant, scopes=["process", "jobs"])).json()["id"]
        answer = await tenant.http.patch(f"/v1/api-keys/{key_id}", json={"requests_per_minute": 30})
        assert answer.status_code == 200
        changed = answer.json()
        assert (changed["requests_per_minute"], changed["burst"]) == (30, 30)
        assert (changed["name"], changed["scopes"]) == ("ci", ["jobs", "process"])
        back = await tenant.http.patch(f"/v1/api-keys/{key_id}", json={"requests_per_minute": None})
        assert (back.json()["requests_per_minute"], back.json()["burst"]) == (None, None)

    async def test_scopes_are_never_wider_than_who_changes_them(self, product):
        tenant = await product.tenant()
        key_id = (await make(tenant)).json()["id"]
        weaker = product.http(await product.key(tenant.id, ["keys:write"]))
        answer = await weaker.patch(f"/v1/api-keys/{key_id}", json={"scopes": ["process"]})
        assert answer.json()["code"] == "scope-exceeds-grantor"

    async def test_a_revoked_key_stays_as_it_is(self, product):
        tenant = await product.tenant()
        key_id = (await make(tenant)).json()["id"]
        await tenant.http.delete(f"/v1/api-keys/{key_id}")
        answer = await tenant.http.patch(f"/v1/api-keys/{key_id}", json={"name": "new"})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


class TestRevoke:
    async def test_twice_is_the_same_as_once_and_it_stays_listed(self, product):
        tenant = await product.tenant()
        key_id = (await make(tenant)).json()["id"]
        for _ in range(2):
            assert (await tenant.http.delete(f"/v1/api-keys/{key_id}")).status_code == 204
        shown = (await tenant.http.get(f"/v1/api-keys/{key_id}")).json()
        assert dt.datetime.fromisoformat(shown["revoked_at"]) <= dt.datetime.now(dt.UTC)

    async def test_an_unknown_key_is_a_404(self, product):
        tenant = await product.tenant()
        assert (await tenant.http.delete(f"/v1/api-keys/{uuid4()}")).status_code == 404


class TestLimits:
    async def test_a_key_of_its_own_limit_has_two_buckets(self, product):
        tenant = await product.tenant()
        key = (await make(tenant, requests_per_minute=60, burst=2)).json()["key"]
        http = product.http(key)
        first = await http.get("/v1/api-keys")
        assert first.headers["ratelimit-policy"] == '"tenant";q=100000;w=6, "key";q=2;w=2'
        assert (await http.get("/v1/api-keys")).status_code == 200
        refused = await http.get("/v1/api-keys")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await tenant.http.get("/v1/api-keys")).status_code == 200

    async def test_a_budget_and_a_number_of_requests_at_once_are_taken_shown_and_taken_away(self, product):
        tenant = await product.tenant()
        made = (await make(tenant, budget_units=10**15, max_concurrent_requests=2**31 - 1)).json()
        assert (made["budget_units"], made["max_concurrent_requests"]) == (10**15, 2**31 - 1)
        path = f"/v1/api-keys/{made['id']}"
        changed = (await tenant.http.patch(path, json={"budget_units": 0})).json()
        assert (changed["budget_units"], changed["max_concurrent_requests"]) == (0, 2**31 - 1)
        body = {"budget_units": None, "max_concurrent_requests": None}
        without = (await tenant.http.patch(path, json=body)).json()
        assert (without["budget_units"], without["max_concurrent_requests"]) == (None, None)
        plain = (await make(tenant)).json()
        assert (plain["budget_units"], plain["max_concurrent_requests"]) == (None, None)

    @pytest.mark.parametrize(
        "limit",
        [
            {"budget_units": -1}, {"budget_units": 10**15 + 1}, {"budget_units": 1.0}, {"budget_units": "1"},
            {"max_concurrent_requests": 0}, {"max_concurrent_requests": 2**31}, {"max_concurrent_requests": True},
        ],
    )  # fmt: skip
    async def test_what_is_no_limit_is_refused(self, product, limit):
        tenant = await product.tenant()
        key_id = (await make(tenant)).json()["id"]
        for method, path in (("POST", "/v1/api-keys"), ("PATCH", f"/v1/api-keys/{key_id}")):
            answer = await tenant.http.request(method, path, json={"name": "x", **limit})
            assert (answer.status_code, answer.json()["code"]) == (422, "validation")


async def test_a_plan_s_period_is_what_a_key_s_principal_carries(product):
    tenant = await product.tenant()
    key = (await make(tenant, max_concurrent_requests=7)).json()["key"]
    authenticator, *_ = product.app.state.authenticators
    principal = await authenticator.authenticate(key)
    assert (principal.tenant.period, principal.max_concurrent_requests) == (Period.MONTH, 7)


async def test_pages_are_newest_first_and_whole(product):
    tenant = await product.tenant(max_api_keys=100)
    made = [(await make(tenant, name=f"k{i}")).json()["id"] for i in range(5)]
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await tenant.http.get("/v1/api-keys", params=params)).json()
        seen += [key["id"] for key in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen[:5] == made[::-1]
    assert len(seen) == len(set(seen)) == 6
