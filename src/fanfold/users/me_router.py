"""`/v1/me`: what people see and change of themselves."""

from fastapi import APIRouter

from fanfold.auth.dependencies import CurrentPerson, IdentityDbSession
from fanfold.core.errors import NotAuthenticated
from fanfold.core.schemas import problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.users.repository import UserRepository
from fanfold.users.schemas import PersonRead

router = APIRouter(
    prefix="/v1/me",
    tags=["People"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


@router.get("")
async def get_me(person: CurrentPerson, session: IdentityDbSession) -> PersonRead:
    """Show who has signed in."""
    user = await UserRepository(session).get(person.id)
    if user is None:
        raise NotAuthenticated("The account is gone.")
    return PersonRead.model_validate(user)
