"""`fanfold secrets`."""

from typing import Annotated, Any

import typer
from sqlalchemy import text

from fanfold.cli.database import in_database
from fanfold.cli.output import Refused, show_members
from fanfold.cli.resealing import reseal_everything
from fanfold.core.config import Settings
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.secret_keys import are_kept_in_file, new_key, secret_keys
from fanfold.core.secret_keys import rotate as rotate_file
from fanfold.oauth.signing_keys import SigningKeys

OTHERS = text(
    """
    select count(*) from pg_stat_activity
     where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
       and backend_type = 'client backend'
    """
)
IN_USE = (
    "A server or another command uses this database, and would not know the new key: stop it first. To rotate without "
    "an outage set FANFOLD_SECRET_KEYS on all servers (newest first), restart them one by one, then run "
    "`fanfold secrets reseal`. `fanfold secrets rotate --signing` needs no stop."
)
SET_THIS = (
    "Set FANFOLD_SECRET_KEYS to this on every server, restart them, then run `fanfold secrets reseal`. "
    "`fanfold secrets rotate --signing` replaces the key that signs access tokens, at any time."
)
KEEP_OLDER = (
    "Keep the older keys in the list: API keys and clients made under one rest on it for good, sign-ins until their "
    "next refresh, and answers kept for an Idempotency-Key for a day (25 hours)."
)
STAYED = (
    "did not open with any key of FANFOLD_SECRET_KEYS and stayed as they are: `fanfold doctor` names missing keys; "
    "where none is missing, they are damaged."
)
SIGNS_SOON = "Servers sign with it within a minute. Tokens of older keys hold until they expire."

commands = typer.Typer(
    help="Replace the secret keys, newest first. Older ones stay: issued API keys rest on them."
)


@commands.command()
def rotate(
    *,
    signing: Annotated[
        bool,
        typer.Option("--signing", help="Replace only the key that signs access tokens; servers may run."),
    ] = False,
) -> None:
    """Make a new secret key the newest one, and another key that signs; seal everything that is kept sealed anew."""
    settings = Settings()
    if signing:
        _rotate_signing(settings)
    elif are_kept_in_file(settings):
        _show_resealed(in_database(lambda database: _rotate_all(database, settings), settings))
    else:
        ring = [new_key(), *(key.get_secret_value() for key in settings.security.secret_keys)]
        show_members({"FANFOLD_SECRET_KEYS": ",".join(ring)}, note=f"{SET_THIS} {KEEP_OLDER}")


@commands.command()
def reseal() -> None:
    """Seal all that is kept sealed with the newest secret key; servers and workers may run."""
    settings = Settings()
    ring = KeyRing(secret_keys(settings))

    async def work(database: Database) -> dict[str, int]:
        return await reseal_everything(database, ring, SigningKeys(database, ring, settings.identity))

    made = in_database(work, settings)
    _show_resealed(made)
    if made["not_opened"]:
        raise typer.Exit(1)


def _show_resealed(made: dict[str, int]) -> None:
    """Show what became of all that is kept sealed."""
    stayed = f"{made['not_opened']} {STAYED} " if made["not_opened"] else ""
    show_members(made, note=stayed + KEEP_OLDER)


def _rotate_signing(settings: Settings) -> None:
    ring = KeyRing(secret_keys(settings))

    async def work(database: Database) -> dict[str, str]:
        return {"signing_key": await SigningKeys(database, ring, settings.identity).rotate()}

    show_members(in_database(work, settings), note=SIGNS_SOON)


async def _rotate_all(database: Database, settings: Settings) -> dict[str, Any]:
    async with database.begin() as connection:
        if (await connection.execute(OTHERS)).scalar_one():
            raise Refused(IN_USE)
    secrets = rotate_file(settings)
    ring = KeyRing(secrets)
    signing_keys = SigningKeys(database, ring, settings.identity)
    # What signs is the file's to say, where there is one.
    made = {} if settings.identity.jwt_key_file else {"signing_key": await signing_keys.rotate()}
    return {"keys": len(secrets), **made, **await reseal_everything(database, ring, signing_keys)}
