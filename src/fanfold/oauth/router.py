"""`/v1/auth`: tokens (RFC 6749), what they are (RFC 7662) and their end (RFC 7009)."""

from typing import Annotated, Any

from fastapi import Form, Request, Response

from fanfold.auth.dependencies import AnyPrincipal
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.oauth.client_grant import client_credentials
from fanfold.oauth.dependencies import (
    ClientGrantDep,
    RefreshServiceDep,
    SignInServiceDep,
    TokenServiceDep,
)
from fanfold.oauth.errors import InvalidClient, InvalidGrant, InvalidRequest, UnsupportedGrantType
from fanfold.oauth.refresh_service import OVER
from fanfold.oauth.route import NO_STORE, OAuthRoute, refusal
from fanfold.oauth.schemas import ErrorAnswer, IntrospectionAnswer, TokenAnswer, TokenForm, TokenOnlyForm
from fanfold.oauth.types import Issued
from fanfold.users.addresses import find_key
from fanfold.users.dependencies import AccountTriesDep, ClientAddress

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": "Refused"} for status in (400, 401, 429, 503)
}
TOKEN_ROUTE: dict[str, Any] = {
    "response_model": TokenAnswer,
    "response_model_exclude_none": True,
    "responses": REFUSALS,
}

router = Router(prefix="/v1/auth", tags=["Sign-in"], route_class=OAuthRoute)


async def token(  # noqa: PLR0913, PLR0917 (a grant of each kind)
    form: Annotated[TokenForm, Form()],
    request: Request,
    response: Response,
    sign_ins: SignInServiceDep,
    refreshes: RefreshServiceDep,
    clients: ClientGrantDep,
    tries: AccountTriesDep,
    address: ClientAddress,
) -> Any:
    """Sign in with a password (first-party clients only), refresh a sign-in, or get a token for a machine client."""
    response.headers.update(NO_STORE)
    match form.grant_type:
        case "password":
            await tries.take(find_key(form.username) or "", address)
            return _answer(await sign_ins.with_password(form, user_agent=request.headers.get("user-agent")))
        case "refresh_token":
            if form.refresh_token is None:
                raise InvalidRequest("Send the refresh_token.")
            issued = await refreshes.refresh(form.refresh_token, scope=form.scope)
            # Not raised: that the family has ended is to be committed.
            return _answer(issued) if issued else refusal(InvalidGrant(OVER))
        case "client_credentials":
            shown = client_credentials(
                request.headers.get("authorization"), form.client_id, form.client_secret
            )
            if shown is None:
                raise InvalidClient("Send client_id and client_secret, in the form or by HTTP Basic.")
            return _answer(await clients.give(shown, scope=form.scope))
        case _:
            raise UnsupportedGrantType("Known: password, refresh_token, client_credentials.")


def token_router(endpoint: Any) -> Router:
    """Return the route of the token endpoint, which is limited by client address for each application."""
    found = Router(prefix="/v1/auth", tags=["Sign-in"], route_class=OAuthRoute)
    found.add_api_route("/token", endpoint, methods=["POST"], **TOKEN_ROUTE)
    return found


@router.post("/revoke", status_code=200, responses=REFUSALS)
async def revoke(form: Annotated[TokenOnlyForm, Form()], response: Response, tokens: TokenServiceDep) -> None:
    """End the sign-in of an access or refresh token, which whoever shows it may; one that is over is no error."""
    response.headers.update(NO_STORE)
    await tokens.revoke(form.token)


@router.post(
    "/introspect", responses={**REFUSALS, **problem_responses(401, 403)}, response_model_exclude_none=True
)
async def introspect(
    form: Annotated[TokenOnlyForm, Form()], response: Response, tokens: TokenServiceDep, asker: AnyPrincipal
) -> IntrospectionAnswer:
    """Show what a token is: to its own tenant, its own person and to operators."""
    response.headers.update(NO_STORE)
    return IntrospectionAnswer(**await tokens.introspect(form.token, asker=asker))


def _answer(issued: Issued) -> TokenAnswer:
    refresh = issued.refresh_token
    return TokenAnswer(
        access_token=issued.access_token.get_secret_value(),
        expires_in=issued.expires_in,
        refresh_token=refresh.get_secret_value() if refresh else None,
        scope=issued.scope,
    )
