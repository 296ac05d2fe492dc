"""The application is FastAPI but for what stands around its middlewares."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import Request, UploadFile
from fastapi.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fanfold.core.application import Application
from fanfold.core.errors import NotReady
from fanfold.core.problems import install_problem_handlers


class Marks:
    """Writes its name into the scope as a request passes (pure ASGI)."""

    def __init__(self, app: ASGIApp, *, name: str) -> None:
        self._app, self._name = app, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        scope.setdefault("marks", []).append(self._name)
        await self._app(scope, receive, send)


@pytest.fixture
def app() -> Application:
    made = Application(middleware=[Middleware(Marks, name="outer"), Middleware(Marks, name="inner")])

    @made.get("/marks")
    async def marks(request: Request) -> list[str]:
        marked: list[str] = request.scope["marks"]
        assert request.app is made
        return marked

    @made.post("/file")
    async def file(file: UploadFile) -> str:
        return (await file.read()).decode()

    @made.get("/fault")
    async def fault() -> None:
        raise RuntimeError("hunter2")

    install_problem_handlers(made)
    return made


@pytest.fixture
def client(app: Application) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_middlewares_are_passed_in_order(client: httpx.AsyncClient) -> None:
    assert (await client.get("/marks")).json() == ["outer", "inner"]


async def test_errors_are_rendered_and_files_taken(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nothing")).json()["code"] == "not-found"
    assert (await client.post("/file")).json()["code"] == "validation"
    assert (await client.post("/file", files={"file": ("a.txt", "文".encode())})).json() == "文"


async def test_a_fault_is_left_to_the_middlewares(client: httpx.AsyncClient) -> None:
    with pytest.raises(RuntimeError, match="hunter2"):
        await client.get("/fault")


async def test_a_failed_start_is_explained() -> None:
    @asynccontextmanager
    async def failing(_app: object) -> AsyncIterator[None]:
        raise NotReady("The database cannot be reached.")
        yield

    sent: list[dict[str, str]] = []

    async def receive() -> dict[str, str]:
        if sent:
            await asyncio.Event().wait()
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    with pytest.raises(NotReady):
        await Application(lifespan=failing)({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]  # plain messages
    assert sent == [
        {"type": "lifespan.startup.failed", "message": "Cannot start. The database cannot be reached."}
    ]


def test_its_state_is_read_without_asking_starlettes(app: Application) -> None:
    app.state.first = 1
    app.state["second"] = 2
    assert (app.state["first"], app.state.second) == (1, 2)
    assert {"first": 1, "second": 2}.items() <= vars(app.state).items()
    del app.state.first
    with pytest.raises(AttributeError, match="no attribute 'first'"):
        _ = app.state.first
