"""The audit log. The dangers: a change without its line, a line without its change, and lines that somebody alters."""

import datetime as dt
import secrets
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import update

from fanfold.admin.tenant_service import AuditedTenants
from fanfold.audit.types import Actor
from fanfold.core.identifiers import uuid7
from fanfold.users.models import User
from tests.adversarial.routes import Party, Route, routes_of
from tests.fixtures.audited import actions, audited
from tests.fixtures.database import connect
from tests.fixtures.plans import new_plan

# What each route is sent, in this order, so that it changes something; and the action that is then in the log.
Change = tuple[str, str, dict[str, Any] | None, str]
CHANGES: list[Change] = [
    ("POST", "/v1/admin/tenants", {"slug": f"t{secrets.token_hex(6)}", "name": "株式会社 🙂"}, "tenant.created"),
    ("POST", "/v1/admin/jobs/{tenant_id}/{dead_job_id}/requeue", None, "job.requeued"),
    ("PATCH", "/v1/admin/tenants/{tenant_id}", {"plan": "scale"}, "tenant.updated"),
    ("PATCH", "/v1/admin/tenants/{tenant_id}/limits", {"monthly_units": 7}, "tenant.limits_changed"),
    ("POST", "/v1/admin/tenants/{tenant_id}/suspend", None, "tenant.suspended"),
    ("POST", "/v1/admin/tenants/{tenant_id}/resume", None, "tenant.resumed"),
    ("DELETE", "/v1/admin/tenants/{tenant_id}", None, "tenant.deleted"),
    ("POST", "/v1/admin/tenants/{tenant_id}/grants", {"units": 5, "reason": "补偿"}, "grant.created"),
    ("POST", "/v1/admin/outcomes/{tenant_id}/{request_id}/resolve",
     {"resolution": "waived", "reason": "ours"}, "outcome.resolved"),
    ("POST", "/v1/admin/plans", new_plan(), "plan.created"),
    ("PATCH", "/v1/admin/plans/{plan_code}", {"burst": 61_000, "period": "day"}, "plan.updated"),
    ("DELETE", "/v1/admin/plans/{plan_code}", None, "plan.deleted"),
    ("POST", "/v1/admin/upstreams",
     {"slug": f"s{secrets.token_hex(6)}", "kind": "echo", "url": "https://api.example.com"}, "upstream.created"),
    ("POST", "/v1/admin/upstreams/{shared_id}/prices",
     {"units_per_call": 3, "effective_from": "2098-01-01T00:00:00Z"}, "upstream.price_added"),
    ("DELETE", "/v1/admin/upstreams/{shared_id}/prices/{shared_price_id}", None, "upstream.price_withdrawn"),
    ("PATCH", "/v1/admin/upstreams/{shared_id}", {"timeout_s": 7}, "upstream.updated"),
    ("DELETE", "/v1/admin/upstreams/{shared_id}", None, "upstream.deleted"),
    ("DELETE", "/v1/admin/users/{user_id}/totp", None, "user.second_factor_removed"),
    ("PATCH", "/v1/admin/users/{user_id}", {"is_active": False}, "user.deactivated"),
    ("POST", "/v1/admin/users/{user_id}/end-sessions", None, "user.sign_ins_ended"),
]  # fmt: skip


def writing(party_app) -> Iterator[Route]:
    for route in routes_of(party_app):
        tries = route.path.endswith("/test")  # calls an upstream once, and changes nothing
        if route.for_operators and route.method not in {"GET", "HEAD"} and not tries:
            yield route


async def send(
    client: httpx.AsyncClient, method: str, url: str, body: dict[str, Any] | None
) -> httpx.Response:
    return await client.request(method, url) if body is None else await client.request(method, url, json=body)


async def lines_of(operator: httpx.AsyncClient, actor_id: UUID) -> list[dict[str, Any]]:
    answer = await operator.get("/v1/admin/audit", params={"actor_id": str(actor_id), "limit": 200})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def operator_id(product, operator) -> UUID:
    authenticator, *_ = product.app.state.authenticators
    principal = await authenticator.authenticate(operator.headers["Authorization"].removeprefix("Bearer "))
    own: UUID = principal.id
    return own


async def with_second_factor(product, user_id: str) -> None:
    async with product.app.state.database.identity_session() as session, session.begin():
        await session.execute(update(User).where(User.id == UUID(user_id)).values(totp_sealed=b"sealed"))


async def test_every_route_that_writes_leaves_one_line_of_who_what_before_and_after(product, figures):
    party = await Party.invite(product)
    own = await operator_id(product, party.operator)
    await with_second_factor(product, party.ids["user_id"])
    assert {(method, path) for method, path, *_ in CHANGES} == {
        (route.method, route.path) for route in writing(product.app)
    }
    seen = len(await lines_of(party.operator, own))
    for method, path, body, action in CHANGES:
        answer = await send(party.operator, method, path.format(**party.ids), body)
        assert answer.is_success, (path, answer.text)
        lines = await lines_of(party.operator, own)
        assert (len(lines), lines[0]["action"]) == (seen + 1, action), path
        line, seen = lines[0], len(lines)
        assert (line["actor_kind"], line["actor_id"]) == ("operator_key", str(own))
        assert line["request_id"]
        assert line["before"] is not None or line["after"] is not None or action.endswith("removed")
    figures(f"routes of operators that write: {len(CHANGES)}, each with its line in the audit log")


