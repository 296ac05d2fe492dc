"""Secrets and texts are planted; then every place they could turn up in is searched."""

import asyncio
import pprint
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fanfold.api_keys.keys import issue
from fanfold.api_keys.schemas import ApiKeyCreate, ApiKeyIssued
from fanfold.fanout.service import FanOut
from fanfold.main import create_app
from fanfold.processing.dependencies import get_fan_out
from fanfold.upstreams.schemas import UpstreamCreate
from tests.adversarial.raw import bearer, send_raw
from tests.fixtures.app import SECRET, Product, product_settings, running_product
from tests.fixtures.database import connect

_TABLES = """
select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
"""


async def dump(product: Product) -> str:
    """Return every row of every table, as text; bytes are in it as they are and in hexadecimal."""
    connection = await connect(product.database.superuser_url)
    try:
        rows = []
        for table in await connection.fetch(_TABLES):
            for row in await connection.fetch(f"select * from {table['name']}"):
                values = list(row.values())
                rows += [repr(values), *(value.hex() for value in values if isinstance(value, bytes))]
        return "\n".join(rows)
    finally:
        await connection.close()


class Broken:
    """A transport with a fault of its own, whose message holds what it was given."""

    async def send(self, request: Any, **limits: Any) -> Any:
        raise RuntimeError(f"{request!r} {request.headers} {request.body!r} {limits}")

    def stream(self, request: Any, **limits: Any) -> Any:
        raise RuntimeError(f"{request!r} {request.headers} {request.body!r} {limits}")

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def planted(database_urls) -> AsyncIterator[Product]:
    settings = product_settings(database_urls)
    settings = settings.model_copy(
        update={"telemetry": settings.telemetry.model_copy(update={"log_level": "DEBUG"})}
    )
    async with running_product(database_urls, settings) as product:
        yield product


async def _provoke(product: Product, key: str, canaries: dict[str, str]) -> list[str]:
    """Send what is good, bad and broken, all with the canaries in it; return all that came back."""
    seen = []

    async def send(method: str, path: str, *headers: tuple[str, str], **more: Any) -> None:
        client = product.http(raise_app_exceptions=False)
        answer = await client.request(
            method, path, headers=[("authorization", f"Bearer {key}"), *headers], **more
        )
        seen.append("\n".join([answer.text, *answer.headers.values()]))

    text, credential, header = canaries["text"], canaries["credential"], canaries["foreign key"]
    upstream = {"slug": "s", "kind": "http_json", "url": product.zoo.url("ok"), "credential": credential}
    await send("POST", "/v1/upstreams", json=upstream)
    await send("POST", "/v1/upstreams", json=upstream)
    await send("POST", "/v1/upstreams", json=upstream | {"slug": "S"})
    await send("POST", "/v1/upstreams", json=upstream | {"slug": "bad", "credential": credential + "\n"})
    await send(
        "POST", "/v1/upstreams", json=upstream | {"slug": "off", "url": f"https://{credential}@h.example/"}
    )
    for behaviour in ("500", "garbage", "hang", "close", "redirect", "huge"):
        bad = {
            "slug": f"u{behaviour}",
            "url": product.zoo.url(behaviour),
            "timeout_s": 0.2,
            "max_attempts": 1,
        }
        await send("POST", "/v1/upstreams", json=upstream | bad)
        await send("POST", "/v1/process/quote", json={"text": text, "upstreams": [f"u{behaviour}"]})
        await send("POST", "/v1/process", json={"text": f"a {text}", "upstreams": [f"u{behaviour}"]})
    await send("POST", "/v1/process", json={"text": 1, text: text, "api_urls": [f"https://h.example/{text}"]})
    await send("GET", f"/v1/upstreams/{text}?{text}={text}", ("x-request-id", f"<{text}>"))
    await send("GET", "/v1/upstreams", ("x-api-key", header), ("cookie", f"a={header}"))
    await send("PATCH", f"/{text}", content=text.encode())
    await send("PUT", "/v1/upstreams", content=text.encode())
    for path in ("/v1/upstreams", "/v1/api-keys", "/v1/usage"):
        await send("GET", path)
    async with FanOut(transport=Broken()) as fan:
        product.app.dependency_overrides[get_fan_out] = lambda: fan
        await send("POST", "/v1/process", json={"text": text, "upstreams": ["s"]})
    product.app.dependency_overrides.clear()
    stranger = await send_raw(product.app, "GET", "/v1/upstreams", [bearer(header)])
    seen.append(f"{stranger.text}{stranger.headers}")
    return seen


