"""Limits by client address: whose, how many, and what is answered beyond."""

import asyncio
import sys
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import ValidationError

from fanfold.core import lazily
from fanfold.core.config import IdentitySettings
from fanfold.core.problems import install_problem_handlers
from fanfold.users.limiter import AddressLimiter


def _app(rate: str, *networks: str) -> FastAPI:
    app = FastAPI()

    async def endpoint(request: Request) -> dict[str, str]:
        return {"path": request.url.path}

    limited = AddressLimiter([ip_network(each) for each in networks]).limit(rate)(endpoint)
    for path in ("/one", "/alias"):
        app.add_api_route(path, limited, methods=["POST"])
    install_problem_handlers(app)
    return app


async def _ask(app: FastAPI, address: str, path: str = "/one", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(path, headers=headers)


async def test_so_many_pass_on_all_paths_together_and_others_have_their_own():
    app = _app("2/hour")
    answers = [await _ask(app, "192.0.2.1", path) for path in ("/one", "/alias", "/alias")]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate-limited"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 3600
    assert (await _ask(app, "192.0.2.2")).status_code == 200


async def test_the_first_requests_of_all_are_counted_once_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lazily, "_imported", set())  # all wait for the import
    monkeypatch.delitem(sys.modules, "fanfold.users.address_counts", raising=False)
    app = _app("3/hour")
    answers = await asyncio.gather(*[_ask(app, "192.0.2.1") for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429]


async def test_no_file_of_the_folder_switches_a_limit_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    app = _app("1/hour")
    (tmp_path / ".env").write_text("RATELIMIT_ENABLED=false")
    monkeypatch.chdir(tmp_path)
    assert [(await _ask(app, "192.0.2.1")).status_code for _ in range(2)] == [200, 429]


def test_an_endpoint_that_takes_no_request_is_refused_at_once():
    async def endpoint() -> None:
        raise AssertionError("never asked")

    with pytest.raises(TypeError, match="endpoint takes no `request`"):
        AddressLimiter([]).limit("1/hour")(endpoint)


async def test_each_application_counts_by_itself():
    for app in (_app("1/hour"), _app("1/hour")):
        assert (await _ask(app, "192.0.2.1")).status_code == 200


async def test_an_address_of_version_6_is_its_network():
    app = _app("1/hour")
    assert (await _ask(app, "2001:db8::1")).status_code == 200
    assert (await _ask(app, "2001:db8::2")).status_code == 429


async def test_a_forwarded_address_counts_from_our_own_proxies_alone():
    forwarded = {"X-Forwarded-For": "198.51.100.7"}
    trusting, other = _app("1/hour", "192.0.2.0/24"), _app("1/hour")
    assert (await _ask(trusting, "192.0.2.1")).status_code == 200
    assert (await _ask(trusting, "192.0.2.1", **forwarded)).status_code == 200
    assert (await _ask(other, "192.0.2.1")).status_code == 200
    assert (await _ask(other, "192.0.2.1", **forwarded)).status_code == 429


@pytest.mark.parametrize(
    "rate", ["", "many", "10", "0/minute", "10/fortnight", "10 per minute; drop", "1٠/minute"]
)
def test_a_rate_that_slowapi_would_pass_over_is_no_setting(rate):
    with pytest.raises(ValidationError):
        IdentitySettings(login_rate=rate)