async def test_what_is_refused_or_replayed_leaves_none(product):
    party = await Party.invite(product)
    own = await operator_id(product, party.operator)
    shared = await party.operator.get(f"/v1/admin/upstreams/{party.ids['shared_id']}")
    slug = shared.json()["slug"]
    nobody = {name: str(uuid7()) for name in party.ids} | {"plan_code": f"p{secrets.token_hex(6)}"}
    taken = {
        "/v1/admin/tenants": {"slug": party.tenant.slug},
        "/v1/admin/plans": new_plan(code="pro"),
        "/v1/admin/upstreams": {"slug": slug, "kind": "echo", "url": "https://api.example.com"},
    }
    before = await lines_of(party.operator, own)
    for method, path, body, _ in CHANGES:
        refused = await send(party.operator, method, path.format(**nobody), taken.get(path, body))
        assert refused.status_code in {404, 409}, (path, refused.text)
        unknown = await send(party.operator, method, f"{path.format(**party.ids)}?no-such=1", body)
        assert unknown.status_code == 422
    assert await lines_of(party.operator, own) == before
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    grants = f"/v1/admin/tenants/{party.tenant.id}/grants"
    for _ in range(3):
        await party.operator.post(grants, json={"units": 1, "reason": "once"}, headers=headers)
    assert len(await lines_of(party.operator, own)) == len(before) + 1


async def test_what_changes_nothing_leaves_none(product):
    operator, tenant = await product.operator(), await product.tenant()
    path = f"/v1/admin/tenants/{tenant.id}"
    await operator.post(f"{path}/suspend", params={"reason": "offene Rechnung"})
    await operator.post(f"{path}/suspend")
    await operator.patch(path, json={"plan": "pro"})
    [line] = [event for event in await audited(product, tenant.id) if event.action != "tenant.created"]
    assert (line.action, line.reason) == ("tenant.suspended", "offene Rechnung")
    assert (line.before, line.after) == ({"status": "active"}, {"status": "suspended"})


async def test_a_grant_s_reason_stands_in_its_line(product):
    operator, tenant = await product.operator(), await product.tenant()
    body = {"units": 5, "reason": "补偿 🙂 outage of Friday"}
    made = (await operator.post(f"/v1/admin/tenants/{tenant.id}/grants", json=body)).json()
    [line] = await audited(product, made["id"])
    assert (line.action, line.reason) == ("grant.created", body["reason"])


async def test_without_the_commit_there_is_neither(product):
    tenant, actor = await product.tenant(), Actor(kind="operator_key", id=uuid7())
    before = await actions(product, tenant.id)
    async with product.app.state.database.operator_session() as session:
        await session.begin()
        await AuditedTenants(session, actor).suspend(tenant.id)
        await session.rollback()
    assert await actions(product, tenant.id) == before
    assert (await tenant.http.get("/v1/usage")).status_code == 200


class TestReading:
    async def test_pages_are_newest_first_and_stable_while_lines_come(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        path = f"/v1/admin/tenants/{tenant.id}"
        for name in ("一", "二", "三", "四", "五"):
            await operator.patch(path, json={"name": name})
        seen: list[str] = []
        params = {"object_id": str(tenant.id), "action": "tenant.updated", "limit": "2"}
        while True:
            page = (await operator.get("/v1/admin/audit", params=params)).json()
            seen += [line["after"]["name"] for line in page["data"]]
            await operator.patch(path, json={"name": f"later {len(seen)}"})
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert seen == ["五", "四", "三", "二", "一"]

    async def test_each_filter_filters(self, product):
        operator, tenant, other = await product.operator(), await product.tenant(), await product.tenant()
        own = await operator_id(product, operator)
        for each in (tenant, other):
            await operator.post(f"/v1/admin/tenants/{each.id}/suspend")
            await operator.post(f"/v1/admin/tenants/{each.id}/resume")
        line = (await audited(product, tenant.id))[-1]
        moment = line.at.astimezone(dt.UTC).isoformat()
        mine = {"actor_id": str(own)}
        for more, count in [
            ({"tenant_id": str(tenant.id)}, 2), ({"object_id": str(other.id)}, 2), ({"action": "tenant.resumed"}, 2),
            ({"object_kind": "tenant"}, 4), ({"object_kind": "plan"}, 0), ({"from": moment}, 3), ({"to": moment}, 1),
            ({"tenant_id": str(UUID(int=0))}, 0),
        ]:  # fmt: skip
            answer = await operator.get("/v1/admin/audit", params=mine | more)
            assert len(answer.json()["data"]) == count, more

    async def test_a_tenant_s_key_reads_none(self, product):
        tenant = await product.tenant()
        assert (await tenant.http.get("/v1/admin/audit")).status_code == 403


@pytest.mark.parametrize("role", ["fanfold_app", "fanfold_operator", "fanfold_identity"])
@pytest.mark.parametrize("change", ["update fanfold.audit_events set action = ''", "delete from fanfold.audit_events",
                                    "truncate fanfold.audit_events"])  # fmt: skip
async def test_nobody_who_serves_can_alter_it(database_urls, role, change):
    connection = await connect(database_urls.app_url)
    try:
        await connection.execute(f"set role {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change)
    finally:
        await connection.close()
