"""`/v1/auth`: tokens (RFC 6749)."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from fanfold.core.config import IdentitySettings
from fanfold.oauth.dependencies import SignInServiceDep
from fanfold.oauth.errors import UnsupportedGrantType
from fanfold.oauth.route import NO_STORE, OAuthRoute
from fanfold.oauth.schemas import ErrorAnswer, TokenAnswer, TokenForm
from fanfold.oauth.types import Issued
from fanfold.users.addresses import address_key
from fanfold.users.dependencies import AccountTriesDep, ClientAddress
from fanfold.users.limiter import AddressLimiter


async def token(
    form: Annotated[TokenForm, Form()],
    request: Request,
    response: Response,
    sign_ins: SignInServiceDep,
    tries: AccountTriesDep,
    address: ClientAddress,
) -> TokenAnswer:
    """Sign in, refresh a sign-in, or get a token for a machine client."""
    response.headers.update(NO_STORE)
    match form.grant_type:
        case "" | "password":
            # Before anything is hashed, and whether or not there is such an account.
            await tries.take(address_key(form.username.strip()), address)
            return _answer(await sign_ins.with_password(form, user_agent=request.headers.get("user-agent")))
        case _:
            raise UnsupportedGrantType("Send grant_type=password.")


def oauth_router(limiter: AddressLimiter, settings: IdentitySettings) -> APIRouter:
    """Return the routes; tokens are limited by client address."""
    router = APIRouter(
        prefix="/v1/auth",
        tags=["Sign-in"],
        route_class=OAuthRoute,
        responses={
            status: {"model": ErrorAnswer, "description": "Refused"} for status in (400, 401, 429, 503)
        },
    )
    router.post("/token")(limiter.limit(settings.login_rate)(token))
    return router


def _answer(issued: Issued) -> TokenAnswer:
    refresh = issued.refresh_token
    return TokenAnswer(
        access_token=issued.access_token.get_secret_value(),
        expires_in=issued.expires_in,
        refresh_token=refresh.get_secret_value() if refresh else None,
        scope=issued.scope,
    )
