"""The end of an account: memberships, sign-ins and everything that says who it was; what was done keeps the id."""

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict
from fanfold.members.invitation_repository import forget_accepted
from fanfold.members.membership_service import leave
from fanfold.tenants.repository import TenantRepository
from fanfold.users.models import User
from fanfold.users.repository import UserRepository


async def end_account(session: AsyncSession, user: User, actor: Actor) -> None:
    """Erase a person who has shown the present password, and is locked since; give it an identity session.

    409 for an operator, and for the last owner of a tenant, of a deleted one too until it is erased.
    """
    if user.is_operator:
        raise Conflict("An operator's account is ended by `fanfold operators remove`.")
    users = UserRepository(session)
    for membership in sorted(await users.memberships(user.id), key=lambda each: each.tenant_id):
        tenant = await TenantRepository(session).find(membership.tenant_id)
        if tenant is not None:
            await leave(session, tenant.id, user.id, actor)
    await users.end_sign_ins(user.id)
    nobody = f"erased:{user.id}"  # no address: nobody can register with it, or be sent a mail
    gone = {"email": nobody, "email_key": nobody, "name": "", "hashed_password": "", "wanted_tenant": None}
    second_factor = {"totp_wanted_sealed": None, "totp_sealed": None, "totp_step": None}
    await users.update(user, {**gone, **second_factor, "is_active": False, "is_verified": False})
    await forget_accepted(session, user.id, as_email=nobody)
    await audit.record(session, actor, action="user.erased", object_kind="user", object_id=user.id)
