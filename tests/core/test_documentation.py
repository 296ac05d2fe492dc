import asyncio
import re
import threading
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from fanfold.core.config import ServerSettings, Settings
from fanfold.core.documentation import mount_documentation
from fanfold.core.openapi import install_openapi
from fanfold.core.problems import install_problem_handlers

PAGES = ["/docs", "/redoc"]


def make_app(*, docs: bool = True, title: str = "Fanfold 多语言") -> FastAPI:
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    mount_documentation(app, Settings(server=ServerSettings(docs=docs)))
    install_problem_handlers(app)
    install_openapi(app, schemes={}, security=lambda _method, _path: [])
    return app


def browse(app: FastAPI, *, root_path: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with browse(make_app()) as made:
        yield made


class Loaded(HTMLParser):
    """Collects what a page loads, and whether it holds script of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.addresses += [value for name, value in attrs if name in {"src", "href", "spec-url"} and value]
        self.inline += [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, _tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("path", PAGES)
class TestPage:
    async def test_names_no_address_of_anybody_else(self, client: httpx.AsyncClient, path: str) -> None:
        text = (await client.get(path)).text
        assert not re.search(r"https?:|//|cdn|jsdelivr|unpkg|googleapis|tiangolo", text.replace("</", ""))

    async def test_all_it_loads_is_served_by_us(self, client: httpx.AsyncClient, path: str) -> None:
        page = Loaded()
        page.feed((await client.get(path)).text)
        assert len(page.addresses) >= 3
        for address in page.addresses:
            answer = await client.get(urljoin(path, address))
            assert answer.status_code == 200, address
            assert answer.content

    async def test_holds_no_script_and_a_policy_that_keeps_to_this_server(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        answer = await client.get(path)
        page = Loaded()
        page.feed(answer.text)
        assert page.inline == []
        policy = dict(
            part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert "http" not in answer.headers["content-security-policy"]

    async def test_escapes_the_title(self, path: str) -> None:
        async with browse(make_app(title="<script>alert(1)</script>")) as client:
            assert "<script>alert" not in (await client.get(path)).text

    async def test_its_addresses_hold_below_a_root_path(self, client: httpx.AsyncClient, path: str) -> None:
        page = Loaded()
        page.feed((await client.get(path)).text)
        below = {urljoin(f"https://example.test/api{path}", address) for address in page.addresses}
        assert all(address.startswith("https://example.test/api/") for address in below)


class TestDocument:
    async def test_is_made_once_and_not_on_the_loop(self) -> None:
        app, makers = make_app(), []
        make = app.openapi

        def made() -> dict[str, Any]:
            if app.openapi_schema is None:
                makers.append(threading.current_thread())
            return make()

        app.openapi = made  # type: ignore[method-assign]
        async with browse(app) as client:
            answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(5)))
        assert [answer.json()["info"]["title"] for answer in answers] == ["Fanfold 多语言"] * 5
        assert len(makers) == 1
        assert makers != [threading.current_thread()]

    async def test_names_the_root_path_it_is_served_below(self) -> None:
        app = make_app()
        async with browse(app, root_path="/api") as below, browse(app) as plain:
            assert (await below.get("/api/openapi.json")).json()["servers"] == [{"url": "/api"}]
            assert "servers" not in (await plain.get("/openapi.json")).json()


class TestSwagger:
    async def test_keeps_the_authorization_and_asks_no_validator(self, client: httpx.AsyncClient) -> None:
        script = (await client.get("/docs/assets/start.js")).text
        assert "persistAuthorization: true" in script
        assert "validatorUrl: null" in script
        assert 'url: "openapi.json"' in script


class TestAssets:
    @pytest.mark.parametrize("name", ["", "nothing.js", "../core.py", "%2e%2e/core.py", "..%2f__init__.py"])
    async def test_nothing_else_is_served_and_its_absence_is_a_problem(
        self, client: httpx.AsyncClient, name: str
    ) -> None:
        answer = await client.get(f"/docs/assets/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


class TestSwitch:
    @pytest.mark.parametrize(
        "path", [*PAGES, "/openapi.json", "/docs/assets/swagger-ui.css", "/docs/assets/start.js"]
    )
    async def test_off_hides_everything(self, path: str) -> None:
        async with browse(make_app(docs=False)) as client:
            assert (await client.get(path)).status_code == 404

    @pytest.mark.parametrize(
        "app",
        [
            FastAPI(docs_url=None, redoc_url=None),
            FastAPI(redoc_url=None, openapi_url=None, docs_url="/docs"),
            FastAPI(docs_url=None, openapi_url=None, redoc_url="/redoc"),
        ],
    )
    def test_an_app_that_would_show_its_document_all_the_same_is_refused(self, app: FastAPI) -> None:
        with pytest.raises(ValueError, match="openapi_url=None"):
            mount_documentation(app, Settings(server=ServerSettings(docs=False)))
