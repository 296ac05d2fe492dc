"""Invitations: who may be invited, by whom; whose mail counts, how often, how long."""

import asyncio
import datetime as dt
import re
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from fanfold.auth.principal import Role
from fanfold.core.identifiers import uuid7
from fanfold.mail.base import Mail
from fanfold.members.invitation_mails import InvitationMails, make_token
from fanfold.members.invitation_service import TOPIC
from fanfold.outbox.types import Message
from fanfold.tenants.invited import has_open_invitation
from fanfold.users.mailed_tokens import MailedTokens
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.audited import of_tenant

PATH = "/v1/tenant/invitations"


async def invite(tenant: TenantClient, address: str, role: str = "developer") -> dict[str, Any]:
    answer = await tenant.http.post(PATH, json={"email": address, "role": role})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def token_of(
    product: Product, tenant: TenantClient, made: dict[str, Any], lifetime_s: int = 600
) -> str:
    tokens = MailedTokens(product.app.state.key_ring)
    return await make_token(tokens, tenant.id, UUID(made["id"]), lifetime_s=lifetime_s)


async def age(product: Product, tenant: TenantClient, by: dt.timedelta) -> None:
    """Make the tenant's invitations older."""
    async with product.app.state.database.session(tenant.id) as session, session.begin():
        older = text("update fanfold.invitations set expires_at = expires_at - cast(:by as interval)")
        await session.execute(older, {"by": by})


async def test_from_the_invitation_to_the_first_request_by_mail(product: Product):
    tenant, person = await product.tenant(), await product.person()
    await tenant.http.patch("/v1/tenant", json={"name": "织云科技 🐟"})
    made = await invite(tenant, person.email)
    [read] = await product.mails(person.email)
    assert "织云科技 🐟" in read["Subject"]
    body = read.get_body(("plain",))
    assert body is not None
    [token] = re.findall(r"eyJ\S+", body.get_content())
    await person.sign_in()
    joined = await person.http.post("/v1/invitations/accept", json={"token": token})
    assert (joined.status_code, joined.json()["role"]) == (200, "developer"), joined.text
    await person.sign_in(tenant=tenant.slug)
    assert (await person.http.get("/v1/tenant")).json()["id"] == str(tenant.id)
    shown = (await tenant.http.get(f"{PATH}/{made['id']}")).json()
    assert (shown["status"], shown["email"]) == ("accepted", person.email)
    events = await of_tenant(product, tenant.id, "invitation", "member")
    assert [event.action for event in events][-2:] == ["invitation.created", "member.joined"]
    assert (events[-1].actor_id, events[-1].object_id) == (person.id, str(person.id))


async def test_a_token_counts_once_also_where_it_is_shown_at_once(product: Product):
    tenant, person = await product.tenant(), await product.signed_in()
    body = {"token": await token_of(product, tenant, await invite(tenant, person.email))}
    asked = [person.http.post("/v1/invitations/accept", json=body) for _ in range(8)]
    answers = Counter(answer.status_code for answer in await asyncio.gather(*asked))
    assert answers == {200: 1, 422: 7}


async def test_another_person_s_invitation_is_none(product: Product):
    tenant, invited, thief = await product.tenant(), await product.person(), await product.signed_in()
    made = await invite(tenant, invited.email)
    answers = [
        await thief.http.post("/v1/invitations/accept", json={"token": await token_of(product, tenant, each)})
        for each in (made, {"id": str(uuid7())})
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert (await tenant.http.get("/v1/tenant/members")).json()["data"] == []


async def test_what_is_revoked_expired_forged_or_of_another_use_does_not_hold(product: Product):
    tenant, person = await product.tenant(), await product.signed_in()
    revoked = await invite(tenant, person.email)
    assert (await tenant.http.delete(f"{PATH}/{revoked['id']}")).status_code == 204
    assert (await tenant.http.delete(f"{PATH}/{revoked['id']}")).status_code == 204
    expired = await invite(tenant, person.email)
    await age(product, tenant, dt.timedelta(days=8))
    over = await invite(tenant, person.email)
    tokens = MailedTokens(product.app.state.key_ring)
    claims = {"tid": str(tenant.id), "sub": over["id"]}
    other_use = (await tokens.make("reset", lifetime_s=60, **claims)).get_secret_value()
    bad = [
        await token_of(product, tenant, revoked),
        await token_of(product, tenant, expired),
        "eyJ",
        other_use,
    ]
    bad += [
        await token_of(product, tenant, over, lifetime_s=1),
        (await token_of(product, tenant, over))[:-1],
    ]
    await asyncio.sleep(1.1)
    for token in bad:
        answer = await person.http.post("/v1/invitations/accept", json={"token": token})
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "token"]), (
            answer.text
        )
        assert token not in answer.text
    good = await token_of(product, tenant, over)
    assert (await person.http.post("/v1/invitations/accept", json={"token": good})).status_code == 200
    assert (await tenant.http.delete(f"{PATH}/{over['id']}")).status_code == 409
    statuses = [row["status"] for row in (await tenant.http.get(PATH)).json()["data"]]
    assert statuses == ["accepted", "expired", "revoked"]


