"""`/v1/upstreams` over HTTP."""

import asyncio

import pytest
from sqlalchemy import text

URL = "https://api.example.com/v1"


async def create(tenant, **body):
    return await tenant.http.post(
        "/v1/upstreams", json={"slug": "a", "kind": "http_json", "url": URL, **body}
    )


class TestCreate:
    async def test_answers_with_the_contract_s_defaults(self, product):
        tenant = await product.tenant()
        answer = await create(tenant)
        assert answer.status_code == 201
        created = answer.json()
        assert answer.headers["location"] == f"/v1/upstreams/{created['id']}"
        assert {name: created[name] for name in created if name not in ("id", "created_at", "updated_at")} == {
            "slug": "a", "kind": "http_json", "shared": False, "url": URL, "method": "POST", "model": None,
            "options": {}, "headers": {}, "auth": {"header": "Authorization", "scheme": "Bearer"},
            "has_credential": False, "request_template": None, "response_path": None, "timeout_s": 10.0,
            "max_attempts": 3, "max_concurrency": 64, "weight": 1, "idempotent": False, "units_per_call": 1,
            "units_per_1k_chars": 0, "units_per_1k_input_tokens": 0, "units_per_1k_output_tokens": 0,
            "enabled": True, "is_default": True,
            "circuit": {"state": "closed", "opened_at": None, "retry_at": None, "processes": 0},
        }  # fmt: skip
        assert (await tenant.http.get(f"/v1/upstreams/{created['id']}")).json() == created

    @pytest.mark.parametrize(
        ("body", "timeout_s", "idempotent"),
        [
            ({"kind": "openai", "model": "m"}, 60.0, True),
            ({"kind": "openai", "model": "m", "timeout_s": 5.0, "idempotent": False}, 5.0, False),
            ({"kind": "anthropic", "model": "m"}, 60.0, True),
            ({"kind": "ollama", "model": "m"}, 60.0, True),
            ({"kind": "echo"}, 10.0, False),
            ({"method": "GET"}, 10.0, True),
        ],
    )
    async def test_defaults_follow_the_kind(self, product, body, timeout_s, idempotent):
        tenant = await product.tenant()
        created = (await create(tenant, **body)).json()
        assert (created["timeout_s"], created["idempotent"]) == (timeout_s, idempotent)

    @pytest.mark.parametrize(
        ("kind", "auth", "shown"),
        [
            ("openai", None, {"header": "Authorization", "scheme": "Bearer"}),
            ("anthropic", None, {"header": "x-api-key", "scheme": None}),
            ("anthropic", {"header": "Authorization"}, {"header": "Authorization", "scheme": "Bearer"}),
            ("ollama", {"header": "X-Key", "scheme": None}, {"header": "X-Key", "scheme": None}),
        ],
    )
    async def test_where_the_credential_goes_follows_the_kind_unless_told(self, product, kind, auth, shown):
        tenant = await product.tenant()
        body = {"kind": kind, "model": "m", "credential": "sk-1"} | ({"auth": auth} if auth else {})
        answer = await create(tenant, **body)
        assert (answer.status_code, answer.json()["auth"]) == (201, shown)

    @pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
    async def test_an_ai_kind_needs_its_model_and_a_bound_for_a_price_on_output(self, product, kind):
        tenant = await product.tenant()
        answer = await create(tenant, kind=kind)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "kind"])
        assert "needs a model" in answer.json()["detail"]
        priced = {"kind": kind, "model": "m", "units_per_1k_output_tokens": 1}
        assert "options.max_tokens" in (await create(tenant, **priced)).json()["detail"]
        assert (await create(tenant, **priced, options={"max_tokens": 9})).status_code == 201

    async def test_the_first_is_the_default_and_there_is_one_at_most(self, product):
        tenant = await product.tenant()
        first = (await create(tenant)).json()
        second = (await create(tenant, slug="b")).json()
        assert (first["is_default"], second["is_default"]) == (True, False)
        third = (await create(tenant, slug="c", is_default=True)).json()
        listed = (await tenant.http.get("/v1/upstreams")).json()["data"]
        assert [u["slug"] for u in listed if u["is_default"]] == [third["slug"]] == ["c"]

    async def test_the_plan_s_number_and_a_taken_slug_are_conflicts(self, product):
        tenant = await product.tenant(max_upstreams=2)
        await create(tenant)
        assert (await create(tenant)).json()["code"] == "conflict"
        assert (await create(tenant, slug="b")).status_code == 201
        assert (await create(tenant, slug="c")).status_code == 409

    @pytest.mark.parametrize(
        "body",
        [
            {"kind": "anthropic"},
            {"kind": "openai"},
            {"url": "http://api.example.com.evil@10.0.0.1/"},
            {"url": "http://10.0.0.1/"},
            {"url": "https://169.254.169.254/latest"},
            {"url": "https://[::ffff:10.0.0.1]/"},
            {"url": "ftp://example.com"},
            {"response_path": "a["},
            {"headers": {"Host": "evil"}},
            {"headers": {"X-A": "a\r\nX-B: b"}},
            {"headers": {"Transfer-Encoding": "chunked"}},
            {"auth": {"header": "Content-Length"}},
            {"credential": "line\nbreak"},
            {"headers": {"authorization": "x"}, "credential": "y"},
            {"slug": "Not A Slug"},
            {"timeout_s": 301},
            {"max_concurrency": 0},
            {"units_per_call": -1},
            {"kind": "openai", "model": "m", "units_per_1k_output_tokens": 1},
            {"request_template": {"text": "{chunk}", "n": 1e20}},
            {"request_template": {"text": "{chunk}", "n": [-1e19]}},
            {"kind": "openai", "model": "m", "options": {"a": {"b": 1e308}}},
        ],
    )
    async def test_refuses_what_could_not_be_called_safely(self, product, body):
        tenant = await product.tenant()
        answer = await create(tenant, **body)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation")

    async def test_takes_numbers_that_come_back_as_they_are(self, product):
        tenant = await product.tenant()
        template = {"text": "{chunk}", "n": [1e18, -9e18, 1.8e19, 2**64 - 1, -(2**63), 0.5, 1e-300]}
        await tenant.upstream(product.zoo.url("ok"), request_template=template)
        assert (await tenant.process("文"))["results"][0]["success"] is True


