"""What people do with their own second factor: each change with its line in the audit log."""

from fanfold.audit import writer as audit
from fanfold.core.values import value
from fanfold.users.own_account_service import OwnAccountService
from fanfold.users.totp import Enrolment, SecondFactor


@value(kw_only=True)
class OwnSecondFactor:
    """On one identity session, for the person who has signed in."""

    account: OwnAccountService
    factor: SecondFactor

    async def enrol(self, password: str) -> Enrolment:
        """Make a secret that counts once it is confirmed; a 422 where the password is wrong."""
        await self.account.prove(password)
        return await self.factor.enrol(self.account.user_id)

    async def confirm(self, code: str) -> None:
        """Let the secret count from now on."""
        await self.factor.count_try(self.account.user_id)
        await self.factor.confirm(self.account.user_id, code)
        await self._record("user.second_factor_added")

    async def remove(self, password: str, code: str) -> None:
        """Take the second factor away; a 422 where the password or the code is wrong."""
        await self.account.prove(password, before_lock=lambda user: self.factor.count_try(user.id))
        await self.factor.remove(self.account.user_id, code)
        await self._record("user.second_factor_removed")

    async def _record(self, action: str) -> None:
        account = self.account
        await audit.record(
            account.session, account.actor, action=action, object_kind="user", object_id=account.user_id
        )
