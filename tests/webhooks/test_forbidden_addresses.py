"""Every spelling of a forbidden address as a webhook's: registered, looked up, rebound, redirected to."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from fanfold.core.config import FanOutSettings
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.webhooks.sender import Event, Sender
from fanfold.webhooks.signing import make_secret
from tests.adversarial.forbidden_addresses import NAMES, Listeners, literals, numeric
from tests.fanout.transports.calling import FixedResolver
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect
from tests.fixtures.figures import Figures
from tests.webhooks.receiver import Receiver

ZOO_ALONE = AddressGuard([ip_network("127.0.0.1/32")])
KEYS = [make_secret()]
REDIRECTS = (301, 302, 303, 307, 308)


@pytest.fixture
async def listeners() -> AsyncIterator[Listeners]:
    async with Listeners() as listeners:
        yield listeners
    assert (listeners.connections, listeners.dials) == (0, [])


@pytest.fixture
async def strict(database_urls: TestDatabase, tmp_path: Path) -> AsyncIterator[Product]:
    settings = product_settings(database_urls, mail=tmp_path / "mail")
    async with running_product(
        database_urls, settings.model_copy(update={"fan_out": FanOutSettings()})
    ) as product:
        yield product


def event() -> Event:
    return Event(id=uuid4(), body="{}")


async def test_registered(strict: Product, listeners: Listeners, figures: Figures):
    tenant = await strict.tenant()
    made = await tenant.http.post("/v1/webhooks", json={"url": "https://example.com/"})
    changed, asked, taken = f"/v1/webhooks/{made.json()['id']}", 0, 0
    for host in [*literals(), *NAMES]:
        for scheme in ("https", "http"):
            url = f"{scheme}://{host}:{listeners.port}/hook"
            asked += 1
            answer = await tenant.http.post("/v1/webhooks", json={"url": url})
            patched = await tenant.http.patch(changed, json={"url": url})
            if answer.status_code == 422:
                assert patched.status_code == 422
                assert url not in answer.text + patched.text
                continue
            taken += 1
            assert answer.status_code == 201, (url, answer.text)
            path = f"/v1/webhooks/{answer.json()['id']}"
            tried = (await tenant.http.post(f"{path}/test")).json()
            assert not tried["success"]
            assert tried["status_code"] is None
            await tenant.http.delete(path)
    assert taken <= len(NAMES)
    figures(
        f"forbidden addresses, webhooks: {asked} URLs, {asked - taken} refused at once, {taken} names when dialled; "
        f"connections {listeners.connections}"
    )


@pytest.mark.parametrize("kind", sorted(TRANSPORTS))
async def test_looked_up_and_rebound(kind: str, listeners: Listeners, figures: Figures):
    async with Receiver() as receiver:
        for address in numeric():
            resolver = FixedResolver(["127.0.0.1"], [address])
            carrier = transport(kind, guard=ZOO_ALONE, max_connections=9, resolver=resolver)
            sender = Sender(carrier)
            first = await sender.send(receiver.url("close", host="rebind.test"), event(), KEYS)
            assert first.is_delivered
            second = await sender.send(f"http://rebind.test.:{listeners.port}/", event(), KEYS)
            assert second.status_code is None
            assert second.error is not None
            await carrier.aclose()
    figures(
        f"forbidden addresses, webhooks, DNS and rebinding, {kind}: {len(numeric())} names, connections "
        f"{listeners.connections}"
    )


@pytest.mark.parametrize("kind", sorted(TRANSPORTS))
async def test_redirected_to(kind: str, listeners: Listeners, figures: Figures):
    hosts = [*literals(), *NAMES]
    async with Receiver() as receiver:
        carrier = transport(kind, guard=AddressGuard([ip_network("127.0.0.0/8")]), max_connections=9)
        for number, host in enumerate(hosts):
            target = f"http://{host}:{listeners.port}/".encode()
            code = REDIRECTS[number % len(REDIRECTS)]
            attempt = await Sender(carrier).send(
                receiver.url("redirect", to=target, code=code), event(), KEYS
            )
            assert attempt.status_code == code
            assert not attempt.is_delivered
        await carrier.aclose()
    figures(
        f"forbidden addresses, webhooks, redirects, {kind}: {len(hosts)}, connections {listeners.connections}"
    )


@pytest.mark.parametrize("url", ["http://example.com/hook", "https://example.com:25/hook"])
async def test_without_tls_or_at_another_port(strict: Product, url: str):
    refused = await (await strict.tenant()).http.post("/v1/webhooks", json={"url": url})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "url"]


async def test_written_into_the_database_by_somebody_else(strict: Product, listeners: Listeners):
    tenant = await strict.tenant()
    made = (await tenant.http.post("/v1/webhooks", json={"url": "https://example.com/"})).json()
    connection = await connect(strict.database.superuser_url)
    try:
        url = f"https://127.0.0.2:{listeners.port}/"
        await connection.execute("update fanfold.webhooks set url = $1 where id = $2", url, UUID(made["id"]))
    finally:
        await connection.close()
    tried = (await tenant.http.post(f"/v1/webhooks/{made['id']}/test")).json()
    assert "may not have" in tried["error"]
