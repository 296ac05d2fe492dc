"""The short way to a route: what is asked for most is answered without the framework's solving of dependencies."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import FanfoldError
from fanfold.core.paths import path_below_root
from fanfold.core.problems import problem
from fanfold.core.requests import JsonRequest, media_type
from fanfold.core.schemas import BodyModel

_JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Direct:
    """What answers a path: the model of its body, and the function that is given the request and the valid body."""

    model: type[BodyModel]
    answer: Callable[[Request, Any], Awaitable[Response]]

    def __post_init__(self) -> None:
        self.model.build()  # at the start: the first request shall not wait for it


class DirectMiddleware:
    """Pure ASGI, innermost. Answers the POST of a path of `answers` that brings nothing but a body of JSON.

    The documented route stays, and answers the same: by it goes what only the framework reads, which is a query, one of
    `headers` or another media type, what turns out not to be valid, so that there is one place that says why, and
    everything while a test overrides a dependency. Routing, dependencies and validation by FastAPI were about a third
    of what a request of one chunk cost (docs/decisions/hot-path.md).
    """

    def __init__(self, app: ASGIApp, *, answers: Mapping[str, Direct], headers: frozenset[bytes]) -> None:
        self._app, self._answers, self._headers = app, answers, headers

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request, or pass it on."""
        direct = self._direct(scope)
        if direct is None:
            return self._app(scope, receive, send)
        return self._answer(direct, scope, receive, send)

    async def _answer(self, direct: Direct, scope: Scope, receive: Receive, send: Send) -> None:
        request = JsonRequest(scope, receive)
        try:
            await request.load_json(scope["app"].state.settings.server)
            body = _valid(direct.model, request.decoded)
            # What is not valid: nothing was begun that would be begun anew.
            response = None if body is None else await direct.answer(request, body)
        except FanfoldError as error:
            response = problem(error, scope)
        if response is None:
            await self._app(scope, _again(await request.body(), receive), send)
        else:
            await response(scope, receive, send)

    def _direct(self, scope: Scope) -> Direct | None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
            return None
        answer = self._answers.get(path_below_root(scope))
        if answer is None or scope["app"].dependency_overrides:
            return None
        content_type = None
        for name, value in scope["headers"]:
            if name in self._headers or (name == b"content-type" and content_type is not None):
                return None
            if name == b"content-type":
                content_type = value
        return answer if content_type is not None and _is_json(content_type) else None


def _valid(model: type[BodyModel], decoded: Any) -> BodyModel | None:
    try:
        return model.model_validate(decoded, from_attributes=True)
    except ValidationError:
        return None


def _is_json(content_type: bytes) -> bool:
    return content_type == _JSON or media_type(content_type) == _JSON.decode()


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what receives a body anew that has been read, and then goes on."""
    is_read = False

    async def received() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return received
