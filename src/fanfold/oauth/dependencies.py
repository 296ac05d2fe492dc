"""What OAuth endpoints ask for, made of the process's resources and one identity session."""

from typing import Annotated

from fastapi import Depends, Request

from fanfold.auth.dependencies import IdentityDbSession
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.sign_in_service import SignInService
from fanfold.tenants.repository import TenantRepository
from fanfold.users.manager import UserManager
from fanfold.users.repository import UserRepository
from fanfold.users.totp import SecondFactor


async def _sign_in_service(request: Request, session: IdentityDbSession) -> SignInService:
    state, users = request.app.state, UserRepository(session)
    return SignInService(
        UserManager(users, state.passwords),
        SecondFactor(users, state.key_ring, state.rate_limit_store),
        SignInRepository(session),
        TenantRepository(session),
        state.access_tokens,
        state.key_ring,
        state.settings.identity.refresh_token_days,
    )


SignInServiceDep = Annotated[SignInService, Depends(_sign_in_service)]
