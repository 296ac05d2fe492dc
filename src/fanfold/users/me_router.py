"""`/v1/me`: what people see and change of themselves."""

from fanfold.auth.dependencies import CurrentPerson
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.users.dependencies import OwnAccountServiceDep
from fanfold.users.schemas import PasswordChange, PersonRead, PersonUpdate

router = Router(
    prefix="/v1/me",
    tags=["People"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)
_BODY = problem_responses(400, 413, 415)


@router.get("")
async def get_me(account: OwnAccountServiceDep) -> PersonRead:
    """Show who has signed in."""
    return PersonRead.model_validate(await account.get())


@router.patch("", responses=_BODY)
async def change_me(wanted: PersonUpdate, account: OwnAccountServiceDep) -> PersonRead:
    """Change the name at once; a new address holds once it is verified, and needs the present password."""
    return PersonRead.model_validate(await account.change(wanted))


@router.post("/password", status_code=204, responses=_BODY)
async def change_own_password(
    wanted: PasswordChange, person: CurrentPerson, account: OwnAccountServiceDep
) -> None:
    """Set a new password; every other sign-in ends."""
    await account.change_password(wanted, session_id=person.session_id)
