from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.routing import APIRoute

from fanfold.core.routing import Router


class _Route(APIRoute):
    made = 0

    def __init__(self, *given, **options):
        _Route.made += 1
        super().__init__(*given, **options)


def _router() -> Router:
    router = Router(prefix="/v1/things", tags=["Things"], route_class=_Route, responses={403: {}})

    @router.get("/{number}", tags=["One"], responses={404: {}})
    async def thing(number: int) -> int:
        return number

    @router.websocket("/ws")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("好")
        await socket.close()

    return router


async def _get(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


@pytest.fixture(autouse=True)
def _made():
    _Route.made = 0


async def test_each_route_is_built_once_by_each_application():
    router = _router()
    assert (_Route.made, router.routes) == (0, [])
    apps = [FastAPI(), FastAPI()]
    for app in apps:
        router.put_into(app)
        assert (await _get(app, "/v1/things/7")).json() == 7
        assert app.openapi()["paths"].keys() == {"/v1/things/{number}"}
    assert _Route.made == 2


def test_routes_have_what_is_said_of_the_router_and_of_themselves():
    app = FastAPI(generate_unique_id_function=lambda route: f"{route.name} of the app")
    _router().put_into(app)
    (said,) = app.openapi()["paths"]["/v1/things/{number}"].values()
    assert said["tags"] == ["Things", "One"]
    assert said["responses"].keys() == {"200", "403", "404", "422"}
    assert said["operationId"] == "thing of the app"


@pytest.mark.parametrize("hides", [Router(include_in_schema=False), Router()])
def test_what_is_not_to_be_shown_is_not(hides: Router):
    app, is_shown = FastAPI(), not hides.include_in_schema

    @hides.get("/hidden", include_in_schema=is_shown)
    async def hidden() -> None:
        return None

    hides.put_into(app)
    assert app.openapi()["paths"] == {}


async def test_a_socket_is_served():
    app, said = FastAPI(), []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    _router().put_into(app)
    asked = {"type": "websocket", "path": "/v1/things/ws", "headers": [], "query_string": b""}
    await app(asked, receive, send)
    assert [message.get("text") for message in said] == [None, "好", None]


@pytest.mark.parametrize(
    "put",
    [
        lambda router: router.add_route("/raw", lambda _: None),
        lambda router: router.mount("/more", FastAPI()),
    ],
)
def test_what_would_be_lost_is_refused(put):
    router = _router()
    put(router)
    with pytest.raises(TypeError, match="decorators"):
        router.put_into(FastAPI())
