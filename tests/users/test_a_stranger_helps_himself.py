"""From nothing to a folded answer over real HTTP, with a mailbox and no operator anywhere."""

import asyncio
import email
import email.policy
import secrets
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.database import TestDatabase
from tests.fixtures.server_processes import ServerProcess
from tests.users.mailbox import new_address, token_of
from tests.zoo import Zoo

PASSWORD = "sieben grüne Drachen 七只"
MAIL_WITHIN_S = 60


@pytest.fixture
async def server(database_urls: TestDatabase, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    settings = {"mail_url": f"file://{tmp_path / 'mails'}", "jwt_algorithm": "ES256"}
    server = ServerProcess(database_urls, tmp_path / "server.log", **settings)  # type: ignore[arg-type] # settings
    try:
        await asyncio.to_thread(lambda: server.start().wait())
        yield server
    finally:
        await asyncio.to_thread(server.kill)


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


async def mail_to(server: ServerProcess, address: str) -> EmailMessage:
    """Return the first mail to an address, once it has come."""
    folder = server.log.parent / "mails"
    async with asyncio.timeout(MAIL_WITHIN_S):
        while True:
            for file in folder.glob("*.eml"):
                mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
                if isinstance(mail, EmailMessage) and mail["To"] == address:
                    return mail
            await asyncio.sleep(0.05)


async def post(http: httpx.AsyncClient, path: str, status: int, **more: Any) -> Any:
    answer = await http.post(path, **more)
    assert answer.status_code == status, f"{path}: {answer.text}"
    return answer.json() if answer.content else None


async def register(server: ServerProcess, http: httpx.AsyncClient, **members: str) -> str:
    """Register somebody new, read the mail, and prove the address; returns it."""
    address = new_address()
    wanted = {"email": address, "password": PASSWORD, **members}
    await post(http, "/v1/auth/register", 202, json=wanted)
    await post(http, "/v1/auth/verify", 204, json={"token": token_of(await mail_to(server, address))})
    return address


async def sign_in(http: httpx.AsyncClient, address: str, **form: str) -> dict[str, str]:
    """Sign in; returns the headers of whoever has."""
    form = {"grant_type": "password", "username": address, "password": PASSWORD, **form}
    tokens = await post(http, "/v1/auth/token", 200, data=form)
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def works(http: httpx.AsyncClient, owner: dict[str, str], upstream: str) -> dict[str, Any]:
    """Make an upstream and a key, and process a text with the key; returns the usage that the owner sees."""
    made = {"slug": "zoo", "kind": "http_json", "url": upstream}
    await post(http, "/v1/upstreams", 201, json=made, headers=owner)
    wanted = {"name": "first", "scopes": ["process"]}
    key = (await post(http, "/v1/api-keys", 201, json=wanted, headers=owner))["key"]
    text = {"text": "先展开，再折叠。Fan out, then fold.", "split": {"by": "sentences", "size": 20}}
    answer = await post(http, "/v1/process", 200, json=text, headers={"X-API-Key": key})
    assert (answer["status"], answer["successful"]) == ("succeeded", 2)
    usage = await http.get("/v1/usage", headers=owner)
    return dict(usage.json())


async def test_with_a_tenant_named_at_registration(server: ServerProcess, http: httpx.AsyncClient):
    async with Zoo() as zoo:
        address = await register(server, http, tenant_name="Ada's 工作室")
        owner = await sign_in(http, address)
        (tenant,) = (await http.get("/v1/me/tenants", headers=owner)).json()["data"]
        assert (tenant["name"], tenant["role"]) == ("Ada's 工作室", "owner")
        usage = await works(http, owner, zoo.url("ok"))
        assert (usage["granted"], usage["used"], zoo.requests["ok"]) == (1000, 2, 2)


async def test_with_a_tenant_founded_afterwards(server: ServerProcess, http: httpx.AsyncClient):
    async with Zoo() as zoo:
        address = await register(server, http)
        person = await sign_in(http, address)
        assert (await http.get("/v1/me", headers=person)).json()["email"] == address
        assert (await http.get("/v1/usage", headers=person)).status_code == 403
        slug = f"t{secrets.token_hex(6)}"
        await post(http, "/v1/tenants", 201, json={"name": "Ада", "slug": slug}, headers=person)
        owner = await sign_in(http, address, tenant=slug)
        usage = await works(http, owner, zoo.url("ok"))
        assert (usage["granted"], usage["used"]) == (1000, 2)
