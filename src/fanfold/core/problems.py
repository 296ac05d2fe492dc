"""Errors become RFC 9457 problems here, and nowhere else."""

from collections.abc import Iterable, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, get_args

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from fanfold.core.errors import (
    FanfoldError,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    ValidationFailed,
)
from fanfold.core.identifiers import uuid7_text
from fanfold.core.paths import allowed_methods
from fanfold.core.routing import Router
from fanfold.core.schemas import StrictModel

MEDIA_TYPE = "application/problem+json"
MAX_LISTED_ERRORS = 20
_DAY = "Send a day, for example 2026-11-22"
_MESSAGES = {
    "uuid_parsing": "Input should be a valid UUID",  # pydantic's own repeats a character of the input
    "model_attributes_type": "Input should be an object",
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
}
_PLACES = frozenset({"body", "query", "path", "header"})


def problem(error: FanfoldError, scope: Scope) -> Response:
    """Return the answer for `error`: a problem that names the request and repeats nothing of it."""
    server_id: str = scope.get("state", {}).get("server_id") or uuid7_text()
    headers = error.headers
    if isinstance(error, NotAuthenticated):
        headers = {"WWW-Authenticate": "Bearer", **headers}
    return Response(problem_content(error, server_id), error.status, headers, MEDIA_TYPE)


def problem_content(error: FanfoldError, server_id: str) -> bytes:
    """Return the problem's JSON; `server_id` is the request's own id."""
    content = {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": f"urn:uuid:{server_id}",
        "code": error.code,
        **error.members,
    }
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


def _known_names(model: type[StrictModel] = StrictModel) -> Iterable[str]:
    for child in model.__subclasses__():
        for name, field in child.model_fields.items():
            yield name
            if isinstance(field.alias, str):
                yield field.alias
        yield from _known_names(child)


def _location(loc: Sequence[Any], known: frozenset[str]) -> list[str | int]:
    # A client's own member names are input too: what no schema knows is shown as "*". Parameters are ours.
    is_ours = loc[0] != "body"
    return [part if is_ours or isinstance(part, int) or part in known else "*" for part in loc]


def _models(annotation: Any) -> list[type[StrictModel]]:
    """Return the bodies among a type and its arguments, as in `list[Body] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _members(annotation: Any, loc: Sequence[Any]) -> list[str]:
    """Return the names that an object at `loc` of a body may have; none where that is unclear."""
    models = _models(annotation)
    for name in loc:
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        models = [model for field in fields for model in _models(field.annotation)]
    return sorted({name for model in models for name in model.model_fields})


def _message(error: Any, body: Any) -> str:
    if error["type"] == "extra_forbidden" and (members := _members(body, error["loc"][1:-1])):
        return f"Unknown member. Known here: {', '.join(members)}."
    return str(_MESSAGES.get(error["type"], error["msg"])).removeprefix("Value error, ")


def _validation_problem(errors: Sequence[Any], known: frozenset[str], body: Any) -> ValidationFailed:
    listed = [
        {"loc": _location(error["loc"], known), "msg": _message(error, body), "type": error["type"]}
        for error in errors[:MAX_LISTED_ERRORS]
    ]
    return ValidationFailed(f"{len(errors)} error(s) in the request; see `errors`.", errors=listed)


def invalid_frame(error: ValidationError, model: type[StrictModel]) -> ValidationFailed:
    """Return the 422 for a message that is no `model`, just as it would be for a request's body."""
    errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
    return _validation_problem(errors, _known(), model)


@cache
def _known() -> frozenset[str]:
    return frozenset({*_known_names(), *_PLACES})


def install_problem_handlers(app: FastAPI) -> None:
    """Render every error of `app` as a problem. Call it when all routers are in, so that all schemas are known."""
    known = frozenset({*_known_names(), *_PLACES})

    async def own(request: Request, error: Exception) -> Response:
        assert isinstance(error, FanfoldError)  # noqa: S101 (registered for this class alone)
        return problem(error, request.scope)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this class alone)
        field = getattr(request.scope.get("route"), "body_field", None)
        body = field.field_info.annotation if field else None
        return problem(_validation_problem(error.errors(), known, body), request.scope)

    async def starlette(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class alone)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error.headers = {"Allow": allowed_methods(app.routes, request.scope)}
        return problem(_from_starlette(error), request.scope)

    app.add_exception_handler(FanfoldError, own)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, starlette)


def _from_starlette(error: HTTPException) -> FanfoldError:
    headers = dict(error.headers or {})
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFound(
                "There is nothing at this path. `GET /` names the documentation.", headers=headers
            )
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return MethodNotAllowed("This path does not take this method.", headers=headers)
        case HTTPStatus.BAD_REQUEST:
            return MalformedRequest("The request could not be read.", headers=headers)
        case _:
            return InternalError("Something went wrong on our side.")


def _catalogue(error: type[FanfoldError] = FanfoldError) -> dict[str, type[FanfoldError]]:
    found: dict[str, type[FanfoldError]] = {}
    for child in error.__subclasses__():
        found |= _catalogue(child)
    return found | {error.code: error}  # a special case of an error does not explain the whole of it


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font-family:system-ui;max-width:40em;margin:4em auto;line-height:1.5">
<h1>{title}</h1><p><code>{code}</code>, HTTP status {status}</p><h2>What it means</h2><p>{meaning}</p>
<h2>What to do</h2><p>{advice}</p></body></html>"""
_LIST = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Problems</title>
<body style="font-family:system-ui;max-width:40em;margin:4em auto;line-height:1.5">
<h1>Problems</h1><ul>{rows}</ul></body></html>"""

_STYLED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}

router = Router(tags=["Operation"], include_in_schema=False)


@router.get("/problems")
async def problem_list() -> HTMLResponse:
    """List every problem, with a link to its page."""
    rows = [
        f'<li><a href="problems/{code}">{code}</a>, HTTP status {error.status}: {error.title}</li>'
        for code, error in sorted(_catalogue().items(), key=lambda item: (item[1].status, item[0]))
    ]
    return HTMLResponse(_LIST.format(rows="".join(rows)), headers=_STYLED)


@router.get("/problems/{code}")
async def problem_page(code: str) -> HTMLResponse:
    """Explain a problem: what it means and what to do."""
    error = _catalogue().get(code)
    if error is None:
        raise NotFound("There is no such problem. `GET /problems` lists them.")
    meaning = (error.__doc__ or "").split("\n\n")[0]
    page = _PAGE.format(
        title=error.title, code=code, status=error.status, meaning=meaning, advice=error.advice
    )
    return HTMLResponse(page, headers=_STYLED)
