"""`/v1/admin/users`: people of all tenants."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from fanfold.admin.reasons import Why
from fanfold.admin.user_repository import UserFilter
from fanfold.admin.user_schemas import MembershipRead, UserDetail, UserRead, UserUpdate
from fanfold.admin.user_service import UserService
from fanfold.auth.dependencies import CurrentActor, OperatorDbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.users.models import User

router = Router(
    prefix="/v1/admin/users",
    tags=["Operators"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)

_COMPUTED = {"has_second_factor", "memberships"}


async def _service(session: OperatorDbSession, actor: CurrentActor) -> UserService:
    return UserService(session, actor)


async def _filter(
    *,
    search: Annotated[str | None, Query(max_length=200, description="Part of an address or a name.")] = None,
    is_active: bool | None = None,
    is_verified: bool | None = None,
    is_operator: bool | None = None,
) -> UserFilter:
    return UserFilter(search=search, is_active=is_active, is_verified=is_verified, is_operator=is_operator)


UserServiceDep = Annotated[UserService, Depends(_service)]


def _read(user: User) -> UserRead:
    shown = {name: getattr(user, name) for name in UserRead.model_fields if name not in _COMPUTED}
    return UserRead(**shown, has_second_factor=user.totp_sealed is not None)


@router.get("")
async def list_users(
    users: UserServiceDep,
    chosen: Annotated[UserFilter, Depends(_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[UserRead]:
    """List people, newest first."""
    rows, next_cursor = await users.users.list(chosen, limit=limit, cursor=cursor)
    return Page(data=[_read(row) for row in rows], next_cursor=next_cursor)


@router.get("/{user_id}", responses=problem_responses(404))
async def get_user(user_id: UUID, users: UserServiceDep) -> UserDetail:
    """Show one person with their tenants."""
    user, memberships = await users.get(user_id)
    shown = [MembershipRead.model_validate(dict(row)) for row in memberships]
    return UserDetail(**_read(user).model_dump(), memberships=shown)


@router.patch("/{user_id}", responses=problem_responses(400, 404, 413, 415))
async def update_user(
    user_id: UUID, wanted: UserUpdate, users: UserServiceDep, reason: Why = None
) -> UserRead:
    """Let a person sign in or not. Deactivated, they are signed out everywhere within 2 s."""
    return _read(await users.set_active(user_id, is_active=wanted.is_active, reason=reason))


@router.post("/{user_id}/end-sessions", status_code=204, responses=problem_responses(404))
async def end_user_sessions(user_id: UUID, users: UserServiceDep, reason: Why = None) -> None:
    """Sign a person out everywhere, within 2 s."""
    await users.end_sign_ins(user_id, reason=reason)


@router.delete("/{user_id}/totp", status_code=204, responses=problem_responses(404, 409))
async def remove_user_totp(user_id: UUID, users: UserServiceDep, reason: Why = None) -> None:
    """Take the second factor from somebody who has lost it, and sign them out; an operator keeps it."""
    await users.remove_second_factor(user_id, reason=reason)
