"""Routers whose routes are built once, by the application that takes them in."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute


class Router(APIRouter):
    """A part of the application's routes, written with the decorators of FastAPI's own router.

    FastAPI builds the routes of such a one as they are written, and builds them anew where they are included: half of
    it, a tenth of a server's start, is thrown away. Here they are noted, and each is built where it is served.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        tags: list[str | Enum] | None = None,
        route_class: type[APIRoute] = APIRoute,
        responses: dict[int | str, dict[str, Any]] | None = None,
        include_in_schema: bool = True,
    ) -> None:
        super().__init__(
            prefix=prefix,
            tags=tags,
            route_class=route_class,
            responses=responses,
            include_in_schema=include_in_schema,
        )
        self._noted: list[Callable[[FastAPI], None]] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Note a route of HTTP; `options` as FastAPI takes them."""
        merged = options | {
            "tags": [*self.tags, *(options.get("tags") or ())],
            "responses": {**self.responses, **(options.get("responses") or {})},
            "include_in_schema": self.include_in_schema and options.get("include_in_schema", True),
            "route_class_override": options.get("route_class_override") or self.route_class,
        }
        self._noted.append(lambda app: app.router.add_api_route(self.prefix + path, endpoint, **merged))

    def add_api_websocket_route(
        self, path: str, endpoint: Callable[..., Any], name: str | None = None, **options: Any
    ) -> None:
        """Note a route of WebSockets."""
        self._noted.append(
            lambda app: app.router.add_api_websocket_route(self.prefix + path, endpoint, name, **options)
        )

    def put_into(self, app: FastAPI) -> None:
        """Build the routes as routes of the application, as often as there are applications.

        Raises `TypeError` for what was put into it otherwise than by its decorators, and would be lost.
        """
        if self.routes:
            raise TypeError(
                f"{self.prefix}: write routes with the decorators of a Router; it takes in no other."
            )
        for build in self._noted:
            build(app)
