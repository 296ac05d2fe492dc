"""`fanfold users`: people without mail, made by whoever runs the server."""

import asyncio
import sys
from typing import Annotated, Any

import typer
from sqlalchemy.dialects.postgresql import insert

from fanfold.audit import writer as audit
from fanfold.audit.types import COMMAND_LINE
from fanfold.auth.principal import Role
from fanfold.cli.database import find_tenant, in_database, operating
from fanfold.cli.output import Refused, show_members
from fanfold.core.config import Settings
from fanfold.core.db import Database
from fanfold.core.errors import ValidationFailed
from fanfold.users.addresses import address_key, canonical
from fanfold.users.models import Membership
from fanfold.users.passwords import FEWEST_CHARACTERS, MOST_CHARACTERS, Passwords
from fanfold.users.repository import UserRepository

commands = typer.Typer(help="Make people who sign in, without any mail.")


@commands.command()
def create(
    email: Annotated[str, typer.Argument(help="The person's mail address, taken as verified.")],
    *,
    tenant: Annotated[str | None, typer.Option(help="Slug of a tenant that the person belongs to.")] = None,
    role: Annotated[Role, typer.Option(help="owner, admin, developer or viewer.")] = Role.OWNER,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
) -> None:
    """Make a person who may sign in at once; asks for the password unless it comes by standard input."""
    address = _address(email)
    hashed = asyncio.run(_hashed(_password(from_stdin=password_stdin), address))

    async def work(database: Database) -> dict[str, Any]:
        found = (await find_tenant(database, tenant))[0] if tenant is not None else None
        async with operating(database) as session:
            user = await UserRepository(session).add(
                email=address, email_key=address_key(address), hashed_password=hashed, is_verified=True
            )
            if user is None:
                raise Refused("Somebody has this address already.")
            after = {"tenant": tenant, "role": role.value} if tenant else {}
            await audit.record(
                session,
                COMMAND_LINE,
                action="user.created",
                object_kind="user",
                object_id=user.id,
                after=after,
            )
            if found is not None:
                member = {"tenant_id": found.id, "user_id": user.id, "role": role.value}
                await session.execute(insert(Membership).values(member))
            return {"id": str(user.id), "email": user.email}

    show_members(in_database(work, Settings()))


def _address(email: str) -> str:
    try:
        return canonical(email.strip())
    except ValueError as error:
        raise typer.BadParameter(f"EMAIL {error}.") from None


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    if not FEWEST_CHARACTERS <= len(password) <= MOST_CHARACTERS or "\0" in password:
        raise Refused(f"A password has {FEWEST_CHARACTERS} to {MOST_CHARACTERS} characters.")
    return password


async def _hashed(password: str, address: str) -> str:
    passwords = Passwords(threads=1, queue=1)
    try:
        return await passwords.chosen(password, known=[address])
    except ValidationFailed as error:
        raise Refused(error.detail) from None
    finally:
        passwords.close()
