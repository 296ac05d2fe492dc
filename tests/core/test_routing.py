import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.routing import APIRoute

from fanfold.core.routing import LateRoute, Router


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


class _Counted(LateRoute):
    built = 0

    def get_route_handler(self):
        _Counted.built += 1
        time.sleep(0.02)  # as long as others need to come upon a half of it
        return super().get_route_handler()


def _late() -> tuple[FastAPI, _Counted]:
    app, router = FastAPI(), Router(prefix="/v1/things", route_class=_Counted)

    @router.put("/{number}")
    async def thing(number: int) -> int:
        return number

    router.put_into(app)
    route = app.routes[-1]
    assert isinstance(route, _Counted)
    return app, route


class TestLateRoute:
    @pytest.fixture(autouse=True)
    def _built(self):
        _Counted.built = 0

    async def test_is_built_by_the_first_request_that_it_answers(self):
        app, route = _late()
        asked = {"type": "http", "method": "PUT", "path": "/v1/things/7", "headers": []}
        assert (route.path, route.name, route.methods) == ("/v1/things/{number}", "thing", {"PUT"})
        assert route.matches(asked)[1]["path_params"] == {"number": "7"}
        assert (await _get(app, "/v1/things/7")).status_code == 405
        assert _Counted.built == 0
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = [await client.put(f"/v1/things/{given}") for given in ("7", "x", "8")]
        assert [answer.status_code for answer in answers] == [200, 422, 200]
        assert _Counted.built == 1

    def test_is_built_by_whoever_asks_what_it_is_made_of(self):
        _, route = _late()
        assert [field.name for field in route.dependant.path_params] == ["number"]
        assert route.unique_id == "thing_v1_things__number__put"
        assert _Counted.built == 1

    def test_is_built_once_by_threads_that_ask_at_once(self):
        _, route = _late()
        together = threading.Barrier(4)

        def ask() -> object:
            together.wait(20)
            return route.dependant

        with ThreadPoolExecutor(4) as threads:
            found = {id(future.result()) for future in [threads.submit(ask) for _ in range(4)]}
        assert len(found) == _Counted.built == 1

    def test_has_no_more_than_any_route(self):
        _, route = _late()
        with pytest.raises(AttributeError, match="nothing"):
            _ = route.nothing
        assert _Counted.built == 0
