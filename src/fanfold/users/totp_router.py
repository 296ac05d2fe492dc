"""`/v1/me/totp`: a second factor of one's own."""

from typing import Annotated

from fastapi import Depends, Request, Response

from fanfold.auth.dependencies import CurrentPerson
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.users.dependencies import OwnAccountServiceDep
from fanfold.users.own_totp import OwnSecondFactor
from fanfold.users.totp import SecondFactor
from fanfold.users.totp_schemas import TotpConfirm, TotpEnrol, TotpEnrolled, TotpRemove

router = Router(
    prefix="/v1/me/totp",
    tags=["People"],
    route_class=StrictRoute,
    responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 429, 503),
)


async def _own(request: Request, account: OwnAccountServiceDep, _person: CurrentPerson) -> OwnSecondFactor:
    state = request.app.state
    factor = SecondFactor(account.users, state.key_ring, state.rate_limit_store)
    return OwnSecondFactor(account=account, factor=factor)


OwnSecondFactorDep = Annotated[OwnSecondFactor, Depends(_own)]


@router.post("")
async def ask_for_totp(wanted: TotpEnrol, own: OwnSecondFactorDep, response: Response) -> TotpEnrolled:
    """Ask for a second factor. Its secret is shown in this answer and never again; the one asked for last counts.

    From its confirmation on `POST /v1/auth/token` wants a code (`otp`) beside the password.
    """
    enrolment = await own.enrol(wanted.current_password.get_secret_value())
    response.headers["Cache-Control"] = "no-store"
    return TotpEnrolled(secret=enrolment.secret.get_secret_value(), uri=enrolment.uri.get_secret_value())


@router.post("/confirm", status_code=204)
async def confirm_totp(wanted: TotpConfirm, own: OwnSecondFactorDep) -> None:
    """Let the second factor count from now on, with a first code of it."""
    await own.confirm(wanted.code)


@router.delete("", status_code=204)
async def remove_totp(wanted: TotpRemove, own: OwnSecondFactorDep) -> None:
    """Take the second factor away. An operator keeps it."""
    await own.remove(wanted.current_password.get_secret_value(), wanted.code)
