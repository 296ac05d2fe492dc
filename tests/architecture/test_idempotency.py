"""Every POST that creates or spends takes an `Idempotency-Key`, and keeps what it promises with it."""

import secrets
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from fanfold.auth.dependencies import Once, _once, _operator_once, _person_once
from fanfold.core.requests import StrictRoute
from fanfold.idempotency.header import NAME
from fanfold.idempotency.route import IdempotentRoute
from fanfold.main import create_app
from tests.adversarial.routes import Party, guarded_routes
from tests.fixtures.app import Product

# POSTs that neither create nor spend, each with the reason why a repetition does no harm.
WITHOUT_A_KEY = {
    "/v1/invitations/accept": "an invitation is accepted once: the second time is a 422",
    "/v1/tenant/invitations/{invitation_id}/resend": "within a minute nothing is sent again",
    "/v1/auth/token": "a sign-in asked for twice is two, and either ends by itself",
    "/token": "as /v1/auth/token",
    "/v1/auth/revoke": "twice is the same as once",
    "/v1/clients/{client_id}/rotate": "whoever lost the answer asks again, and the last secret counts",
    "/v1/auth/introspect": "changes nothing",
    "/v1/auth/logout": "twice is the same as once",
    "/v1/auth/register": "of one address there is one account, however often it registers",
    "/v1/auth/request-verify": "asks for a mail, and how many there are is limited",
    "/v1/auth/forgot-password": "asks for a mail, and how many there are is limited",
    "/v1/auth/verify": "twice is the same as once",
    "/v1/auth/reset-password": "its token works once",
    "/v1/me/totp": "the secret that was asked for last is the one",
    "/v1/me/totp/confirm": "a code counts once",
    "/v1/me/password": "the second time the present password is another",
    "/v1/jobs/{job_id}/cancel": "twice is the same as once",
    "/v1/process/quote": "calls nothing and bills nothing",
    "/v1/upstreams/{upstream_id}/test": "changes and bills nothing, and who asks again wants to know anew",
    "/v1/webhooks/{webhook_id}/test": "as /v1/upstreams/{upstream_id}/test",
    "/v1/webhook-deliveries/{delivery_id}/replay": "sends under the same `webhook-id`, by which a receiver knows it",
    "/v1/admin/upstreams/{shared_id}/test": "as /v1/upstreams/{upstream_id}/test",
    "/v1/admin/jobs/{tenant_id}/{dead_job_id}/requeue": "a job that waits is not dead: the second time is a 409",
    "/v1/admin/outcomes/{tenant_id}/{request_id}/resolve": "holds for good: the second time is a 409",
    "/v1/admin/tenants/{tenant_id}/suspend": "twice is the same as once",
    "/v1/admin/tenants/{tenant_id}/resume": "twice is the same as once",
    "/v1/admin/users/{user_id}/end-sessions": "twice is the same as once",
}
# These spend: the claim and the answer ride on the ledger's commits, not on a session.
SPENDING = frozenset({"/v1/process", "/process/", "/stream/", "/v1/jobs", "/v1/jobs/{job_id}/retry"})


def _flat(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _flat(inner)


def _faults(app: FastAPI) -> Iterator[str]:
    for context in iter_route_contexts(app.routes):
        dependant: Dependant | None = getattr(context, "dependant", None)
        if "POST" not in (context.methods or ()) or dependant is None:
            continue
        path, parts = str(context.path), list(_flat(dependant))
        creates = any(part.call in (_once, _operator_once, _person_once) for part in parts)
        takes_key = any(field.alias == NAME for part in parts for field in part.header_params)
        if takes_key == (path in WITHOUT_A_KEY):
            yield f"{path}: takes no key and is on no list, or the other way round"
        if takes_key and not creates and path not in SPENDING:
            yield f"{path}: takes a key, but is not made once"
        if creates and not isinstance(context.original_route, IdempotentRoute):
            yield f"{path}: its route keeps no answers"


def test_every_post_takes_one_or_is_on_the_list():
    assert list(_faults(create_app())) == []


def test_what_is_forgotten_is_seen():
    async def forgotten() -> None: ...

    async def half(_once: Once) -> None: ...

    router = APIRouter(route_class=StrictRoute)
    router.add_api_route("/forgotten", forgotten, methods=["POST"])
    router.add_api_route("/half", half, methods=["POST"])
    router.add_api_route("/v1/process/quote", half, methods=["POST"])
    app = FastAPI()
    app.include_router(router)
    assert [fault.split(":")[0] for fault in _faults(app)] == [
        "/forgotten", "/half", "/v1/process/quote", "/v1/process/quote"
    ]  # fmt: skip


def test_no_exception_is_listed_in_vain():
    paths = {context.path for context in iter_route_contexts(create_app().routes)}
    assert paths >= WITHOUT_A_KEY.keys() | SPENDING


def _with_key(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        said = item.get("post", {})
        if any(parameter["name"] == NAME for parameter in said.get("parameters", ())):
            yield path, said


def _own(path: str) -> dict[str, str]:
    # The names that are unique over all tenants, and so over all tests.
    name = f"t{secrets.token_hex(6)}"
    return {
        "/v1/admin/tenants": {"slug": name},
        "/v1/tenants": {"slug": name},
        "/v1/admin/plans": {"code": name},
        "/v1/admin/upstreams": {"slug": name},
    }.get(path, {})


async def test_each_of_them_replays_its_example_and_refuses_another_body(product: Product):
    document, party = product.app.openapi(), await Party.invite(product)
    await party.tenant.upstream(product.zoo.url("ok"), is_default=True)
    found = list(_with_key(document))
    routes = {(route.method, route.path): route for route in guarded_routes(product.app)}
    assert len(found) >= 3
    for path, said in found:
        assert said["responses"].keys() >= {"409", "422"}, path
        client = party.client(routes["POST", path])
        if "requestBody" not in said:
            continue  # with nothing in it: tests/jobs asks twice
        name = said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        example = document["components"]["schemas"][name]["examples"][0] | _own(path)
        url, key = path.format(**party.ids), {NAME: secrets.token_hex(8)}
        first, second = [await client.post(url, json=example, headers=key) for _ in range(2)]
        assert first.is_success, (path, first.text)
        assert (second.status_code, second.content) == (first.status_code, first.content), path
        assert second.headers["idempotent-replayed"] == "true"
        third = await client.post(url, json=example | {"no such member": 1}, headers=key)
        assert third.status_code == 422
        assert third.json()["code"] in {"idempotency-mismatch", "validation"}
