"""`GET /healthz`: the process is alive. `GET /readyz`: it can serve."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from fanfold.core.drain import Drain
from fanfold.core.errors import Draining, NotReady
from fanfold.core.paths import path_below_root
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.core.telemetry.logging import get_logger

Check = Callable[[], Awaitable[bool]]

_log = get_logger("fanfold.health")


class Health(BaseModel):
    """The answer of a server that is well."""

    status: str = "ok"


_ALIVE = orjson.dumps(Health().model_dump())
_ALIVE_HEADERS = ((b"content-length", b"%d" % len(_ALIVE)), (b"content-type", b"application/json"))


class LivenessMiddleware:
    """Pure ASGI. Answers `GET /healthz` before anything that could be at fault: the process is alive, stopping or not.

    What asks for it most often are probes and balancers: it is counted and logged like any request, and no more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["method"] == "GET" and path_below_root(scope) == "/healthz":
            return _say_alive(scope, send)
        return self._app(scope, receive, send)


async def _say_alive(scope: Scope, send: Send) -> None:
    scope["state"]["route"] = "/healthz"
    await send({"type": "http.response.start", "status": 200, "headers": _ALIVE_HEADERS})
    await send({"type": "http.response.body", "body": _ALIVE})


class Readiness:
    """Asks all checks at once, each within `deadline_s`, and keeps the answer for `keep_s`.

    It is open to anybody and not rate limited, so that many askers at once must cost one asking.
    """

    def __init__(self, checks: Mapping[str, Check], *, deadline_s: float = 2.0, keep_s: float = 0.5) -> None:
        self._checks = checks
        self._deadline_s = deadline_s
        self._keep_s = keep_s
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._failed: list[str] = []

    async def failed(self) -> list[str]:
        """Return the names of the checks that do not hold."""
        async with self._asking:  # held for at most deadline_s
            if time.monotonic() - self._asked_at >= self._keep_s:
                async with asyncio.TaskGroup() as group:
                    asked = {name: group.create_task(self._ask(name)) for name in self._checks}
                self._failed = [name for name, task in asked.items() if not task.result()]
                self._asked_at = time.monotonic()
            return self._failed

    async def _ask(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._checks[name]()
        except Exception as error:  # noqa: BLE001 - a check that cannot answer does not hold, whatever it raises
            _log.warning("A readiness check failed.", check=name, exc_info=error)
            return False


def health_router(checks: Mapping[str, Check], drain: Drain, *, deadline_s: float = 2.0) -> Router:
    """Return `/healthz` and `/readyz`; not ready is 503 `not-ready`, with the names of the checks in `failed`.

    While the server stops it is 503 `draining`.
    """
    router = Router(tags=["Operation"])
    readiness = Readiness(checks, deadline_s=deadline_s)

    @router.get("/healthz")
    async def healthz() -> Health:
        """Tell that the process is alive. (The middleware answers; this is where it is documented.)"""
        return Health()

    @router.get("/readyz", responses=problem_responses(503))
    async def readyz() -> Health:
        """Tell whether requests may come: the database answers, and its schema is this version's.

        Where not, `failed` names the checks that do not hold.
        """
        if drain.has_begun:
            raise Draining("The server is stopping.", headers={"Retry-After": "1"})
        if failed := await readiness.failed():
            detail = "The server cannot take requests now. Try again shortly."
            raise NotReady(detail, headers={"Retry-After": "1"}, failed=failed)
        return Health()

    return router
