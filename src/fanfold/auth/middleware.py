"""Who is it? Asked once, before anything else of the request is looked at."""

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from fanfold.auth.credentials import authenticate, read_credential, refusal
from fanfold.auth.routes import RouteTable
from fanfold.core.errors import FanfoldError
from fanfold.core.problems import problem

# Open to anybody, but it shows more to an operator.
_FOR_SOME = frozenset({"/metrics"})


class AuthenticationMiddleware:
    """Puts the `Principal` into the scope's state and refuses, by the matched route, who may not: 401, then 403.

    The application's state holds the `route_table` and the `authenticators`: both are there once it has started.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass the request on with its principal, or answer 401 or 403."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self._admit(scope)
        except FanfoldError as error:
            await problem(error, scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _admit(self, scope: AsgiScope) -> None:
        state, application = scope.setdefault("state", {}), scope["app"].state
        route_table: RouteTable = application.route_table
        route = route_table.match(scope)
        credential = read_credential(scope)
        if route is None and scope["path"] not in _FOR_SOME:
            credential = None  # open to anybody: not to be kept waiting by a database that is away
        principal = await authenticate(application.authenticators, credential) if credential else None
        state["principal"] = principal
        if route is None:
            return
        state["route"] = route.path
        if principal is None:
            raise refusal(credential)
        route.requirement.check(principal)
