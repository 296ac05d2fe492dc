"""`/v1/webhooks` as clients see it, on the whole product."""

import asyncio
import base64
import json
import secrets
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Reference

from fanfold.auth.principal import Role
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.database import connect
from tests.webhooks.receiver import Receiver


@pytest.fixture
async def receiver():
    async with Receiver() as receiver:
        yield receiver


async def tenant_of(product: Product, **limits: Any) -> TenantClient:
    """Make a tenant, and wait until the event of its own key is told to nobody."""
    tenant = await product.tenant(**limits)
    connection = await connect(product.database.superuser_url)
    try:
        async with asyncio.timeout(60):
            while await connection.fetchval(
                "select count(*) from fanfold.outbox where tenant_id = $1", tenant.id
            ):
                product.app.state.relay.nudge()
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
    return tenant


async def registered(tenant: TenantClient, url: str, **members: Any) -> dict[str, Any]:
    answer = await tenant.http.post("/v1/webhooks", json={"url": url, **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def log(tenant: TenantClient, webhook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await tenant.http.get(f"/v1/webhooks/{webhook['id']}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


async def ended(tenant: TenantClient, webhook: dict[str, Any], *, many: int = 1) -> list[dict[str, Any]]:
    """Return the log once so many deliveries have ended."""
    async with asyncio.timeout(60):
        while len(found := [row for row in await log(tenant, webhook) if row["ended_at"]]) < many:
            await asyncio.sleep(0.05)
    return found


async def test_a_secret_is_shown_once_and_nowhere_else(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    answer = await tenant.http.post("/v1/webhooks", json={"url": receiver.url("ok"), "description": "帐单"})
    made = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"/v1/webhooks/{made['id']}"
    prefix, _, rest = made["secret"].partition("_")
    assert (prefix, len(base64.b64decode(rest))) == ("whsec", 32)
    shown = await tenant.http.get(f"/v1/webhooks/{made['id']}")
    expected = {name: value for name, value in made.items() if name != "secret"}
    assert shown.json() == expected
    assert (await tenant.http.get("/v1/webhooks")).json() == {"data": [expected], "next_cursor": None}
    changed = await tenant.http.patch(f"/v1/webhooks/{made['id']}", json={"description": "帐"})
    assert changed.json() == {**expected, "description": "帐", "updated_at": changed.json()["updated_at"]}
    assert rest not in shown.text + changed.text


async def test_a_key_s_life_is_told_over_the_outbox(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    key = (await tenant.http.post("/v1/api-keys", json={"name": "told"})).json()
    await tenant.http.post(f"/v1/api-keys/{key['id']}/rotate", json={"grace_s": 60})
    for _ in range(2):  # twice is the same as once
        assert (await tenant.http.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
    product.app.state.relay.nudge()
    rows = await ended(tenant, webhook, many=3)
    assert sorted(row["type"] for row in rows) == ["api_key.created", "api_key.revoked", "api_key.rotated"]
    for came in receiver.received:
        event = came.verified(webhook["secret"])
        assert event["data"]["api_key_id"] == key["id"]
        assert key["key"] not in came.body.decode()
        assert event["data"]["tenant_id"] == str(tenant.id)
    assert {row["status"] for row in rows} == {"delivered"}


async def test_a_key_that_was_not_made_is_not_told(product: Product, receiver: Receiver):
    tenant = await tenant_of(product, max_api_keys=2)
    webhook = await registered(tenant, receiver.url("ok"))
    assert (await tenant.http.post("/v1/api-keys", json={"name": "one"})).status_code == 201
    assert (await tenant.http.post("/v1/api-keys", json={"name": "two"})).status_code == 409
    product.app.state.relay.nudge()
    assert len(await ended(tenant, webhook)) == 1
    assert len(await log(tenant, webhook)) == 1


async def test_warnings_of_quotas_and_open_circuits_reach_webhooks(product: Product, receiver: Receiver):
    tenant = await tenant_of(product, monthly_units=10)
    webhook = await registered(
        tenant, receiver.url("ok"), events=["quota.warning", "upstream.circuit_opened"]
    )
    upstream = await tenant.upstream(product.zoo.url("ok"))
    told = dict(product.app.state.quota_warnings.told)
    await tenant.process("x" * 4_400)  # nine chunks of ten units
    product.app.state.relay.nudge()
    [row] = await ended(tenant, webhook)
    event = json.loads(row["body"])
    assert (event["type"], event["data"]["level"], event["data"]["holder"]) == ("quota.warning", 80, "tenant")
    assert product.app.state.quota_warnings.told[80] > told[80]
    assert upstream["id"] not in row["body"]


async def test_the_log_shows_request_answer_and_attempts(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("words", code=410))
    await tenant.http.post("/v1/api-keys", json={"name": "told"})
    product.app.state.relay.nudge()
    [row] = await ended(tenant, webhook)
    assert (row["status"], row["status_code"], row["attempts"]) == ("dead", 410, 1)
    assert row["next_attempt_at"] is None
    assert "gone for good" in row["error"]
    assert "出了问题" in row["answer"]
    assert row["body"].encode() == receiver.received[0].body
    assert row["latency_ms"] > 0
    shown = (await tenant.http.get(f"/v1/webhook-deliveries/{row['id']}")).json()
    assert {name: shown[name] for name in row} == row
    [attempt] = shown["tries"]
    assert (attempt["number"], attempt["status_code"], attempt["error"]) == (1, 410, row["error"])
    assert webhook["secret"] not in json.dumps(shown)
    assert await log(tenant, webhook, status="delivered") == []
    assert [each["id"] for each in await log(tenant, webhook, status="dead")] == [row["id"]]


async def test_one_that_was_disabled_is_enabled_and_its_delivery_replayed(
    product: Product, receiver: Receiver
):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("words", code=410))
    await tenant.http.post("/v1/api-keys", json={"name": "told"})
    product.app.state.relay.nudge()
    [row] = await ended(tenant, webhook)
    disabled = (await tenant.http.get(f"/v1/webhooks/{webhook['id']}")).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "gone")
    refused = await tenant.http.post(f"/v1/webhook-deliveries/{row['id']}/replay")
    assert refused.status_code == 409
    enabled = await tenant.http.patch(
        f"/v1/webhooks/{webhook['id']}", json={"enabled": True, "url": receiver.url("ok")}
    )
    assert enabled.json()["disabled_reason"] is None
    assert enabled.json()["failing_since"] is None
    replayed = await tenant.http.post(f"/v1/webhook-deliveries/{row['id']}/replay")
    assert replayed.status_code == 202
    assert (replayed.json()["status"], replayed.json()["next_attempt_at"] is None) == ("pending", False)
    async with asyncio.timeout(60):
        while (await log(tenant, webhook))[0]["status"] != "delivered":
            await asyncio.sleep(0.05)
    assert receiver.times("") == {row["event_id"]: 2}
    operator = await product.operator()
    lines = (await operator.get("/v1/admin/audit", params={"object_id": webhook["id"]})).json()["data"]
    assert (lines[0]["action"], lines[0]["after"]) == (
        "webhook.delivery_replayed",
        {"delivery_id": row["id"]},
    )


async def test_the_log_goes_by_pages(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    for name in ("a", "b", "c"):
        await tenant.http.post("/v1/api-keys", json={"name": name})
    product.app.state.relay.nudge()
    rows = await ended(tenant, webhook, many=3)
    url, cursor, seen = f"/v1/webhooks/{webhook['id']}/deliveries", None, []
    while True:
        asked = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await tenant.http.get(url, params=asked)).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted((row["id"] for row in rows), reverse=True)


async def test_two_secrets_sign_during_a_rotation(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    path = f"/v1/webhooks/{webhook['id']}"
    once = {"Idempotency-Key": secrets.token_hex(8)}
    answers = [await tenant.http.post(f"{path}/rotate-secret", json={}, headers=once) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["cache-control"] == "no-store"
    fresh = answers[0].json()["secret"]
    assert fresh != webhook["secret"]
    tried = (await tenant.http.post(f"{path}/test")).json()
    assert tried["success"]
    came = receiver.received[-1]
    assert came.verified(fresh) == came.verified(webhook["secret"])
    assert came.headers["webhook-signature"].count("v1,") == 2
    assert came.event_id == tried["event_id"]
    at_once = await tenant.http.post(f"{path}/rotate-secret", json={"grace_s": 0})
    assert at_once.json()["previous_until"] is None
    connection = await connect(product.database.superuser_url)
    try:
        former = "select previous_sealed from fanfold.webhooks where tenant_id = $1"
        assert await connection.fetchval(former, tenant.id) is None  # one that leaked is not kept either
    finally:
        await connection.close()
    await tenant.http.post(f"{path}/test")
    last = receiver.received[-1]
    assert last.headers["webhook-signature"].count("v1,") == 1
    assert last.verified(at_once.json()["secret"])["type"] == "webhook.test"
    for former in (fresh, webhook["secret"]):
        with pytest.raises(Exception, match="No matching signature"):
            Reference(former).verify(last.body, dict(last.headers))


async def test_after_its_grace_the_former_secret_signs_no_more(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    path = f"/v1/webhooks/{webhook['id']}"
    await tenant.http.post(f"{path}/rotate-secret", json={"grace_s": 1})
    await asyncio.sleep(1.1)
    await tenant.http.post(f"{path}/test")
    assert receiver.received[-1].headers["webhook-signature"].count("v1,") == 1


WRONG = [
    ("status?code=401", "Check the secret"),
    ("status?code=410", "an event that it answers so disables"),
    ("500", "its own side (500)"),
    ("redirect", "redirects (302)"),
    ("reset", "before it answered"),
    ("noise", "does not speak HTTP"),
]


@pytest.mark.parametrize(("path", "says"), WRONG)
async def test_a_test_event_says_what_is_wrong(product: Product, receiver: Receiver, path: str, says: str):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, f"{receiver.url('')}{path}", enabled=False)
    tried = (await tenant.http.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    assert not tried["success"]
    assert says in tried["error"]
    assert await log(tenant, webhook) == []
    assert (await tenant.http.get(f"/v1/webhooks/{webhook['id']}")).json()["failing_since"] is None


async def test_disabling_by_hand_gives_up_what_waits(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("500"))
    await tenant.http.post("/v1/api-keys", json={"name": "told"})
    product.app.state.relay.nudge()
    async with asyncio.timeout(60):
        while not [row for row in await log(tenant, webhook) if row["attempts"]]:
            await asyncio.sleep(0.05)
    shown = await tenant.http.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": False})
    assert (shown.json()["enabled"], shown.json()["disabled_reason"]) == (False, None)
    [row] = await log(tenant, webhook)
    assert row["status"] == "dead"
    assert "was disabled" in row["error"]


async def test_deleting_takes_the_log_along(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    await tenant.http.post("/v1/api-keys", json={"name": "told"})
    product.app.state.relay.nudge()
    [row] = await ended(tenant, webhook)
    assert (await tenant.http.delete(f"/v1/webhooks/{webhook['id']}")).status_code == 204
    for path in (f"/v1/webhooks/{webhook['id']}", f"/v1/webhook-deliveries/{row['id']}"):
        assert (await tenant.http.get(path)).status_code == 404


async def test_twenty_webhooks_are_the_most(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    for _ in range(20):
        await registered(tenant, receiver.url("ok"))
    refused = await tenant.http.post("/v1/webhooks", json={"url": receiver.url("ok")})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


BAD = [
    {"url": "https://10.0.0.1/x"},
    {"url": "https://[::1]/x"},
    {"url": "https://user:word@example.com/x"},
    {"url": "https://example.com/x#part"},
    {"url": "ftp://example.com/x"},
    {"url": ""},
    {"url": "https://example.com/", "events": []},
    {"url": "https://example.com/", "events": ["webhook.test"]},
    {"url": "https://example.com/", "description": "a\u202eb"},
    {"url": "https://example.com/", "secret": "whsec_mine"},
]


@pytest.mark.parametrize("body", BAD)
async def test_what_cannot_be_registered_is_refused_without_an_echo(product: Product, body: dict[str, Any]):
    tenant = await tenant_of(product)
    refused = await tenant.http.post("/v1/webhooks", json=body)
    assert refused.status_code == 422
    assert "example.com/x" not in refused.text
    assert "word" not in refused.text.replace("password", "")


async def test_roles_that_may_not_change_them_may_see_them(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    viewer = await product.signed_in(tenant, Role.VIEWER)
    assert (await viewer.http.get("/v1/webhooks")).json()["data"][0]["id"] == webhook["id"]
    assert (await viewer.http.get(f"/v1/webhooks/{webhook['id']}/deliveries")).status_code == 200
    for method, path in (("DELETE", ""), ("POST", "/test"), ("POST", "/rotate-secret")):
        answer = await viewer.http.request(method, f"/v1/webhooks/{webhook['id']}{path}", json={})
        assert answer.status_code == 403


async def test_changes_are_in_the_audit_log_without_a_secret(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    path = f"/v1/webhooks/{webhook['id']}"
    await tenant.http.patch(path, json={"events": ["job.finished", "job.finished"]})
    await tenant.http.patch(path, json={"events": ["job.finished"]})  # changes nothing
    await tenant.http.post(f"{path}/rotate-secret", json={})
    await tenant.http.delete(path)
    operator = await product.operator()
    lines = (await operator.get("/v1/admin/audit", params={"object_id": webhook["id"]})).json()["data"]
    actions = ["webhook.created", "webhook.updated", "webhook.secret_rotated", "webhook.deleted"]
    assert [line["action"] for line in reversed(lines)] == actions
    assert lines[2]["after"] == {"events": ["job.finished"]}
    assert "whsec" not in json.dumps(lines)


async def test_owners_are_told_by_mail_that_it_was_disabled(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    owner, viewer = await product.person(tenant), await product.person(tenant, Role.VIEWER)
    gone = await registered(
        tenant, receiver.url("status", code=410, token="canary"), events=["api_key.created"]
    )
    other = await registered(tenant, receiver.url("ok"), events=["webhook.disabled"])
    await tenant.http.post("/v1/api-keys", json={"name": "told"})
    product.app.state.relay.nudge()
    [mail] = await product.mails(owner.email)
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]  # every mail of ours has one
    assert "answered 410" in text
    assert gone["id"] in text
    assert "canary" not in text
    [row] = await ended(tenant, other)
    assert json.loads(row["body"])["data"] == {
        "tenant_id": str(tenant.id), "webhook_id": gone["id"], "reason": "gone",
    }  # fmt: skip
    assert await product.mails(viewer.email, at_least=0) == []


async def test_metrics_count_attempts_by_outcome(product: Product, receiver: Receiver):
    tenant = await tenant_of(product)
    webhook = await registered(tenant, receiver.url("ok"))
    before = product.app.state.deliverer.told["delivered"]
    await tenant.http.post("/v1/api-keys", json={"name": "told"})
    product.app.state.relay.nudge()
    await ended(tenant, webhook)
    async with asyncio.timeout(60):
        while product.app.state.deliverer.told["delivered"] <= before:
            await asyncio.sleep(0.02)
    shown = (await (await product.operator()).get("/metrics")).text
    assert 'fanfold_webhook_deliveries_total{outcome="delivered"}' in shown
    assert "fanfold_webhook_deliveries_pending" in shown
