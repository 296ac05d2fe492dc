"""The mails of accounts: each is a row of the outbox that holds no secret; the token is made when the mail is."""

from collections.abc import Mapping
from uuid import UUID

from fanfold.core.db import Database
from fanfold.mail.base import Mail, Mailer
from fanfold.mail.templates import render
from fanfold.outbox.types import Handler, Message
from fanfold.users.mailed_tokens import MailedTokens
from fanfold.users.models import User
from fanfold.users.repository import UserRepository

VERIFY, RESET = "fanfold:verify", "fanfold:reset-password"
_HOUR_S = 3600
VERIFY_HOURS, RESET_HOURS = 24, 1

REGISTERED = "mail.registered"
VERIFICATION = "mail.verification"
FORGOTTEN = "mail.forgotten_password"
NEW_ADDRESS = "mail.new_address"
ADDRESS_CHANGING = "mail.address_changing"


class AccountMails:
    """The handlers of the topics above. Who asked never learns whether there was anything to send."""

    def __init__(self, database: Database, mailer: Mailer, tokens: MailedTokens, *, server: str) -> None:
        self._database, self._mailer, self._tokens, self._server = database, mailer, tokens, server

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What the relay calls, by topic."""
        return {
            REGISTERED: self._registered,
            VERIFICATION: self._verification,
            FORGOTTEN: self._forgotten,
            NEW_ADDRESS: self._new_address,
            ADDRESS_CHANGING: self._address_changing,
        }

    async def _registered(self, message: Message) -> None:
        user = await self._by_address(message)
        if user is None:  # by invitation only, and there is none
            return
        if user.is_verified:
            await self._send(message, user.email, "known_address")
        else:
            await self._to_be_verified(message, user)

    async def _verification(self, message: Message) -> None:
        user = await self._by_address(message)
        if user is not None and not user.is_verified:
            await self._to_be_verified(message, user)

    async def _to_be_verified(self, message: Message, user: User) -> None:
        if user.hashed_password:
            token = await self._verify_token(user, user.email)
            await self._send(message, user.email, "verify", token=token, hours=VERIFY_HOURS)
        else:  # more than one registered with this address: whoever reads its mail says what the password is
            token = await self._reset_token(user)
            await self._send(message, user.email, "finish_registration", token=token, hours=RESET_HOURS)

    async def _forgotten(self, message: Message) -> None:
        user = await self._by_address(message)
        if user is not None:
            token = await self._reset_token(user)
            await self._send(message, user.email, "reset_password", token=token, hours=RESET_HOURS)

    async def _new_address(self, message: Message) -> None:
        user = await self._by_id(message)
        if user is None:
            return
        email = str(message.payload["email"])
        async with self._database.identity_session() as session:
            known = await UserRepository(session).get_by_email(email)
        if known is not None and known.id != user.id:
            await self._send(message, email, "known_address")
        else:
            token = await self._verify_token(user, email)
            await self._send(message, email, "new_address", token=token, hours=VERIFY_HOURS)

    async def _address_changing(self, message: Message) -> None:
        user = await self._by_id(message)
        if user is not None:
            await self._send(message, user.email, "address_changing")

    async def _by_address(self, message: Message) -> User | None:
        async with self._database.identity_session() as session:
            user = await UserRepository(session).get_by_email(str(message.payload["email_key"]))
        return user if user is not None and user.is_active else None

    async def _by_id(self, message: Message) -> User | None:
        async with self._database.identity_session() as session:
            user = await UserRepository(session).get(UUID(str(message.payload["user_id"])))
        is_as_it_was = user is not None and user.is_active and user.email == message.payload["was"]
        return user if is_as_it_was else None

    async def _verify_token(self, user: User, email: str) -> str:
        claims = {
            "sub": str(user.id),
            "email": email,
            "was": user.email,
            "credentials": self._tokens.fingerprint(user),
        }
        made = await self._tokens.make(VERIFY, lifetime_s=VERIFY_HOURS * _HOUR_S, **claims)
        return made.get_secret_value()

    async def _reset_token(self, user: User) -> str:
        claims = {"sub": str(user.id), "was": user.email, "credentials": self._tokens.fingerprint(user)}
        made = await self._tokens.make(RESET, lifetime_s=RESET_HOURS * _HOUR_S, **claims)
        return made.get_secret_value()

    async def _send(self, message: Message, to: str, name: str, **values: object) -> None:
        # Always to an address as it is kept, never as somebody typed it.
        subject, text, html = render(name, server=self._server, **values)
        await self._mailer.send(Mail(id=message.id, to=to, subject=subject, text=text, html=html))
