"""Every spelling of a forbidden address, at every place where somebody may name one: nobody is ever dialled."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from fanfold.core.config import FanOutSettings
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import ErrorCode
from tests.adversarial.forbidden_addresses import NAMES, Listeners, literals, numeric
from tests.fanout.transports.calling import FixedResolver, send
from tests.fixtures.app import Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.figures import Figures
from tests.zoo import Zoo

ZOO_ALONE = AddressGuard([ip_network("127.0.0.1/32")])
REDIRECTS = (301, 302, 303, 307, 308)


@pytest.fixture
async def listeners() -> AsyncIterator[Listeners]:
    async with Listeners() as listeners:
        yield listeners
    assert (listeners.connections, listeners.dials) == (0, [])


@pytest.fixture
async def strict(database_urls: TestDatabase, tmp_path: Path) -> AsyncIterator[Product]:
    """The application of an operator who lets clients name addresses, with no private network allowed."""
    settings = product_settings(database_urls, mail=tmp_path / "mail")
    strict = settings.model_copy(update={"fan_out": FanOutSettings(adhoc_upstreams=True)})
    async with running_product(database_urls, strict) as product:
        yield product


def urls(port: int) -> list[str]:
    """Every spelling at the listeners' port, with TLS and without."""
    return [f"{scheme}://{host}:{port}/v1" for host in [*literals(), *NAMES] for scheme in ("https", "http")]


def refused(answer: Any, code: str, url: str) -> bool:
    """Tell whether a URL was refused at once, without an echo of it."""
    assert answer.status_code < 500, (url, answer.text)
    is_refused = answer.status_code == 422
    if is_refused:
        assert answer.json()["code"] == code, url
        assert url not in answer.text
    return bool(is_refused)


async def failed(tenant: TenantClient, **named: Any) -> set[str]:
    """Process a text with upstreams that must fail; return the codes."""
    answer = await tenant.process("text", max_attempts=1, deadline_s=30, **named)
    assert answer["successful"] == answer["usage"]["units"] == 0
    return {result["error"]["code"] for result in answer["results"]}


NEVER_SENT = {"forbidden-address", "connect"}


async def test_registered(strict: Product, listeners: Listeners, figures: Figures):
    tenant = await strict.tenant(max_upstreams=500)
    changed = await tenant.upstream("https://api.example.com/v1")
    taken = 0
    for number, url in enumerate(urls(listeners.port)):
        body = {"slug": f"u{number}", "kind": "http_json", "url": url}
        answer = await tenant.http.post("/v1/upstreams", json=body)
        patched = await tenant.http.patch(f"/v1/upstreams/{changed['id']}", json={"url": url})
        if not refused(answer, "validation", url):
            taken += 1
            assert not refused(patched, "validation", url)
            assert await failed(tenant, upstreams=[f"u{number}"]) <= NEVER_SENT, url
        else:
            assert refused(patched, "validation", url)
    asked = len(urls(listeners.port))
    assert taken <= 2 * len(NAMES) < asked / 10
    figures(
        f"forbidden addresses, registering: {asked} URLs of {len(literals()) + len(NAMES)} spellings, by POST and "
        f"PATCH: {asked - taken} refused at once, {taken} names when dialled; connections {listeners.connections}"
    )


async def test_named_by_a_client(strict: Product, listeners: Listeners, figures: Figures):
    tenant = await strict.tenant()
    asked, dialled = urls(listeners.port), 0
    for url in asked:
        answer = await tenant.http.post("/v1/process", json={"text": "text", "api_urls": [url]})
        if not refused(answer, "upstream-not-allowed", url):
            dialled += 1
            assert await failed(tenant, api_urls=[url]) <= NEVER_SENT, url
    figures(
        f"forbidden addresses, api_urls: {len(asked)} URLs: {len(asked) - dialled} refused at once, {dialled} when "
        f"dialled; connections {listeners.connections}"
    )


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_answered_by_a_name_server(kind: str, listeners: Listeners, figures: Figures):
    async with Zoo() as zoo:
        for address in numeric():
            resolver = FixedResolver([address], [address, "127.0.0.1"])
            carrier = transport(kind, guard=ZOO_ALONE, max_connections=9, resolver=resolver)
            with pytest.raises(CallFailed) as refusal:
                await send(carrier, f"https://rebind.test:{listeners.port}/")
            assert refusal.value.error.code in {ErrorCode.FORBIDDEN_ADDRESS, ErrorCode.CONNECT}, address
            assert refusal.value.phase is Phase.NOTHING_SENT
            # Of several addresses the forbidden one is passed over.
            assert (await send(carrier, zoo.url("ok", host=f"mixed-{kind}.test"))).status == 200
            await carrier.aclose()
    figures(
        f"forbidden addresses, DNS, {kind}: {len(numeric())} answers, connections {listeners.connections}"
    )


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_rebound_between_two_look_ups(kind: str, listeners: Listeners, figures: Figures):
    async with Zoo() as zoo:
        for address in numeric():
            resolver = FixedResolver(["127.0.0.1"], [address])
            carrier = transport(kind, guard=ZOO_ALONE, max_connections=9, resolver=resolver)
            assert (await send(carrier, zoo.url("close", host="rebind.test"))).status == 200
            with pytest.raises(CallFailed) as refusal:
                await send(carrier, f"http://rebind.test.:{listeners.port}/")
            assert refusal.value.error.code in {ErrorCode.FORBIDDEN_ADDRESS, ErrorCode.CONNECT}, address
            await carrier.aclose()
    figures(
        f"forbidden addresses, rebinding, {kind}: {len(numeric())} names, connections {listeners.connections}"
    )


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_redirected_to(kind: str, listeners: Listeners, figures: Figures):
    targets = urls(listeners.port)
    async with Zoo() as zoo:
        carrier = transport(kind, guard=AddressGuard([ip_network("127.0.0.0/8")]), max_connections=9)
        for number, target in enumerate(targets):
            code = REDIRECTS[number % len(REDIRECTS)]
            answer = await send(carrier, zoo.url("redirect", to=target.encode(), code=code))
            assert answer.status == code
        await carrier.aclose()
    figures(f"forbidden addresses, redirects, {kind}: {len(targets)}, connections {listeners.connections}")


async def test_written_into_the_database_by_somebody_else(
    strict: Product, listeners: Listeners, database_urls: TestDatabase
):
    tenant = await strict.tenant()
    made = await tenant.upstream("https://api.example.com/v1", slug="changed")
    url = f"https://127.0.0.2:{listeners.port}/"
    connection = await connect(database_urls.superuser_url)
    try:
        await connection.execute("update fanfold.upstreams set url = $1 where id = $2", url, made["id"])
    finally:
        await connection.close()
    assert await failed(tenant, upstreams=["changed"]) == {"forbidden-address"}
