"""The application's own list of routes, so that a new route is attacked without being named here."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from fastapi.params import Form
from fastapi.routing import iter_route_contexts

from fanfold.auth.principal import Role, Scope
from fanfold.auth.requirements import Requirement
from fanfold.auth.routes import RouteTable
from fanfold.core.identifiers import uuid7
from fanfold.main import PUBLIC_PATHS
from fanfold.members.invitation_mails import make_token
from fanfold.outbox.types import Message
from fanfold.users.account_mails import RESET, VERIFY
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.repository import UserRepository
from fanfold.webhooks.event_writer import EventWriter
from tests.fixtures.app import Person, Product, TenantClient
from tests.fixtures.plans import new_plan
from tests.jobs.fake_worker import make_dead_job, make_job

# They take a form, not JSON: tests/oauth sends what each takes.
FORMS = frozenset({"/v1/auth/token"})
# They take a code of a secret that was shown just before: tests/users sends what they take.
BY_CODE = frozenset({("POST", "/v1/me/totp/confirm"), ("DELETE", "/v1/me/totp")})


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path; `requirement` is None where everybody may come."""

    method: str
    path: str
    requirement: Requirement | None
    takes_body: bool

    @property
    def for_operators(self) -> bool:
        return self.requirement is not None and self.requirement.scope is Scope.OPERATOR

    @property
    def for_people(self) -> bool:
        return self.requirement is not None and self.requirement.for_people

    @property
    def for_all(self) -> bool:
        return self.requirement is not None and self.requirement.for_all

    @property
    def parameters(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def url(self, **values: Any) -> str:
        return self.path.format(**values)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(app: FastAPI) -> Iterator[Route]:
    table = RouteTable(app.routes, public=PUBLIC_PATHS)
    for context in iter_route_contexts(app.routes):
        for method in sorted(context.methods or ()):
            guarded = table.match({"type": "http", "method": method, "path": context.path})
            body = getattr(context, "body_field", None)
            takes_body = body is not None and not isinstance(body.field_info, Form)
            assert context.path
            yield Route(method, context.path, guarded.requirement if guarded else None, takes_body)


def guarded_routes(app: FastAPI) -> list[Route]:
    """Return the routes that ask for a credential and refuse by problems; OAuth's forms are told of in tests/oauth."""
    found = [(route, route.requirement) for route in routes_of(app)]
    return [route for route, requirement in found if requirement is not None and not requirement.for_all]


def body_routes(app: FastAPI) -> list[Route]:
    return [route for route in routes_of(app) if route.takes_body and route.path not in FORMS]


async def object_ids(product: Product, owner: TenantClient) -> dict[str, str]:
    """Return an id of the owner's for each parameter there is in a path; a new parameter needs a line here."""
    upstream = await owner.upstream(product.zoo.url("ok", of="an object"))
    name = f"key {secrets.token_hex(8)}"
    key = await owner.http.post("/v1/api-keys", json={"name": name, "scopes": ["process"]})
    assert key.status_code == 201, key.text
    begins = {"effective_from": "2999-01-01T00:00:00Z"}
    price = await owner.http.post(f"/v1/upstreams/{upstream['id']}/prices", json=begins)
    assert price.status_code == 201, price.text
    address = f"{secrets.token_hex(6)}@example.com"
    invited = await owner.http.post("/v1/tenant/invitations", json={"email": address, "role": "viewer"})
    assert invited.status_code == 201, invited.text
    client = await owner.http.post("/v1/clients", json={"name": name, "scopes": ["process"]})
    assert client.status_code == 201, client.text
    webhook_id, delivery_id = await _webhook_with_a_delivery(product, owner)
    # One that has ended, so that its events end too, and that may run again.
    job_id = await make_job(product, owner)
    cancelled = await owner.http.post(f"/v1/jobs/{job_id}/cancel")
    assert cancelled.json()["status"] == "cancelled", cancelled.text
    return {
        "webhook_id": webhook_id,
        "delivery_id": delivery_id,
        "job_id": str(job_id),
        "upstream_id": upstream["id"],
        "client_id": client.json()["id"],
        "price_id": price.json()["id"],
        "key_id": key.json()["id"],
        "invitation_id": invited.json()["id"],
        "user_id": str((await product.person(owner, Role.VIEWER)).id),
        "tenant_id": str(owner.id),
    }


async def _webhook_with_a_delivery(product: Product, owner: TenantClient) -> tuple[str, str]:
    made = await owner.http.post(
        "/v1/webhooks", json={"url": product.zoo.url("ok"), "events": ["job.finished"]}
    )
    assert made.status_code == 201, made.text
    webhook_id, database = made.json()["id"], product.app.state.database
    payload = {"job_id": str(uuid7()), "status": "succeeded", "counts": {}, "units": 0}
    message = Message(tenant_id=owner.id, id=uuid7(), topic="job.finished", payload=payload, attempts=1)
    await EventWriter(database, on_written=product.app.state.deliverer.nudge)(message)
    listed = await owner.http.get(f"/v1/webhooks/{webhook_id}/deliveries")
    return webhook_id, listed.json()["data"][0]["id"]


async def operators_ids(
    product: Product, operator: httpx.AsyncClient, tenant: TenantClient
) -> dict[str, str]:
    """Return an id for each parameter that only operators' paths have."""
    shared = await product.shared_upstream(product.zoo.url("ok", of="all"))
    begins = {"effective_from": "2999-01-01T00:00:00Z"}
    price = await operator.post(f"/v1/admin/upstreams/{shared['id']}/prices", json=begins)
    assert price.status_code == 201, price.text
    grants = f"/v1/admin/tenants/{tenant.id}/grants"
    grant = await operator.post(grants, json={"units": 1, "reason": "a test"})
    assert grant.status_code == 201, grant.text
    plan = new_plan()
    made = await operator.post("/v1/admin/plans", json=plan)
    assert made.status_code == 201, made.text
    return {
        "dead_job_id": str(await make_dead_job(product, tenant)),
        "grant_id": grant.json()["id"],
        "plan_code": plan["code"],
        "shared_id": shared["id"],
        "shared_price_id": price.json()["id"],
    }


async def _invited(product: Product, person: Person) -> str:
    """Return the token of another tenant's invitation to this person."""
    other, body = await product.tenant(), {"email": person.email, "role": "viewer"}
    invited = await other.http.post("/v1/tenant/invitations", json=body)
    tokens = MailedTokens(product.app.state.key_ring)
    return await make_token(tokens, other.id, UUID(invited.json()["id"]), lifetime_s=600)


async def _mailed(product: Product, audience: str) -> str:
    """Return the token of a mail to a person of its own."""
    person, state = await product.person(), product.app.state
    async with state.database.identity_session() as session:
        credentials = state.mailed_tokens.fingerprint(await UserRepository(session).get(person.id))
    claims = {"sub": str(person.id), "email": person.email, "was": person.email, "credentials": credentials}
    tokens = state.mailed_tokens
    token: str = (await tokens.make(audience, lifetime_s=3600, **claims)).get_secret_value()
    return token


async def _leaver(product: Product, tenant: TenantClient) -> Person:
    return await product.signed_in(tenant, Role.VIEWER)


async def _other_sign_in(person: Person) -> str:
    """Return the id of the sign-in that is not the present one."""
    listed = (await person.http.get("/v1/me/sessions")).json()["data"]
    other: str = next(each["id"] for each in listed if not each["is_current"])
    return other


@dataclass(frozen=True, slots=True)
class Party:
    """A tenant, its owner and an operator, and something to send requests about."""

    tenant: TenantClient
    person: Person
    leaver: Person  # ends the own account, which owns nothing
    operator: httpx.AsyncClient
    ids: dict[str, str]
    # What a body's example cannot know, by path.
    known: dict[str, dict[str, Any]]

    @classmethod
    async def invite(cls, product: Product) -> "Party":
        tenant, operator = (
            await product.tenant(max_upstreams=100_000, max_api_keys=100_000),
            await product.operator(),
        )
        lapsed = await product.lapse(tenant)
        ids = await object_ids(product, tenant) | await operators_ids(product, operator, tenant)
        person = await product.signed_in(tenant)
        await person.sign_in()
        ids["session_id"] = await _other_sign_in(person)
        await product.person(tenant)  # another owner, so that neither is the last
        known = {
            "/v1/invitations/accept": {"token": await _invited(product, person)},
            "/v1/auth/verify": {"token": await _mailed(product, VERIFY)},
            "/v1/auth/reset-password": {"token": await _mailed(product, RESET)},
        }
        return cls(
            tenant,
            person,
            await product.signed_in(),
            operator,
            ids | {"request_id": str(lapsed.request_id)},
            known,
        )

    async def rested(self, product: Product) -> "Party":
        """Return the party with another operator and person: each has a rate limit, which hundreds of requests meet."""
        person, leaver = await product.signed_in(self.tenant), await _leaver(product, self.tenant)
        return replace(self, operator=await product.operator(), person=person, leaver=leaver)

    def client(self, route: Route) -> httpx.AsyncClient:
        if route.for_people:
            return (self.leaver if str(route) == "DELETE /v1/me" else self.person).http
        return self.operator if route.for_operators else self.tenant.http

    def url(self, route: Route) -> str:
        return route.url(**self.ids)
