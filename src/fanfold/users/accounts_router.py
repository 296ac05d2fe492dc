"""`/v1/auth`: accounts of people who have not signed in. No answer tells whether an address has one."""

from fastapi import Request

from fanfold.core.config import IdentitySettings
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.users.account_mails import FORGOTTEN, VERIFICATION
from fanfold.users.addresses import address_key
from fanfold.users.dependencies import AccountServiceDep, AccountTriesDep, ClientAddress
from fanfold.users.limiter import AddressLimiter
from fanfold.users.schemas import Accepted, AddressOnly, PasswordReset, Registration, Verification

PATHS = frozenset(
    f"/v1/auth/{name}"
    for name in ("register", "request-verify", "verify", "forgot-password", "reset-password")
)


async def register(
    request: Request,  # noqa: ARG001 (slowapi reads the address from it)
    wanted: Registration,
    accounts: AccountServiceDep,
) -> Accepted:
    """Register with a mail address and a password; a mail to the address says how to go on."""
    await accounts.register(wanted)
    return Accepted()


async def request_verify(
    wanted: AddressOnly, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> Accepted:
    """Ask for the mail that verifies an address once more."""
    await tries.take(address_key(wanted.email), address)
    await accounts.ask_for_mail(VERIFICATION, wanted.email)
    return Accepted()


async def verify(
    wanted: Verification, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> None:
    """Prove that an address is yours, with the token of its mail; twice does no harm."""
    await tries.take("token", address)
    await accounts.verify(wanted.token.get_secret_value())


async def forgot_password(
    request: Request,  # noqa: ARG001 (as above)
    wanted: AddressOnly,
    accounts: AccountServiceDep,
    tries: AccountTriesDep,
    address: ClientAddress,
) -> Accepted:
    """Ask for a mail with which a new password is set."""
    await tries.take(address_key(wanted.email), address)
    await accounts.ask_for_mail(FORGOTTEN, wanted.email)
    return Accepted()


async def reset_password(
    wanted: PasswordReset, accounts: AccountServiceDep, tries: AccountTriesDep, address: ClientAddress
) -> None:
    """Set a new password with the token of the mail, which works once; every sign-in ends."""
    await tries.take("token", address)
    await accounts.reset(wanted)


def accounts_router(limiter: AddressLimiter, settings: IdentitySettings) -> Router:
    """Return the routes; registering and asking for a new password are limited by client address."""
    router = Router(
        prefix="/v1/auth",
        tags=["Sign-in"],
        route_class=StrictRoute,
        responses=problem_responses(400, 413, 415, 422, 429, 503),
    )
    registers = limiter.limit(settings.register_rate)(register)
    forgets = limiter.limit(settings.forgot_password_rate)(forgot_password)
    router.post("/register", status_code=202, responses=problem_responses(403))(registers)
    router.post("/request-verify", status_code=202)(request_verify)
    router.post("/verify", status_code=204)(verify)
    router.post("/forgot-password", status_code=202)(forgets)
    router.post("/reset-password", status_code=204)(reset_password)
    return router
