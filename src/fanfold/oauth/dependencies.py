"""What OAuth endpoints ask for, made of the process's resources and one identity session."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request

from fanfold.auth.dependencies import IdentityDbSession
from fanfold.core.lazily import imported, on_call
from fanfold.oauth.client_grant import ClientGrant
from fanfold.oauth.ending import TokenService
from fanfold.oauth.refresh_service import RefreshService
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.sign_in_service import SignInService
from fanfold.tenants.repository import TenantRepository
from fanfold.users.repository import UserRepository
from fanfold.users.totp import SecondFactor

_MANAGER = "fanfold.users.manager"
UserManager = on_call(_MANAGER, "UserManager")


async def _sign_in_service(request: Request, session: IdentityDbSession) -> SignInService:
    await imported(_MANAGER)
    state, users = request.app.state, UserRepository(session)
    return SignInService(
        manager=UserManager(users, state.passwords),
        sign_ins=SignInRepository(session),
        tenants=TenantRepository(session),
        tokens=state.access_tokens,
        second_factor=SecondFactor(users, state.key_ring, state.rate_limit_store),
        key_ring=state.key_ring,
        lifetime=timedelta(days=state.settings.identity.refresh_token_days),
    )


SignInServiceDep = Annotated[SignInService, Depends(_sign_in_service)]


async def _refresh_service(request: Request, session: IdentityDbSession) -> RefreshService:
    state, request_id = request.app.state, request.scope["state"]["server_id"]
    return RefreshService(session, state.access_tokens, state.key_ring, request_id=request_id)


RefreshServiceDep = Annotated[RefreshService, Depends(_refresh_service)]


async def _client_grant(request: Request, session: IdentityDbSession) -> ClientGrant:
    return ClientGrant(session, request.app.state.access_tokens, request.app.state.key_ring)


ClientGrantDep = Annotated[ClientGrant, Depends(_client_grant)]


async def _token_service(request: Request, session: IdentityDbSession) -> TokenService:
    state = request.app.state
    return TokenService(session, state.token_authenticator, state.key_ring)


TokenServiceDep = Annotated[TokenService, Depends(_token_service)]
