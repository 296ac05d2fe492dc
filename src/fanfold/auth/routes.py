"""Which requirement a request's route has, known before anything of the body is read."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from inspect import Parameter, signature
from typing import Annotated, Any, get_args, get_origin

from fastapi.params import Depends
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Scope as AsgiScope

from fanfold.auth.requirements import Requirement
from fanfold.core.paths import path_below_root
from fanfold.core.values import value

_SOCKET = "a WebSocket"  # no client can send a method with a space in it


class UnguardedRoute(Exception):
    """A route neither states a requirement nor is on the list of public ones."""


@value
class GuardedRoute:
    """A route that not everybody may use; `path` is its template."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    requirement: Requirement


class RouteTable:
    """The routes of an app with what each requires. `public` lists the path templates open to anybody."""

    def __init__(self, routes: Sequence[BaseRoute], *, public: frozenset[str]) -> None:
        self._routes: dict[str, list[GuardedRoute]] = {}
        for route in _guarded(routes, public):
            for method in route.methods:
                self._routes.setdefault(method, []).append(route)
        # What the patterns say of each path without parameters, which most requests are for.
        self._known = {key: self._find(*key) for key in _without_parameters(routes)}

    def match(self, scope: AsgiScope) -> GuardedRoute | None:
        """Return the guarded route that will answer; None for a public one, and for 404 and 405."""
        path = path_below_root(scope)
        method = _SOCKET if scope["type"] == "websocket" else scope["method"]
        try:
            return self._known[method, path]
        except KeyError:
            return self._find(method, path)

    def _find(self, method: str, path: str) -> GuardedRoute | None:
        for route in self._routes.get(method, ()):
            if route.pattern.match(path):
                return route
        return None


def _guarded(routes: Sequence[BaseRoute], public: frozenset[str]) -> Iterator[GuardedRoute]:
    for context in iter_route_contexts(routes):
        requirement = _requirement(context)
        path: Any = context.path
        if requirement is None and path not in public:
            raise UnguardedRoute(f"{path} states no requirement and is not public.")
        methods = _methods(context)
        if methods and requirement is not None:
            yield GuardedRoute(path, context.path_regex, methods, requirement)


def _without_parameters(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(routes):
        path: Any = context.path
        if "{" not in path:
            for method in _methods(context):
                yield method, path


def _methods(context: Any) -> frozenset[str]:
    """Return what a route takes; nothing for what is mounted."""
    if isinstance(getattr(context, "original_route", None), WebSocketRoute):
        return frozenset({_SOCKET})
    return frozenset(getattr(context, "methods", None) or ())


def _requirement(context: Any) -> Requirement | None:
    """Return what a route demands, as its signature says: no route is built for that (`LateRoute`)."""
    if not isinstance(context.original_route, APIRoute | APIWebSocketRoute):
        return None
    return _strictest([*(each.dependency for each in context.dependencies), context.endpoint])


def _strictest(calls: Iterable[Any]) -> Requirement | None:
    stated = [call if isinstance(call, Requirement) else _stated(call) for call in calls]
    found = [each for each in stated if each is not None]
    # The route's own scope comes before the "any tenant" of a session it also asks for.
    return max(found, key=lambda requirement: requirement.scope is not None, default=None)


@lru_cache(maxsize=4096)
def _stated(call: Callable[..., Any]) -> Requirement | None:
    return _strictest(_dependencies(call))


def _dependencies(call: Callable[..., Any]) -> Iterator[Any]:
    """Yield what FastAPI calls for the parameters of `call`."""
    for parameter in signature(call, eval_str=True).parameters.values():
        kind, *notes = get_args(parameter.annotation) if _is_annotated(parameter) else [parameter.annotation]
        for note in (*notes, parameter.default):
            if isinstance(note, Depends):
                yield note.dependency or kind


def _is_annotated(parameter: Parameter) -> bool:
    return get_origin(parameter.annotation) is Annotated