class TestCredential:
    async def test_is_sent_to_the_upstream_and_shown_to_nobody(self, product):
        tenant = await product.tenant()
        created = await tenant.upstream(
            product.zoo.url("headers"), credential="sk-very-secret", auth={"header": "X-Key", "scheme": None}
        )
        assert created["has_credential"]
        assert "sk-very-secret" not in (await tenant.http.get("/v1/upstreams")).text
        answer = await tenant.process("text")
        assert answer["results"][0]["result"]["headers"]["x-key"] == "sk-very-secret"
        async with product.app.state.database.session(tenant.id) as session:
            sealed = await session.scalar(text("select credential_sealed from fanfold.upstreams"))
        assert b"sk-very-secret" not in sealed

    async def test_another_origin_erases_it_unless_a_new_one_comes_along(self, product):
        tenant = await product.tenant()
        created = (await create(tenant, credential="first")).json()
        path = f"/v1/upstreams/{created['id']}"
        same = await tenant.http.patch(path, json={"url": "https://API.example.com:443/other"})
        assert same.json()["has_credential"]
        both = await tenant.http.patch(path, json={"url": "https://b.example.com/", "credential": "second"})
        assert both.json()["has_credential"]
        erased = await tenant.http.patch(path, json={"url": "https://c.example.com/"})
        assert not erased.json()["has_credential"]

    async def test_null_takes_it_away(self, product):
        tenant = await product.tenant()
        created = (await create(tenant, credential="first")).json()
        answer = await tenant.http.patch(f"/v1/upstreams/{created['id']}", json={"credential": None})
        assert not answer.json()["has_credential"]


class TestUpdateAndDelete:
    async def test_changes_hold_within_two_seconds(self, product):
        tenant = await product.tenant()
        created = await tenant.upstream(product.zoo.url("ok"), slug="a")
        assert (await tenant.process("x"))["usage"]["units"] == 1
        path = f"/v1/upstreams/{created['id']}"
        await tenant.http.patch(path, json={"units_per_call": 5})
        await asyncio.sleep(1.1)
        assert (await tenant.process("x"))["usage"]["units"] == 5
        await tenant.http.delete(path)
        await asyncio.sleep(1.1)
        refused = await tenant.http.post("/v1/process", json={"text": "x"})
        assert refused.json()["code"] == "unknown-upstream"
        assert (await tenant.http.get(path)).status_code == 404

    async def test_part_of_auth_replaces_all_of_it(self, product):
        tenant = await product.tenant()
        created = (await create(tenant, auth={"header": "X-Key", "scheme": None})).json()
        answer = await tenant.http.patch(
            f"/v1/upstreams/{created['id']}", json={"auth": {"header": "X-Other"}}
        )
        assert answer.json()["auth"] == {"header": "X-Other", "scheme": "Bearer"}

    async def test_the_credential_s_header_is_not_given_twice_whatever_was_there_before(self, product):
        tenant = await product.tenant()
        created = (await create(tenant, auth={"header": "X-Key", "scheme": None}, credential="c")).json()
        path = f"/v1/upstreams/{created['id']}"
        assert (await tenant.http.patch(path, json={"headers": {"Authorization": "x"}})).status_code == 200
        assert (await tenant.http.patch(path, json={"headers": {"x-key": "x"}})).status_code == 422

    async def test_the_kind_stays(self, product):
        tenant = await product.tenant()
        created = (await create(tenant)).json()
        answer = await tenant.http.patch(f"/v1/upstreams/{created['id']}", json={"kind": "echo"})
        assert answer.status_code == 422
