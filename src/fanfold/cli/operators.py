"""`fanfold operators`: the only way in which an operator is made."""

import asyncio
import sys
from typing import Annotated, Any

import typer
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import COMMAND_LINE
from fanfold.cli.database import in_database, operating
from fanfold.cli.output import Refused, show_members, show_rows
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.core.secret_keys import secret_keys
from fanfold.users.addresses import address_key, canonical
from fanfold.users.models import User
from fanfold.users.passwords import FEWEST_CHARACTERS, MOST_CHARACTERS, Passwords
from fanfold.users.repository import UserRepository
from fanfold.users.totp import Enrolment, new_enrolment, seal_secret

SHOWN_ONCE = (
    "Put the secret into an authenticator now (the otpauth:// address as a QR code): it is not shown again."
)
_END_SIGN_INS = text(
    "update fanfold.sessions set revoked_at = now() where user_id = :user_id and revoked_at is null"
)

Email = Annotated[str, typer.Argument(help="The operator's mail address.")]

commands = typer.Typer(help="Make, list and remove operators: people who sign in with a second factor.")


@commands.command()
def create(
    email: Email,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask for the password; else one is made and shown.")
    ] = False,
) -> None:
    """Make an operator with a second factor. They sign in with the password and a code (`otp`), without a tenant."""
    settings, address = Settings(), _address(email)
    ring = KeyRing(secret_keys(settings))
    given = _given_password(from_stdin=password_stdin, ask=ask)
    password, hashed = _hashed(given, address, settings)

    async def work(database: Database) -> dict[str, Any]:
        async with operating(database) as session:
            user = await _insert(session, address, hashed)
            enrolment = await _enrol(session, ring, user)
            await _record(session, "operator.created", user)
            made = _shown_once(user, enrolment)
        return made if given else made | {"password": password}

    show_members(in_database(work, settings), note=SHOWN_ONCE)


@commands.command("list")
def list_operators() -> None:
    """List operators, newest first."""

    async def work(database: Database) -> list[dict[str, Any]]:
        async with operating(database) as session:
            found = await session.scalars(select(User).where(User.is_operator).order_by(User.id.desc()))
            return [
                {
                    "id": str(user.id),
                    "email": user.email,
                    "is_active": user.is_active,
                    "has_second_factor": user.totp_sealed is not None,
                    "created_at": user.created_at.isoformat(),
                }
                for user in found
            ]

    show_rows(in_database(work, Settings()), ("id", "email", "is_active", "has_second_factor"))


@commands.command()
def remove(email: Email) -> None:
    """Make an operator a person like others, who is signed out everywhere within 2 s."""

    async def work(database: Database) -> dict[str, Any]:
        async with operating(database) as session:
            user = await _find(session, email)
            user.is_operator = False
            await session.execute(_END_SIGN_INS, {"user_id": user.id})
            await _record(session, "operator.removed", user)
            return {"id": str(user.id), "email": user.email, "is_operator": False}

    show_members(in_database(work, Settings()))


@commands.command("reset-totp")
def reset_totp(email: Email) -> None:
    """Make another second factor for an operator who has lost theirs, and sign them out everywhere."""
    settings = Settings()
    ring = KeyRing(secret_keys(settings))

    async def work(database: Database) -> dict[str, Any]:
        async with operating(database) as session:
            user = await _find(session, email)
            enrolment = await _enrol(session, ring, user)
            await session.execute(_END_SIGN_INS, {"user_id": user.id})
            await _record(session, "operator.second_factor_reset", user)
            return _shown_once(user, enrolment)

    show_members(in_database(work, settings), note=SHOWN_ONCE)


def _address(email: str) -> str:
    try:
        return canonical(email.strip())
    except ValueError as error:
        raise typer.BadParameter(f"EMAIL {error}.") from None


def _hashed(given: str | None, address: str, settings: Settings) -> tuple[str, str]:
    """Return the password that was given, judged as everybody's, or one that nobody can guess, and its hash."""
    passwords = Passwords(threads=1, queue=settings.identity.password_queue)
    try:
        password = given or passwords.generate()
        return password, asyncio.run(passwords.chosen(password, known=[address]))
    finally:
        passwords.close()


def _given_password(*, from_stdin: bool, ask: bool) -> str | None:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif ask:
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        return None
    if not FEWEST_CHARACTERS <= len(password) <= MOST_CHARACTERS or "\0" in password:
        raise Refused(f"A password has {FEWEST_CHARACTERS} to {MOST_CHARACTERS} characters.")
    return password


async def _insert(session: AsyncSession, address: str, hashed: str) -> User:
    user = await UserRepository(session).add(
        id=uuid7(),
        email=address,
        email_key=address_key(address),
        hashed_password=hashed,
        is_verified=True,
        is_operator=True,
    )
    if user is None:
        raise Refused(
            "Somebody has this address already. An operator's account is theirs alone: use another address, so that "
            "nobody becomes an operator by a password that was made for something else."
        )
    return user


async def _find(session: AsyncSession, email: str) -> User:
    key = address_key(_address(email))
    user = await session.scalar(select(User).where(User.email_key == key, User.is_operator).with_for_update())
    if user is None:
        raise Refused("There is no such operator. `fanfold operators list` shows which there are.")
    found: User = user
    return found


async def _enrol(session: AsyncSession, ring: KeyRing, user: User) -> Enrolment:
    enrolment = new_enrolment(user.email)
    sealed = seal_secret(ring, user.id, enrolment.secret)
    await UserRepository(session).update(
        user, {"totp_sealed": sealed, "totp_wanted_sealed": None, "totp_step": None}
    )
    return enrolment


async def _record(session: AsyncSession, action: str, user: User) -> None:
    after = {"email": user.email, "is_operator": user.is_operator}
    await audit.record(
        session, COMMAND_LINE, action=action, object_kind="user", object_id=user.id, after=after
    )


def _shown_once(user: User, enrolment: Enrolment) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.email,
        "totp_secret": enrolment.secret.get_secret_value(),
        "otpauth_uri": enrolment.uri.get_secret_value(),
    }
