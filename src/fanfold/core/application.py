"""FastAPI, without what stands around its middlewares."""

from typing import Any

import fastapi.encoders
import fastapi.utils
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.datastructures import State
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fanfold.core.startup import StartupErrors


def _is_never(_: object) -> bool:
    return False


# To refuse what is of Pydantic 1, FastAPI imports it: for the first field of a route, and for the first value that its
# encoder does not know. Nothing here is of it, and it is 1.6 MB and some 30 ms of every server.
for _asking, _name in (
    (fastapi.utils, "annotation_is_pydantic_v1"),
    (fastapi.encoders, "is_pydantic_v1_model_instance"),
):
    setattr(_asking, _name, _is_never)


class PlainState(State):
    """Keeps what it is given where Python looks first: Starlette's asks a dictionary, by a call each time."""

    def __init__(self) -> None:
        super().__init__(vars(self))


class Application(FastAPI):
    """Hands a request straight to the middlewares it was given.

    FastAPI puts a page for faults, telemetry and a limit of bodies around them. We have all three of our own
    (`TelemetryMiddleware`, `JsonRequest`), and each request would pass through those too.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state = PlainState()

    def build_middleware_stack(self) -> ASGIApp:
        """Return the middlewares around the routes and what renders their errors."""
        app: ASGIApp = ExceptionMiddleware(
            AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers
        )
        for middleware, arguments, options in reversed(self.user_middleware):
            app = middleware(app, *arguments, **options)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket, or live; why it cannot is said in words."""
        if scope["type"] == "lifespan":
            await StartupErrors(super().__call__)(scope, receive, send)
            return
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)
