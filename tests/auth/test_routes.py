"""What the table says is what the router would do, whichever way it is looked up."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI

from fanfold.auth.principal import Scope
from fanfold.auth.requirements import Requirement
from fanfold.auth.routes import RouteTable

JOBS, KEYS = Requirement(Scope.JOBS), Requirement(Scope.KEYS_WRITE)


def scope(path, method="GET", kind="http", root=""):
    return {"type": kind, "method": method, "path": path, "root_path": root}


@pytest.fixture
def table():
    inner = APIRouter()
    inner.add_api_route("/things", lambda: None, methods=["GET"], dependencies=[Depends(JOBS)])
    inner.add_api_route("/things", lambda: None, methods=["POST"], dependencies=[Depends(KEYS)])
    inner.add_api_route("/things/{thing_id}", lambda: None, methods=["GET"], dependencies=[Depends(JOBS)])
    inner.add_api_route("/things/new", lambda: None, methods=["GET"], dependencies=[Depends(KEYS)])
    inner.add_api_route("/open", lambda: None)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(inner, prefix="/v1")
    return RouteTable(app.routes, public=frozenset({"/v1/open"}))


def test_a_path_has_the_requirement_of_its_method(table):
    assert table.match(scope("/v1/things")).requirement is JOBS
    assert table.match(scope("/v1/things", "POST")).requirement is KEYS
    assert table.match(scope("/v1/things/7")).path == "/v1/things/{thing_id}"


def test_of_two_routes_that_fit_it_is_the_first_as_for_the_router(table):
    assert table.match(scope("/v1/things/new")).requirement is JOBS


@pytest.mark.parametrize(
    ("path", "method"), [("/v1/open", "GET"), ("/v1/things", "PUT"), ("/v1/nothing", "GET"), ("/", "GET")]
)
def test_what_is_public_or_not_there_has_none(table, path, method):
    assert table.match(scope(path, method)) is None


def test_a_path_that_is_written_otherwise_is_judged_by_the_pattern(table):
    assert table.match(scope("/v1/things\n")).requirement is JOBS  # `$` lets it pass, for the router too
    assert table.match(scope("/proxied/v1/things", root="/proxied")).requirement is JOBS


def test_a_socket_is_no_get(table):
    assert table.match(scope("/v1/things", kind="websocket")) is None


class _Guarded:
    def __init__(self, _principal: Annotated[object, Depends(JOBS)]) -> None: ...


async def _needing(_inner: Annotated[_Guarded, Depends()]) -> None: ...


@pytest.mark.parametrize(
    "depends",
    [
        {"annotation": Annotated[object, Depends(JOBS)]},
        {"default": Depends(JOBS)},
        {"annotation": Annotated[_Guarded, Depends()]},
        {"annotation": _Guarded, "default": Depends()},
        {"annotation": "Annotated[_Guarded, Depends()]"},
        {"annotation": Annotated[None, "more", Depends(_needing)]},
    ],
)
def test_a_requirement_is_found_wherever_fastapi_would_call_it(depends):
    async def endpoint(given):
        return given

    endpoint.__annotations__ = {"given": depends["annotation"]} if "annotation" in depends else {}
    endpoint.__defaults__ = (depends["default"],) if "default" in depends else None
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/things", endpoint)
    found = RouteTable(app.routes, public=frozenset()).match(scope("/things"))
    assert found is not None
    assert found.requirement == JOBS
