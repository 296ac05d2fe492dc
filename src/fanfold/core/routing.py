"""Routers whose routes are built once: by the application that takes them in, when somebody needs them."""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from inspect import signature
from threading import RLock
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.routing import compile_path, get_name

from fanfold.core.schemas import BodyModel

# What FastAPI works out of a route, and starlette calls.
_BUILT = frozenset({*APIRoute.__annotations__, "app", "form_limits"})
_one_builds = RLock()  # a route may be made of another


class LateRoute(APIRoute):
    """A route that is built when it is first needed: few processes serve more than some of theirs.

    Until then it knows what requests are matched by, and its endpoint. It takes 1 to 10 ms then. FastAPI tells fields
    by their identity, so it is built once whoever needs it at once, and no thread sees a half of it.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        name: str | None = None,
        methods: set[str] | list[str] | None = None,
        dependencies: Sequence[Depends] | None = None,
        **options: Any,
    ) -> None:
        self.path, self.endpoint = path, endpoint
        self.name = name or get_name(endpoint)
        self.methods = {method.upper() for method in methods or ("GET",)}
        self.dependencies = list(dependencies or ())
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self._options = {"name": name, "methods": methods, "dependencies": dependencies, **options}

    def __getattr__(self, name: str) -> Any:
        """Build the route for the first that asks for what is built."""
        if name not in _BUILT:
            raise AttributeError(name)
        with _one_builds:
            if name not in vars(self):
                vars(self).update(self._built())
        return vars(self)[name]

    def _built(self) -> dict[str, Any]:
        for body in _bodies(self.endpoint):
            body.build()
        route = object.__new__(type(self))
        super(LateRoute, route).__init__(self.path, self.endpoint, **self._options)
        return vars(route)


def _bodies(endpoint: Callable[..., Any]) -> Iterator[type[BodyModel]]:
    for parameter in signature(endpoint).parameters.values():
        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)  # what `Annotated` is about
        if isinstance(kind, type) and issubclass(kind, BodyModel):
            yield kind


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
        route_class: type[APIRoute] = LateRoute,
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
