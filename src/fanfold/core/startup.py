"""Why a process cannot start, in words that say what to do; a traceback would say it to nobody."""

import errno
import sys
from functools import singledispatch

import asyncpg
from pydantic import ValidationError
from sqlalchemy.exc import ArgumentError, DBAPIError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.config import given_as
from fanfold.core.crypto import SealBroken, WeakSecret
from fanfold.core.db import RoleTooStrong
from fanfold.core.dotenv import DotEnvUnreadable
from fanfold.core.embedded_postgres import EmbeddedPostgresError
from fanfold.core.errors import FanfoldError
from fanfold.core.file_locks import HeldElsewhere
from fanfold.core.roles import MigrationRefused
from fanfold.core.signing_key import UnfitKey

_NOT_MIGRATED = {"3F000", "42P01"}  # invalid_schema_name, undefined_table
_GONE = {"08", "57"}  # classes: connection exceptions, operator intervention
_WHERE = "Check FANFOLD_DATABASE_URL and FANFOLD_OWNER_DATABASE_URL, and that the server runs."


@singledispatch
def explain(_error: BaseException) -> str | None:
    """Return what went wrong and what to do; None for what nobody foresaw, where only a traceback helps."""
    return None


@explain.register(DotEnvUnreadable)
@explain.register(RoleTooStrong)
@explain.register(WeakSecret)
@explain.register(UnfitKey)
@explain.register(MigrationRefused)
@explain.register(EmbeddedPostgresError)
@explain.register(FanfoldError)
def _said_well(error: Exception) -> str:
    return str(error)


@explain.register
def _not_opened(error: SealBroken) -> str:
    return error.explanation


@explain.register
def _only_one(error: BaseExceptionGroup) -> str | None:
    return explain(error.exceptions[0]) if len(error.exceptions) == 1 else None


@explain.register
def _not_valid(error: ValidationError) -> str:
    """Say which settings or options do not hold and why; never their values, which may be secrets."""
    problems: dict[str, list[str]] = {}
    for each in error.errors(include_input=False, include_url=False):
        reasons = problems.setdefault(_what(each["loc"]), [])
        reason = each["msg"].removeprefix("Value error, ")
        if reason not in reasons:
            reasons.append(reason)
    said = "; ".join(f"{what}: {', or '.join(reasons)}" for what, reasons in problems.items())
    return f"Not valid: {said}."


def _what(loc: tuple[int | str, ...]) -> str:
    """Return a setting's name as it was given, and where; or the place in an input."""
    given = given_as(str(loc[0])) if loc else None
    if given is None:
        return ".".join(map(str, loc)) or "the whole"
    name, source = given
    return name if source == "default" else f"{name} ({source})"


@explain.register
def _held(error: HeldElsewhere) -> str:
    return f"Another process of Fanfold has held the lock `{error}` for too long: end it, then try again."


@explain.register
def _not_an_address(_error: ArgumentError) -> str:
    return "A database address is not of the form postgresql://user:password@host:5432/database."


@explain.register
def _wrapped(error: DBAPIError) -> str | None:
    return _sqlstate(getattr(error.orig, "sqlstate", None))


@explain.register
def _postgres(error: asyncpg.PostgresError) -> str | None:
    return _sqlstate(error.sqlstate)


def _sqlstate(state: str | None) -> str | None:
    if state in _NOT_MIGRATED:
        return "The database is not prepared for this version: run `fanfold migrate`."
    if state is None or state[:2] in _GONE:
        return f"The database does not answer. {_WHERE}"
    if state[:2] == "28":  # invalid authorization specification
        return (
            "The database refuses the login. Check user and password in FANFOLD_DATABASE_URL; `fanfold migrate`, with "
            "FANFOLD_OWNER_DATABASE_URL too, gives a login that has no password the one of that address."
        )
    if state == "3D000":  # invalid_catalog_name
        return "The server has no such database: make it, or mend the name in FANFOLD_DATABASE_URL."
    return None


@explain.register
def _operating_system(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"A port is in use ({error.strerror}): set FANFOLD_PORT or FANFOLD_METRICS_PORT to a free one."
    if error.filename is not None:
        return (
            f"{error.filename}: {error.strerror}. Mend it, or set FANFOLD_DATA_DIR to a folder of your own."
        )
    return f"The database cannot be reached ({error.strerror or 'no answer in time'}). {_WHERE}"


def explain_port(host: str, port: int, error: OSError) -> str:
    """Return why a server cannot listen there."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use: stop what listens there, or set FANFOLD_PORT to another one."
        )
    return f"Cannot listen on {host}, port {port} ({error.strerror}): set FANFOLD_HOST and FANFOLD_PORT anew."


class StartupErrors:
    """Lets a server's log show the explanation of a failed start instead of its traceback (ASGI, a lifespan's)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through but the message of a failed start."""

        async def explained(message: Message) -> None:
            error = sys.exception() if message["type"] == "lifespan.startup.failed" else None
            text = explain(error) if error is not None else None
            await send(message if text is None else {**message, "message": f"Cannot start. {text}"})

        await self._app(scope, receive, explained)
