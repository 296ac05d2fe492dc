"""A request's path as the router sees it, and the methods that there are at it."""

from collections.abc import Sequence

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Scope


def path_below_root(scope: Scope) -> str:
    """Return the path without the root path that a proxy or a mount stands at, as Starlette's router takes it."""
    path: str = scope["path"]
    if "root_path" not in scope:
        return path
    root: str = scope["root_path"]
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """Return the methods of a request's path, as `Allow` has them (RFC 9110, section 10.2.1).

    Of several routes with one path Starlette names the first one's alone.
    """
    path, found = path_below_root(scope), set()
    for context in iter_route_contexts(routes):
        pattern = getattr(context, "path_regex", None)
        if pattern and pattern.match(path):
            found |= set(context.methods or ())
    return ", ".join(sorted(found))
