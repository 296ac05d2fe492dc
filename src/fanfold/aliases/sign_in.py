"""The tutorials' `POST /token` and `GET /users/me`: the same endpoints at other paths."""

from typing import Any

from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.oauth.route import OAuthRoute
from fanfold.oauth.router import TOKEN_ROUTE
from fanfold.users.me_router import get_me

users_me_router = Router(tags=["Tutorial aliases"], route_class=StrictRoute)
users_me_router.add_api_route(
    "/users/me",
    get_me,
    methods=["GET"],
    name="get_users_me",
    responses=problem_responses(401, 403, 422, 429, 503),
)


def token_alias(endpoint: Any) -> Router:
    """Return the tutorials' path of the token endpoint, which is limited for each application."""
    router = Router(tags=["Tutorial aliases"], route_class=OAuthRoute)
    router.add_api_route("/token", endpoint, methods=["POST"], name="token_tutorial", **TOKEN_ROUTE)
    return router
