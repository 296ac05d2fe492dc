"""What account endpoints ask for, made of the process's resources and one identity session."""

from typing import Annotated

from fastapi import Depends, Request

from fanfold.auth.dependencies import CurrentActor, CurrentPerson, IdentityDbSession
from fanfold.ratelimit.client_address import address_key, client_address
from fanfold.users.account_service import AccountService
from fanfold.users.own_account_service import OwnAccountService
from fanfold.users.tries import AccountTries


async def _address(request: Request) -> str:
    return address_key(client_address(request.scope, request.app.state.settings.server.trusted_proxies))


ClientAddress = Annotated[str, Depends(_address)]


async def _tries(request: Request) -> AccountTries:
    return AccountTries(request.app.state.rate_limit_store, request.app.state.settings.identity)


AccountTriesDep = Annotated[AccountTries, Depends(_tries)]


async def _accounts(request: Request, session: IdentityDbSession, tries: AccountTriesDep) -> AccountService:
    state = request.app.state
    return AccountService(
        session=session,
        passwords=state.passwords,
        tokens=state.mailed_tokens,
        tries=tries,
        registration=state.settings.identity.registration,
        request_id=request.scope["state"]["server_id"],
    )


AccountServiceDep = Annotated[AccountService, Depends(_accounts)]


async def _own_account(
    request: Request,
    session: IdentityDbSession,
    tries: AccountTriesDep,
    person: CurrentPerson,
    actor: CurrentActor,
    address: ClientAddress,
) -> OwnAccountService:
    return OwnAccountService(
        session=session,
        passwords=request.app.state.passwords,
        tries=tries,
        user_id=person.id,
        actor=actor,
        address=address,
    )


OwnAccountServiceDep = Annotated[OwnAccountService, Depends(_own_account)]
