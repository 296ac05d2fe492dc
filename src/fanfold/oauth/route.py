"""OAuth endpoints: a small form in, JSON out, refusals as RFC 6749 has them."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from fanfold.core.errors import FanfoldError, NotReady, Overloaded, RateLimited
from fanfold.core.requests import StrictRoute
from fanfold.oauth.errors import InvalidRequest, OAuthError, TemporarilyUnavailable, TooManyTries

MAX_FORM_BYTES = 16 * 1024
MAX_FIELDS = 50
FORM = "application/x-www-form-urlencoded"
_MALFORMED = frozenset({400, 413, 415, 422})
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthRoute(StrictRoute):
    """Reads the form before FastAPI does: bounded, UTF-8, no parameter twice; answers every refusal as OAuth's."""

    ignores_unknown_parameters = True

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler between our reading and our refusals."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except (RequestValidationError, FanfoldError) as error:
                refused = _as_oauth_has_it(error)
                if refused is None:
                    raise
                # Raised, not answered here: what was written before a refusal is rolled back.
                raise refused from None

        return guarded

    async def read(self, request: Request) -> Request:
        """Return the request with its form checked and read."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise InvalidRequest(f"Send the parameters as {FORM}.")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                raise InvalidRequest(
                    f"The form is over {MAX_FORM_BYTES} bytes.", headers={"Connection": "close"}
                )
        _check(bytes(body))
        return _Read(request, bytes(body))


class _Read(Request):
    """A request whose body was read already."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._body = body


def _check(body: bytes) -> None:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise InvalidRequest("The form is not UTF-8, or has too many parameters.") from None
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise InvalidRequest("A parameter holds NUL.")
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidRequest("A parameter is given twice.")


def _as_oauth_has_it(error: RequestValidationError | FanfoldError) -> OAuthError | None:
    match error:
        case RequestValidationError():
            return InvalidRequest("A parameter is missing or too long.")
        case RateLimited():
            return TooManyTries(error.detail, headers=error.headers)
        case Overloaded() | NotReady():
            return TemporarilyUnavailable(error.detail, headers=error.headers)
        case FanfoldError() if error.status in _MALFORMED:
            return InvalidRequest(error.detail)
    return None


def refusal(error: OAuthError) -> Response:
    """Return a refusal as RFC 6749 has it."""
    content = {"error": error.code, "error_description": error.description}
    return Response(orjson.dumps(content), error.status, {**NO_STORE, **error.headers}, "application/json")


async def answer_refusal(_request: Request, error: Exception) -> Response:
    """Answer an `OAuthError`, once the endpoint's session has been rolled back."""
    assert isinstance(error, OAuthError)  # noqa: S101 (registered for this class alone)
    return refusal(error)
