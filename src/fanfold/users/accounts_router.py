"""`/v1/auth`: accounts of people who have not signed in. No answer tells whether an address has one."""

from fastapi import APIRouter

from fanfold.core.requests import StrictRoute
from fanfold.core.schemas import problem_responses
from fanfold.users.account_mails import FORGOTTEN, VERIFICATION
from fanfold.users.addresses import address_key
from fanfold.users.dependencies import AccountServiceDep, AccountTriesDep, ClientAddress
from fanfold.users.schemas import Accepted, AddressOnly, PasswordReset, Registration, Verification

PATHS = frozenset(
    f"/v1/auth/{name}"
    for name in ("register", "request-verify", "verify", "forgot-password", "reset-password")
)

router = APIRouter(
    prefix="/v1/auth",
    tags=["Sign-in"],
    route_class=StrictRoute,
    responses=problem_responses(400, 413, 415, 422, 429, 503),
)


@router.post("/register", status_code=202, responses=problem_responses(403))
async def register(wanted: Registration, accounts: AccountServiceDep) -> Accepted:
    """Register with a mail address and a password; a mail to the address says how to go on."""
    await accounts.register(wanted)
    return Accepted()


@router.post("/request-verify", status_code=202)
async def request_verify(
    wanted: AddressOnly, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> Accepted:
    """Ask for the mail that verifies an address once more."""
    await tries.take(address_key(wanted.email), address)
    await accounts.ask_for_mail(VERIFICATION, wanted.email)
    return Accepted()


@router.post("/verify", status_code=204)
async def verify(
    wanted: Verification, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> None:
    """Prove that an address is yours, with the token of its mail; twice does no harm."""
    await tries.take("token", address)
    await accounts.verify(wanted.token.get_secret_value())


@router.post("/forgot-password", status_code=202)
async def forgot_password(
    wanted: AddressOnly, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> Accepted:
    """Ask for a mail with which a new password is set."""
    await tries.take(address_key(wanted.email), address)
    await accounts.ask_for_mail(FORGOTTEN, wanted.email)
    return Accepted()


@router.post("/reset-password", status_code=204)
async def reset_password(
    wanted: PasswordReset, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> None:
    """Set a new password with the token of the mail, which works once; every sign-in ends."""
    await tries.take("token", address)
    await accounts.reset(wanted)
