"""Upstreams that all tenants share, over HTTP: who sees what, which one a request means, and what it costs."""

import asyncio
import io
import json
import zipfile

import pytest
from sqlalchemy import text

from fanfold.fanout.types import Upstream
from fanfold.upstreams.directory import UpstreamDirectory
from fanfold.upstreams.mapping import HIDDEN
from tests.fixtures.audited import audited, of_tenant
from tests.fixtures.database import connect
from tests.upstreams.test_directory import Clock, Counted, in_seconds

NIL = "00000000-0000-0000-0000-000000000000"
ADMIN = "/v1/admin/upstreams"
SECRET = "sk-canary-of-the-operator"


async def named(directory, tenant, slug) -> Upstream:
    found: Upstream | None = (await directory.of(tenant.id)).find(slug)
    assert found is not None
    return found


async def refused(tenant, **body):
    answer = await tenant.http.post("/v1/process", json={"text": "文 🙂", **body})
    return answer.status_code, answer.json()["code"]


class TestShown:
    async def test_a_tenant_sees_what_it_costs_and_nothing_of_how_it_is_asked(self, product):
        tenant = await product.tenant()
        own = await tenant.upstream("https://own.example/")
        made = await product.shared_upstream(
            "https://secret-place.example/v1", kind="openai", model="m-1", credential=SECRET, units_per_call=7,
            headers={"X-Secret-Place": "a"}, options={"max_tokens": 5, "user": "secret-place"},
            request_template=[{"role": "system", "content": "secret-place"}], auth={"header": "X-Secret-Place-2"},
        )  # fmt: skip
        assert (made["shared"], made["url"], made["has_credential"]) == (
            True,
            "https://secret-place.example/v1",
            True,
        )
        listed = await tenant.http.get("/v1/upstreams")
        (seen,) = [each for each in listed.json()["data"] if each["id"] == made["id"]]
        assert seen == made | dict.fromkeys(HIDDEN)
        assert (seen["shared"], seen["slug"], seen["model"], seen["units_per_call"]) == (
            True,
            made["slug"],
            "m-1",
            7,
        )
        one = await tenant.http.get(f"/v1/upstreams/{made['id']}")
        assert one.json() == seen
        prices = await tenant.http.get(f"/v1/upstreams/{made['id']}/prices")
        assert [price["units_per_call"] for price in prices.json()["data"]] == [7]
        shown = "".join([listed.text, one.text, prices.text]).lower()
        assert "secret-place" not in shown
        assert SECRET not in shown
        own_seen = next(each for each in listed.json()["data"] if each["id"] == own["id"])
        assert own_seen == own
        assert own_seen["shared"] is False
        operators = await (await product.operator()).get(ADMIN)
        assert SECRET not in operators.text
        assert own["id"] not in operators.text

    async def test_pages_hold_both_each_once(self, product):
        tenant = await product.tenant()
        ids = []
        for _ in range(2):
            ids.append((await tenant.upstream("https://own.example/"))["id"])
            ids.append((await product.shared_upstream("https://all.example/"))["id"])
        found, cursor = [], None
        while True:
            params = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
            page = (await tenant.http.get("/v1/upstreams", params=params)).json()
            found += [each["id"] for each in page["data"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert found == ids[::-1]

    async def test_no_tenant_changes_or_tries_one_and_no_operator_a_tenant_s(self, product):
        tenant, operator = await product.tenant(), await product.operator()
        made = await product.shared_upstream(product.zoo.url("ok"))
        begins = {"effective_from": "2999-01-01T00:00:00Z"}
        price = (await operator.post(f"{ADMIN}/{made['id']}/prices", json=begins)).json()
        path = f"/v1/upstreams/{made['id']}"
        for method, url, body in (
            ("PATCH", path, {"enabled": False}),
            ("DELETE", path, None),
            ("POST", f"{path}/test", None),
            ("POST", f"{path}/prices", {"units_per_call": 0}),
            ("DELETE", f"{path}/prices/{price['id']}", None),
        ):
            answer = await tenant.http.request(method, url, json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), (method, url)
            assert "operators change it" in answer.json()["detail"]
        assert product.zoo.requests.total() == 0
        own = await tenant.upstream("https://own.example/")
        for method, url, body in (
            ("GET", "", None), ("PATCH", "", {"enabled": False}), ("DELETE", "", None), ("POST", "/test", None),
            ("GET", "/prices", None), ("POST", "/prices", {"units_per_call": 0}),
        ):  # fmt: skip
            answer = await operator.request(method, f"{ADMIN}/{own['id']}{url}", json=body)
            assert answer.status_code == 404, (method, url)
        assert (await operator.get(f"{ADMIN}/{made['id']}")).json() == made
        assert (await tenant.http.get(f"/v1/upstreams/{own['id']}")).json() == own


class TestRequests:
    async def test_it_is_asked_by_slug_and_billed_at_its_price(self, product):
        tenant = await product.tenant()
        made = await product.shared_upstream(product.zoo.url("headers"), credential=SECRET, units_per_call=3)
        answer = await tenant.process("文 🙂", upstreams=[made["slug"]])
        (result,) = answer["results"]
        assert (result["upstream"], result["units"], answer["usage"]["units"]) == (made["slug"], 3, 3)
        assert result["result"]["headers"]["authorization"] == f"Bearer {SECRET}"
        (event,) = (await tenant.http.get("/v1/usage/events")).json()["data"]
        assert (event["upstream"], event["units"]) == (made["slug"], 3)
        async with product.app.state.database.session(tenant.id) as session:
            assert (
                str(await session.scalar(text("select upstream_id from fanfold.usage_events"))) == made["id"]
            )

    async def test_its_address_names_it_to_nobody(self, product):
        tenant = await product.tenant()
        made = await product.shared_upstream(product.zoo.url("ok"), is_default=True)
        assert await refused(tenant, api_urls=[made["url"]]) == (422, "upstream-not-allowed")
        assert product.zoo.requests.total() == 0

    async def test_the_tenant_s_own_slug_comes_first_enabled_or_not(self, product):
        tenant, other = await product.tenant(), await product.tenant()
        shared = await product.shared_upstream(product.zoo.url("json", value='"shared"'), slug="one")
        own = await tenant.upstream(product.zoo.url("json", value='"own"'), slug="one")
        for asker, result in ((tenant, "own"), (other, "shared")):
            answer = await asker.process("文", upstreams=["one"])
            assert answer["results"][0]["result"] == result
        await tenant.http.patch(f"/v1/upstreams/{own['id']}", json={"enabled": False})
        assert await refused(tenant, upstreams=["one"]) == (422, "unknown-upstream")
        await tenant.http.delete(f"/v1/upstreams/{own['id']}")
        assert (await tenant.process("文", upstreams=["one"]))["results"][0]["result"] == "shared"
        assert shared["is_default"] is False

    async def test_a_shared_default_answers_for_those_who_have_none(self, product):
        tenant, operator = await product.tenant(), await product.operator()
        shared = await product.shared_upstream(product.zoo.url("json", value='"shared"'))
        assert await refused(tenant) == (
            422,
            "unknown-upstream",
        )  # the first one is not the default by itself
        path = f"{ADMIN}/{shared['id']}"
        assert (await operator.patch(path, json={"is_default": True})).json()["is_default"] is True
        assert (await tenant.process("文"))["results"][0]["result"] == "shared"
        own = await tenant.upstream(product.zoo.url("json", value='"own"'))
        assert own["is_default"] is True
        assert (await tenant.process("文"))["results"][0]["result"] == "own"
        await tenant.http.patch(f"/v1/upstreams/{own['id']}", json={"enabled": False})
        assert await refused(tenant) == (422, "unknown-upstream")
        await tenant.http.patch(f"/v1/upstreams/{own['id']}", json={"is_default": False})
        assert (await tenant.process("文"))["results"][0]["result"] == "shared"

    async def test_it_counts_against_no_plan(self, product):
        tenant = await product.tenant(max_upstreams=1)
        for _ in range(2):
            await product.shared_upstream("https://all.example/")
        await tenant.upstream("https://own.example/")
        body = {"slug": "second", "kind": "echo", "url": "https://own.example/"}
        assert (await tenant.http.post("/v1/upstreams", json=body)).status_code == 409

    async def test_a_suspended_tenant_has_no_use_of_it(self, product):
        tenant, operator = await product.tenant(), await product.operator()
        await product.shared_upstream(product.zoo.url("ok"), is_default=True)
        await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")
        await asyncio.sleep(1.1)
        assert await refused(tenant) == (403, "tenant-suspended")

    async def test_what_runs_goes_on_with_one_that_is_disabled_or_deleted(self, product):
        tenant, operator = await product.tenant(), await product.operator()
        for change in (("PATCH", {"enabled": False}), ("DELETE", None)):
            made = await product.shared_upstream(product.zoo.url("held"), units_per_call=2, timeout_s=30)
            before = product.zoo.requests["held"]
            product.zoo.lets_go.clear()
            running = asyncio.create_task(tenant.process("文", upstreams=[made["slug"]]))
            async with asyncio.timeout(30):
                while product.zoo.requests["held"] == before:
                    await asyncio.sleep(0.01)
            changed = await operator.request(change[0], f"{ADMIN}/{made['id']}", json=change[1])
            assert changed.is_success
            assert not running.done()
            assert await refused(tenant, upstreams=[made["slug"]]) == (422, "unknown-upstream")
            product.zoo.lets_go.set()
            answer = await running
            assert (answer["status"], answer["usage"]["units"]) == ("succeeded", 2)
            assert product.zoo.requests["held"] == before + 1


class TestDirectory:
    @pytest.fixture
    async def database(self, database_urls):
        async with Counted(database_urls.app_url) as database:
            yield database

    async def test_they_are_loaded_once_and_not_once_for_each_tenant(self, product, database):
        made = await product.shared_upstream("https://all.example/")
        directory = UpstreamDirectory(database, product.app.state.key_ring, ttl_s=3600)
        for _ in range(3):
            assert (await named(directory, await product.tenant(), made["slug"])).is_shared
        assert database.opened == 4

    async def test_a_change_is_seen_in_every_process_within_two_seconds(self, product, database):
        tenant, operator = await product.tenant(), await product.operator()
        made = await product.shared_upstream("https://all.example/", slug="all")
        own = await tenant.upstream("https://own.example/", slug="own")
        other = UpstreamDirectory(database, product.app.state.key_ring)  # as another process has one
        here = product.app.state.upstream_directory
        for directory in (other, here):
            assert (await named(directory, tenant, "all")).url == made["url"]
        mine = await named(other, tenant, "own")
        assert (str(mine.id), mine.is_shared) == (own["id"], False)
        await operator.patch(f"{ADMIN}/{made['id']}", json={"url": "https://moved.example/"})
        assert (await named(here, tenant, "all")).url == "https://moved.example/"
        await asyncio.sleep(1.1)
        assert (await named(other, tenant, "all")).url == "https://moved.example/"

    async def test_a_price_holds_from_its_moment(self, product, database):
        tenant, operator, clock = await product.tenant(), await product.operator(), Clock()
        made = await product.shared_upstream("https://all.example/", is_default=True)
        body = {"effective_from": in_seconds(40), "units_per_call": 9}
        assert (await operator.post(f"{ADMIN}/{made['id']}/prices", json=body)).status_code == 201
        directory = UpstreamDirectory(database, product.app.state.key_ring, ttl_s=3600, clock=clock)
        for seconds, units in ((0, 1), (41, 9)):
            clock.now = 5_000.0 + seconds
            found = await directory.of(tenant.id)
            assert found.default == await named(directory, tenant, made["slug"])
            assert found.default.price.units_per_call == units


class TestOperators:
    async def test_each_change_is_in_the_audit_log_with_before_and_after(self, product):
        tenant, operator = await product.tenant(), await product.operator()
        made = await product.shared_upstream("https://all.example/", credential=SECRET)
        path = f"{ADMIN}/{made['id']}"
        why = {"reason": "合同 v2"}
        assert (await operator.patch(path, json={"weight": 3}, params=why)).status_code == 200
        begins = {"effective_from": "2999-01-01T00:00:00Z", "units_per_call": 9}
        price = (await operator.post(f"{path}/prices", json=begins, params=why)).json()
        assert (await operator.get(f"{path}/prices")).json()["data"][0] == price
        assert (await operator.delete(f"{path}/prices/{price['id']}", params=why)).status_code == 204
        assert (await operator.delete(path, params=why)).status_code == 204
        assert (await operator.get(path)).status_code == 404
        lines = await audited(product, made["id"])
        assert [line.action.removeprefix("upstream.") for line in lines] == [
            "created", "updated", "price_added", "price_withdrawn", "deleted"
        ]  # fmt: skip
        assert {(str(line.tenant_id), line.actor_kind) for line in lines} == {(NIL, "operator_key")}
        assert [line.reason for line in lines] == [None, *["合同 v2"] * 4]
        assert (lines[1].before, lines[1].after) == ({"weight": 1}, {"weight": 3})
        price_added, deleted = lines[2].after or {}, lines[4].before or {}
        assert (price_added["units_per_call"], deleted["url"]) == (9, "https://all.example/")
        assert SECRET not in repr([(line.before, line.after) for line in lines])
        assert await of_tenant(product, tenant.id, "upstream") == []

    async def test_how_many_there_may_be_has_an_end(self, product):
        made = await product.shared_upstream("https://all.example/")
        superuser = await connect(product.database.superuser_url)
        try:
            await superuser.execute(
                """
                insert into fanfold.upstreams (tenant_id, id, slug, kind, url, method, options, headers, auth_header,
                       timeout_s, max_attempts, max_concurrency, weight, idempotent, enabled, is_default)
                select tenant_id, gen_random_uuid(), slug || n, kind, url, method, options, headers, auth_header,
                       timeout_s, max_attempts, max_concurrency, weight, idempotent, enabled, false
                  from fanfold.upstreams cross join generate_series(1, 499) n where id = $1
                """,
                made["id"],
            )
        finally:
            await superuser.close()
        body = {"slug": "one-more", "kind": "echo", "url": "https://all.example/"}
        answer = await (await product.operator()).post(ADMIN, json=body)
        assert (answer.status_code, "At most 500" in answer.json()["detail"]) == (409, True)


async def test_the_end_of_a_tenant_leaves_them_and_its_export_holds_none(product):
    tenant = await product.tenant()
    made = await product.shared_upstream("https://all.example/", slug="a-shared-one")
    own = await tenant.upstream("https://own.example/")
    with zipfile.ZipFile(io.BytesIO((await tenant.http.get("/v1/tenant/export")).content)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert [json.loads(line)["id"] for line in files["upstreams.ndjson"].splitlines()] == [own["id"]]
    assert [name for name, content in files.items() if made["id"] in content or made["slug"] in content] == []
    superuser = await connect(product.database.superuser_url)
    try:
        await superuser.execute(
            "update fanfold.tenants set status = 'deleted', erase_at = now() - interval '1 hour' where id = $1",
            tenant.id,
        )
        async with asyncio.timeout(60):
            while await superuser.fetchval(
                "select erased_at is null from fanfold.tenants where id = $1", tenant.id
            ):
                async with product.app.state.database.begin() as connection:
                    await connection.execute(text("select fanfold.tenant_erase(1000)"))
        both = [made["id"], own["id"]]
        kept = await superuser.fetch("select id::text from fanfold.upstreams where id = any ($1)", both)
    finally:
        await superuser.close()
    assert [row["id"] for row in kept] == [made["id"]]
    prices = await (await product.operator()).get(f"{ADMIN}/{made['id']}/prices")
    assert len(prices.json()["data"]) == 1
