"""How a request is read: media type, size and time first, then strict JSON, then FastAPI's own validation."""

from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fanfold.core import strict_json
from fanfold.core.config import ServerSettings
from fanfold.core.errors import MalformedRequest, TooLarge, UnsupportedMediaType, ValidationFailed
from fanfold.core.long_json import is_long
from fanfold.core.offload import Offload
from fanfold.core.routing import LateRoute
from fanfold.core.time_limits import within

_LENGTH_DIGITS = 20
_PAGING = frozenset({"skip", "offset", "page"})


def media_type(content_type: bytes) -> str:
    """Return the media type of a `Content-Type`, without its parameters."""
    return str(content_type, "latin-1").partition(";")[0].strip().lower()


class JsonRequest(Request):
    """A request whose body has been read and `decoded` strictly."""

    decoded: Any

    async def json(self) -> Any:
        """Return the body as it was decoded."""
        return self.decoded

    async def load(self, settings: ServerSettings) -> None:
        """Read and decode the body; raises 415, 413 or 400, in this order; 503 where a long one finds no thread."""
        kind = media_type(self._header(b"content-type"))
        if kind != "application/json" and not kind.endswith("+json"):
            raise UnsupportedMediaType("This route takes application/json.")
        await self.load_json(settings)

    async def load_json(self, settings: ServerSettings) -> None:
        """Do the same for a body that is known to be JSON."""
        try:
            async with within(settings.body_timeout_s):
                self._body = await self._read(settings.max_body_bytes)
        except TimeoutError:
            raise MalformedRequest(
                "The body did not arrive in time.", headers={"Connection": "close"}
            ) from None
        except ClientDisconnect:
            raise MalformedRequest("The client left before the body was complete.") from None
        if is_long(self._body):
            offload: Offload = self.app.state.offload
            self.decoded = await offload.run(strict_json.loads, self._body)
        else:
            self.decoded = strict_json.loads(self._body)

    def _header(self, name: bytes) -> bytes:
        """Return the first of that name, or nothing: Starlette's look-up would make an object for each request."""
        for given, value in self.scope["headers"]:
            if given == name:
                found: bytes = value
                return found
        return b""

    async def _read(self, max_bytes: int) -> bytes:
        declared = self._header(b"content-length") or b"0"
        body = bytearray()
        # A length that is no number, or of more digits than any memory has, was written by no server: it is counted.
        if not declared.isdigit() or len(declared) > _LENGTH_DIGITS or int(declared) <= max_bytes:
            is_whole = False
            while not is_whole and len(body) <= max_bytes:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                is_whole = not message.get("more_body", False)
            if len(body) <= max_bytes:
                return bytes(body)
        # What was not read is not worth reading: the connection ends with the answer.
        raise TooLarge(f"The body is over {max_bytes} bytes.", headers={"Connection": "close"})


class StrictRoute(LateRoute):
    """A route that reads bodies strictly and refuses query parameters it does not know."""

    ignores_unknown_parameters = False

    async def read(self, request: Request) -> Request:
        """Return the request with its body read and decoded."""
        read = JsonRequest(request.scope, request.receive)
        await read.load(request.app.state.settings.server)
        return read

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind our own reading."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        known = frozenset(
            field.alias for dependant in _flat(self.dependant) for field in dependant.query_params
        )

        async def strict(request: Request) -> Response:
            if takes_body:
                request = await self.read(request)
            if not self.ignores_unknown_parameters:
                _check_query(request, known)
            return await handle(request)

        return strict


def _flat(dependant: Any) -> list[Any]:
    return [dependant, *(deep for child in dependant.dependencies for deep in _flat(child))]


def _check_query(request: Request, known: frozenset[str]) -> None:
    given = request.query_params.multi_items()
    if any("\x00" in value for _, value in given):
        raise MalformedRequest("A query parameter holds NUL.")
    unknown = [name for name, _ in given if name not in known]
    if not unknown:
        return
    hint = " Lists are paged by `cursor`." if _PAGING.intersection(unknown) else ""
    allowed = ", ".join(sorted(known)) or "none"
    message = f"Unknown query parameter. Known here: {allowed}.{hint}"
    errors = [{"loc": ["query", "*"], "msg": message, "type": "extra_forbidden"}]
    raise ValidationFailed(message, errors=errors)
