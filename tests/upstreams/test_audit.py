"""Changes of upstreams in the audit log: what was before and after, and never a credential."""

from tests.fixtures.audited import audited

URL = "https://api.example.com/v1"
SECRET = "sk-canary-of-an-upstream"


async def test_each_change_leaves_a_line_and_none_a_credential(product):
    tenant = await product.tenant()
    made = await tenant.upstream(URL, credential=SECRET, headers={"X-Own": f"{SECRET} 2"})
    path = f"/v1/upstreams/{made['id']}"
    http = tenant.http
    assert (await http.patch(path, json={"weight": 3})).status_code == 200
    assert (await http.patch(path, json={"weight": 3})).status_code == 200
    assert (await http.patch(path, json={"credential": f"{SECRET} 3"})).status_code == 200
    assert (await http.patch(path, json={"url": "https://other.example.com"})).status_code == 200
    begins = {"effective_from": "2999-01-01T00:00:00Z", "units_per_call": 9}
    price = (await http.post(f"{path}/prices", json=begins)).json()
    assert (await http.delete(f"{path}/prices/{price['id']}")).status_code == 204
    assert (await http.patch(path, json={"kind": "openai"})).status_code == 422
    assert (await http.delete(path)).status_code == 204
    lines = await audited(product, made["id"])
    assert [line.action.removeprefix("upstream.") for line in lines] == [
        "created", "updated", "updated", "updated", "price_added", "price_withdrawn", "deleted",
    ]  # fmt: skip
    assert (lines[1].before, lines[1].after) == ({"weight": 1}, {"weight": 3})
    assert (lines[2].before, lines[2].after) == ({}, {"credential": "replaced"})
    assert lines[3].after == {
        "url": "https://other.example.com", "has_credential": False, "credential": "erased"
    }  # fmt: skip
    shown = [line.after or line.before or {} for line in lines]
    assert shown[4]["units_per_call"] == shown[5]["units_per_call"] == 9
    assert shown[0]["headers"] == ["X-Own"]
    assert {(line.tenant_id, line.actor_kind) for line in lines} == {(tenant.id, "api_key")}
    assert SECRET not in repr([(line.before, line.after) for line in lines])


async def test_what_is_refused_leaves_none(product):
    tenant, other = await product.tenant(max_upstreams=1), await product.tenant()
    made = await tenant.upstream(URL)
    body = {"slug": made["slug"], "kind": "http_json", "url": URL}
    assert (await tenant.http.post("/v1/upstreams", json=body)).status_code == 409
    assert (await other.http.delete(f"/v1/upstreams/{made['id']}")).status_code == 404
    assert [line.action for line in await audited(product, made["id"])] == ["upstream.created"]