async def test_members_and_the_invited_are_not_invited_again(product: Product):
    tenant, person = await product.tenant(), await product.person()
    await product.join(person, tenant)
    other = "Nobody.Yet@EXAMPLE.com"
    await invite(tenant, other)
    for address in (person.email.upper(), other, other.lower()):
        answer = await tenant.http.post(PATH, json={"email": address, "role": "viewer"})
        assert answer.status_code == 409, address
    await invite(await product.tenant(), other)


async def test_who_is_a_member_by_then_keeps_the_role(product: Product):
    tenant, person = await product.tenant(), await product.signed_in()
    token = await token_of(product, tenant, await invite(tenant, person.email, "admin"))
    await product.join(person, tenant, Role.VIEWER)
    assert (await person.http.post("/v1/invitations/accept", json={"token": token})).status_code == 409
    assert (await tenant.http.get("/v1/tenant/members")).json()["data"][0]["role"] == "viewer"


async def test_nobody_invites_above_their_own_role(product: Product):
    tenant = await product.tenant()
    owner = await product.signed_in(tenant)
    body = {"email": "one@example.com", "role": "owner"}
    for http in (tenant.http, (await product.signed_in(tenant, Role.ADMIN)).http):
        answer = await http.post(PATH, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope-exceeds-grantor")
    made = await owner.http.post(PATH, json=body)
    assert (made.status_code, made.json()["invited_by"]) == (201, str(owner.id))
    url = f"{PATH}/{made.json()['id']}"
    for answer in (await tenant.http.delete(url), await tenant.http.post(f"{url}/resend")):
        assert (answer.status_code, answer.json()["code"]) == (403, "scope-exceeds-grantor")
    developer = await product.signed_in(tenant, Role.DEVELOPER)
    answer = await developer.http.post(PATH, json={"email": "two@example.com", "role": "viewer"})
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")


async def test_a_hundred_are_open_at_most_also_where_more_are_asked_for_at_once(product: Product):
    tenant = await product.tenant()
    for number in range(95):
        await invite(tenant, f"p{number}@example.com")
    asked = [
        tenant.http.post(PATH, json={"email": f"q{number}@example.com", "role": "viewer"})
        for number in range(10)
    ]
    answers = Counter(answer.status_code for answer in await asyncio.gather(*asked))
    assert answers == {201: 5, 409: 5}
    await age(product, tenant, dt.timedelta(days=8))
    await invite(tenant, "later@example.com")


async def test_one_address_invited_at_once_is_invited_once(product: Product):
    tenant, body = await product.tenant(), {"email": "ada@example.com", "role": "viewer"}
    answers = await asyncio.gather(*(tenant.http.post(PATH, json=body) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}


async def _mails(product: Product, tenant: TenantClient) -> int:
    told = await of_tenant(product, tenant.id, "invitation")
    return sum(event.action in {"invitation.created", "invitation.sent_again"} for event in told)


async def test_sent_again_it_holds_anew_but_not_twice_within_a_minute(product: Product):
    tenant = await product.tenant()
    made = await invite(tenant, "ada@example.com")
    url = f"{PATH}/{made['id']}/resend"
    assert (await tenant.http.post(url)).json()["expires_at"] == made["expires_at"]
    assert await _mails(product, tenant) == 1
    await age(product, tenant, dt.timedelta(days=8))
    again = (await tenant.http.post(url)).json()
    assert again["expires_at"] > made["expires_at"]
    assert again["status"] == "open"
    assert await _mails(product, tenant) == 2
    await tenant.http.delete(f"{PATH}/{made['id']}")
    assert (await tenant.http.post(url)).status_code == 409


class _Post:
    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


async def test_a_mail_is_written_with_a_token_of_its_own_and_none_for_what_has_ended(product: Product):
    tenant, operator, post = await product.tenant(), await product.operator(), _Post()
    tokens = MailedTokens(product.app.state.key_ring)
    handler = InvitationMails(product.app.state.database, tokens, post, "https://fanfold.example")
    kept, revoked = [await invite(tenant, f"{name}@example.com") for name in ("kept", "revoked")]
    await tenant.http.delete(f"{PATH}/{revoked['id']}")

    async def hand(invitation_id: Any) -> None:
        payload = {"invitation_id": str(invitation_id)}
        await handler(Message(tenant_id=tenant.id, id=uuid7(), topic=TOPIC, payload=payload, attempts=1))

    for each in (kept["id"], revoked["id"], uuid7()):
        await hand(each)
    assert [mail.to for mail in post.mails] == ["kept@example.com"]
    assert "https://fanfold.example/v1/invitations/accept" in post.mails[0].text
    assert "https://fanfold.example/v1/invitations/accept" in post.mails[0].html
    await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")
    await hand(kept["id"])
    assert len(post.mails) == 1


async def test_whether_somebody_is_expected(product: Product):
    tenant, address = await product.tenant(), f"{uuid7()}@example.com"

    async def is_expected() -> bool:
        async with product.app.state.database.identity_session() as session:
            return await has_open_invitation(session, address)

    assert not await is_expected()
    made = await invite(tenant, address)
    assert await is_expected()
    await age(product, tenant, dt.timedelta(days=8))
    assert not await is_expected()
    await tenant.http.delete(f"{PATH}/{made['id']}")
    await invite(tenant, address)
    assert await is_expected()
    await (await product.operator()).post(f"/v1/admin/tenants/{tenant.id}/suspend")
    assert not await is_expected()


@pytest.mark.parametrize("path", [PATH, f"{PATH}/{{}}", f"{PATH}/{{}}/resend"])
async def test_another_tenant_s_invitations_are_none(product: Product, path: str):
    tenant, other = await product.tenant(), await product.tenant()
    made = await invite(tenant, "ada@example.com")
    if path == PATH:
        assert (await other.http.get(path)).json()["data"] == []
    elif path.endswith("resend"):
        assert (await other.http.post(path.format(made["id"]))).status_code == 404
    else:
        assert (await other.http.delete(path.format(made["id"]))).status_code == 404


async def test_a_tenant_that_is_suspended_takes_nobody(product: Product):
    tenant, person = await product.tenant(), await product.signed_in()
    token = await token_of(product, tenant, await invite(tenant, person.email))
    await (await product.operator()).post(f"/v1/admin/tenants/{tenant.id}/suspend")
    assert (await person.http.post("/v1/invitations/accept", json={"token": token})).status_code == 409


async def test_nobody_gives_a_role_with_more_scopes_than_their_credential_has(product: Product):
    tenant, person = await product.tenant(), await product.person()
    await product.join(person, tenant, Role.VIEWER)
    narrow = product.http(await product.key(tenant.id, ["members:write", "usage:read"]))
    for role in ("admin", "developer"):
        refused = await narrow.post(PATH, json={"email": "someone@example.com", "role": role})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope-exceeds-grantor")
        raised = await narrow.patch(f"/v1/tenant/members/{person.id}", json={"role": role})
        assert (raised.status_code, raised.json()["code"]) == (403, "scope-exceeds-grantor")
    invited = await narrow.post(PATH, json={"email": "someone@example.com", "role": "viewer"})
    assert invited.status_code == 201
