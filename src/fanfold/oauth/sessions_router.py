"""`/v1/me/sessions` and logging out: a person's own sign-ins."""

import datetime as dt
from uuid import UUID

from fastapi import Request
from pydantic import Field

from fanfold.auth.credentials import read_credential
from fanfold.auth.dependencies import CurrentPerson, IdentityDbSession
from fanfold.core.errors import NotFound
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import Page, ReadModel, problem_responses
from fanfold.oauth.repository import SignInRepository

router = Router(
    tags=["People"], route_class=StrictRoute, responses=problem_responses(401, 403, 422, 429, 503)
)


class SessionRead(ReadModel):
    """A sign-in that holds."""

    id: UUID
    tenant_id: UUID | None
    user_agent: str | None = Field(description="What signed in called itself.")
    created_at: dt.datetime
    last_used_at: dt.datetime = Field(description="When it was refreshed last.")
    expires_at: dt.datetime
    is_current: bool = Field(default=False, description="Whether it is the one that asks.")


@router.post("/v1/auth/logout", status_code=204)
async def log_out(request: Request, person: CurrentPerson, session: IdentityDbSession) -> None:
    """End the sign-in that asks: its tokens are refused everywhere within 2 s, here at once."""
    await SignInRepository(session).end(id=person.session_id)
    request.app.state.token_authenticator.forget(read_credential(request.scope) or "")


@router.get("/v1/me/sessions")
async def list_sessions(person: CurrentPerson, session: IdentityDbSession) -> Page[SessionRead]:
    """List one's own sign-ins that hold, at most 50, the one used last first."""
    found = await SignInRepository(session).living(person.id)
    shown = [SessionRead.model_validate(each) for each in found]
    return Page(data=[each.model_copy(update={"is_current": each.id == person.session_id}) for each in shown])


@router.delete("/v1/me/sessions", status_code=204)
async def end_other_sessions(person: CurrentPerson, session: IdentityDbSession) -> None:
    """End all of one's own sign-ins but the one that asks."""
    await SignInRepository(session).end_others(person.id, spared=person.session_id)


@router.delete("/v1/me/sessions/{session_id}", status_code=204, responses=problem_responses(404))
async def end_session(session_id: UUID, person: CurrentPerson, session: IdentityDbSession) -> None:
    """End one of one's own sign-ins."""
    sign_ins = SignInRepository(session)
    found = await sign_ins.find(session_id)
    if found is None or found.user_id != person.id:
        raise NotFound("There is no such sign-in.")
    await sign_ins.end(id=session_id)
