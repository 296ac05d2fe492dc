"""FastAPI, without what stands around its middlewares."""

from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.datastructures import State
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fanfold.core.lazily import imported_meanwhile
from fanfold.core.startup import StartupErrors


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
            # FastAPI asks of each field of a route whether it is of Pydantic 1, and imports that to know.
            async with imported_meanwhile("pydantic.v1"):
                await StartupErrors(super().__call__)(scope, receive, send)
            return
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)
