"""What to do when a flush fails, by what failed (SQLSTATE classes: PostgreSQL manual, appendix A)."""

from enum import Enum

import asyncpg

from fanfold.core.away import CONNECTION_LOST, IN_THE_WAY


class Remedy(Enum):
    """How the lane goes on after a failed flush.

    `RESEND`: the server is away or the outcome unknown, so the same ids go once more over a new connection.
    `REPEAT`: others were in the way and nothing was written; once more whole, then in halves.
    `HALVE`: an item is at fault; halves until it is alone.
    """

    RESEND = "resend"
    REPEAT = "repeat"
    HALVE = "halve"


class ConnectFailed(Exception):
    """No connection could be made or prepared: never the fault of an item."""


# Connection, read-only after a failover, out of resources.
_AWAY_CLASSES = {"08", "25", "53"}
# Shutdown by an administrator, by a crash, still starting, database dropped, idle session ended.
_AWAY_STATES = {"57P01", "57P02", "57P03", "57P04", "57P05"}
# Statement time-out; a tenant's first prepaid grant, drawn on by another flush meanwhile, and an idempotency key that
# another claimed meanwhile.
_IN_THE_WAY_STATES = {*IN_THE_WAY, "57014", "FF005", "FF006"}
_STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
_AWAY = (ConnectFailed, *CONNECTION_LOST, *_STALE)


def remedy_for(error: Exception) -> Remedy:
    """Return what to do about `error`, raised by an attempt to flush."""
    state = (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    if isinstance(error, _AWAY) or state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return Remedy.RESEND
    return Remedy.REPEAT if state in _IN_THE_WAY_STATES else Remedy.HALVE
