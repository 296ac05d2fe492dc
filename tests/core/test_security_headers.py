import re

import pytest

from fanfold.core.config import ServerSettings
from fanfold.core.security_headers import HEADERS, SecurityHeadersMiddleware
from fanfold.main import create_app
from tests.adversarial.raw import send_raw
from tests.fixtures.app import product_settings, running_product

EXPECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
PAGES = {"/docs": "script-src 'self'", "/redoc": "worker-src blob:", "/problems": "style-src 'unsafe-inline'"}


def secured(answer, **but):
    return {name: answer.headers.get(name) for name in EXPECTED} == {**EXPECTED, **but}


async def test_every_kind_of_answer_has_them(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), is_default=True)
    limited = await product.tenant(requests_per_minute=1, burst=1)
    await limited.http.get("/v1/usage")
    person = await product.signed_in(tenant)
    key = {"Idempotency-Key": "one"}
    answers = [
        await product.stranger().get("/ping"),
        await product.stranger().get("/openapi.json"),
        await product.stranger().get("/healthz"),
        await product.stranger().get("/v1/usage"),
        await product.stranger().get("/nothing"),
        await tenant.http.put("/v1/usage"),
        await limited.http.get("/v1/usage"),
        await tenant.http.get("/v1/usage"),
        await tenant.http.get("/v1/usage/export?format=ndjson"),
        await tenant.http.post("/v1/process", json={"text": "一"}),
        await tenant.http.post("/v1/process", content=b"{"),
        await tenant.http.post("/v1/api-keys", json={"name": "x"}, headers=key),
        await tenant.http.post("/v1/api-keys", json={"name": "x"}, headers=key),
        await person.http.get("/v1/me"),
        await person.http.post("/v1/auth/token", data={"username": "nobody"}),
    ]
    assert [answer.status_code // 100 for answer in answers] == [2, 2, 2, 4, 4, 4, 4, 2, 2, 2, 4, 2, 2, 2, 4]
    for answer in answers:
        assert secured(answer), f"{answer.request.url}: {answer.headers}"
    assert answers[12].headers["idempotent-replayed"] == "true"


async def test_pages_have_a_policy_of_their_own_and_files_may_be_kept(product):
    for path, part in PAGES.items():
        answer = await product.stranger().get(path)
        policy = answer.headers["content-security-policy"]
        assert part in policy
        assert re.search(r"default-src 'none'.*frame-ancestors 'none'", policy)
        assert secured(answer, **{"content-security-policy": policy})
    file = await product.stranger().get("/docs/assets/start.js")
    assert secured(file, **{"cache-control": "public, max-age=3600"})


async def test_a_fault_and_a_refused_host_have_them_too(database_urls):
    server = ServerSettings(allowed_hosts=["example.com"])
    app = create_app(product_settings(database_urls).model_copy(update={"server": server}))
    refused = await send_raw(app, "GET", "/ping", [("host", b"evil.example")])
    assert (refused.status_code, secured(refused)) == (400, True)
    fault = await send_raw(app, "GET", "/ping", [("host", b"example.com")])  # not started: it has nothing
    assert (fault.status_code, secured(fault)) == (500, True)


@pytest.mark.parametrize(
    ("address", "told"),
    [(None, None), ("http://api.example.com", None), ("https://api.example.com", "max-age=31536000")],
)
async def test_only_who_is_reached_by_tls_says_to_keep_to_it(database_urls, address, told):
    settings = product_settings(database_urls)
    server = settings.server.model_copy(update={"public_url": address})
    async with running_product(database_urls, settings.model_copy(update={"server": server})) as product:
        answer = await product.stranger().get("/ping")
        assert answer.headers.get("strict-transport-security") == told


async def test_a_handshake_that_is_refused_with_an_answer_has_them():
    sent = []

    async def refusing(_scope, _receive, send):
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})

    async def send(message):
        sent.append(message)

    await SecurityHeadersMiddleware(refusing, https=False)({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent[0]["headers"] == [*HEADERS]