async def test_no_secret_and_no_text_turns_up_anywhere(planted: Product, capfd):
    tenant = await planted.tenant()
    wanted = {"name": "k", "scopes": ["process", "upstreams:write", "usage:read"]}
    made = (await tenant.http.post("/v1/api-keys", json=wanted)).json()
    canaries = {
        "key": made["key"],
        "secret of the key": made["key"].split("_")[3],
        "foreign key": issue().key.get_secret_value(),
        "credential": f"sk-{secrets.token_hex(16)}",
        "text": f"canary{secrets.token_hex(16)}",
        "secret of the server": SECRET.get_secret_value(),
    }
    seen = await _provoke(planted, made["key"], canaries)
    assert any('"code":"internal-error"' in answer or '"status":"failed"' in answer for answer in seen)
    operator = await planted.operator()
    metrics = (await operator.get("/metrics")).text
    assert "fanfold" in metrics
    log = await _log(capfd, requests=20)
    places = {
        "metrics": metrics,
        "log": log,
        "database": await dump(planted),
        "repr": pprint.pformat(vars(planted.app.state)) + await _inner_values(planted, tenant),
    }
    # An echoing upstream answers the text: that is what it was sent for. Everything else may show none of them.
    places |= {
        f"answer {number}": answer for number, answer in enumerate(seen) if '"success":true' not in answer
    }
    for place, content in places.items():
        for name, canary in canaries.items():
            assert canary not in content, f"{name} is in {place}"
            assert canary.encode().hex() not in content, f"{name} is in {place}"
    for answer in seen:
        assert canaries["credential"] not in answer
        assert canaries["key"] not in answer
    with capfd.disabled():
        size = sum(map(len, places.values())) // 1024
        print(f"\ncanaries: {len(canaries)} sought in {len(places)} places, {size} KiB: none found")


async def _log(capfd: pytest.CaptureFixture[str], *, requests: int) -> str:
    """Return the log once it tells of so many requests and comes to rest: a thread of its own writes it."""
    log = ""
    async with asyncio.timeout(60):
        while (more := "".join(capfd.readouterr())) or log.count('"fanfold.access"') <= requests:
            log += more
            await asyncio.sleep(0.3)
    return log


async def _inner_values(product: Product, tenant: Any) -> str:
    """Return what a careless log line would print."""
    found = await product.app.state.upstream_directory.of(tenant.id)
    state = product.app.state
    return " ".join(
        map(repr, (found, state.settings, state.settings.model_dump(), state.key_ring, state.database))
    )


async def test_the_hunt_finds_what_is_there(planted: Product):
    """A canary that may be stored is found by the same search, else the hunt above proves nothing."""
    tenant = await planted.tenant()
    marks = {"name": f"n{secrets.token_hex(8)}", "header": f"h{secrets.token_hex(8)}"}
    await tenant.upstream("https://one.example/", headers={"X-Mark": marks["header"]}, model=marks["name"])
    found = await dump(planted)
    assert all(mark in found for mark in marks.values())


def test_values_that_hold_a_secret_do_not_print_it():
    issued = issue()
    secret = issued.key.get_secret_value()
    upstream = UpstreamCreate(slug="a", kind="echo", url="https://h.example/", credential="sk-canary")
    nothing: dict[str, Any] = dict.fromkeys(ApiKeyIssued.model_fields)
    shown = ApiKeyIssued.model_construct(**nothing | {"key": secret})
    for value in (issued, upstream, shown, ApiKeyCreate(name="x"), [issued], {"a": upstream}):
        assert secret not in f"{value!r} {value}"
        assert "sk-canary" not in f"{value!r} {value}"


async def test_no_setting_shows_a_traceback(database_urls):
    """The application's own debug switch, thrown by hand, is not one of them."""
    app = create_app(product_settings(database_urls))
    assert app.debug is False
    async with running_product(database_urls, product_settings(database_urls)) as product:
        tenant = await product.tenant()
        product.app.dependency_overrides[get_fan_out] = lambda: 1 / 0
        answer = await product.http(tenant.key, raise_app_exceptions=False).post(
            "/v1/process", json={"text": "x"}
        )
    assert answer.status_code == 500
    assert set(answer.json()) == {"type", "title", "status", "detail", "instance", "code"}
    assert "ZeroDivision" not in answer.text
