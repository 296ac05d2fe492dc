"""Which requirement a request's route has, known before anything of the body is read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Scope as AsgiScope

from fanfold.auth.requirements import Requirement
from fanfold.core.paths import path_below_root


class UnguardedRoute(Exception):
    """A route neither states a requirement nor is on the list of public ones."""


@dataclass(frozen=True, slots=True)
class GuardedRoute:
    """A route that not everybody may use; `path` is its template."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    requirement: Requirement


class RouteTable:
    """The routes of an app with what each requires. `public` lists the path templates open to anybody."""

    def __init__(self, routes: Sequence[BaseRoute], *, public: frozenset[str]) -> None:
        self._routes = list(_guarded(routes, public))

    def match(self, scope: AsgiScope) -> GuardedRoute | None:
        """Return the guarded route that will answer; None for a public one, and for 404 and 405."""
        path = path_below_root(scope)
        for route in self._routes:
            if scope["method"] in route.methods and route.pattern.match(path):
                return route
        return None


def _guarded(routes: Sequence[BaseRoute], public: frozenset[str]) -> Iterator[GuardedRoute]:
    for context in iter_route_contexts(routes):
        requirement = _requirement(getattr(context, "dependant", None))
        path: Any = context.path
        if requirement is None and path not in public:
            raise UnguardedRoute(f"{path} states no requirement and is not public.")
        methods: Any = getattr(context, "methods", None)
        if methods and requirement is not None:
            yield GuardedRoute(path, context.path_regex, frozenset(methods), requirement)


def _requirement(dependant: Dependant | None) -> Requirement | None:
    if dependant is None:
        return None
    if isinstance(dependant.call, Requirement):
        return dependant.call
    found = [inner for inner in map(_requirement, dependant.dependencies) if inner is not None]
    # The route's own scope comes before the "any tenant" of a session it also asks for.
    return max(found, key=lambda requirement: requirement.scope is not None, default=None)
