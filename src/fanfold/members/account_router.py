"""`DELETE /v1/me`: the end of an account, which asks every tenant of the person first."""

from pydantic import Field, SecretStr

from fanfold.auth.dependencies import CurrentActor, IdentityDbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import StrictModel, problem_responses, with_example
from fanfold.members.account_end import end_account
from fanfold.users.dependencies import OwnAccountServiceDep

_EXAMPLE = "correct horse battery staple"

router = Router(
    prefix="/v1/me",
    tags=["People"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


class AccountEnd(StrictModel):
    """The present password, so that nobody ends an account who has found an open screen."""

    model_config = with_example(current_password=_EXAMPLE)

    current_password: SecretStr = Field(
        min_length=1, max_length=128, description="The password as it is now.", examples=[_EXAMPLE]
    )


@router.delete("", status_code=204, responses=problem_responses(400, 409, 413, 415))
async def delete_me(
    wanted: AccountEnd, account: OwnAccountServiceDep, session: IdentityDbSession, actor: CurrentActor
) -> None:
    """End your account: memberships, sign-ins, address and name go, and what was done keeps your id alone.

    Not as the last owner of a tenant: make another member an owner first, or have the tenant deleted and erased.
    """
    user = await account.prove(wanted.current_password.get_secret_value())
    await end_account(session, user, actor)
