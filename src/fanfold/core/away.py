"""What asyncpg raises where Postgres is away, said once."""

import asyncpg

# An OSError is a time-out too; the last is how asyncpg calls a connection that broke between a statement's exchanges.
CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Whatever keeps a farewell, or an answer that can be spared, from coming.
NO_ANSWER = (*CONNECTION_LOST, asyncpg.PostgresError)
# Connection failures, no resources left, shut down or taking too long, no such database (manual, appendix A).
_CLASSES = frozenset({"08", "53", "57", "3D"})

# Serialisation, deadlock, lock time-out: nothing was written, and it may be asked again.
IN_THE_WAY = frozenset({"40001", "40P01", "55P03"})


def is_away(error: BaseException) -> bool:
    """Tell whether `error`, or the SQLSTATE that it carries, means a database that is away, full or too slow."""
    state: str = getattr(error, "sqlstate", None) or ""
    return isinstance(error, CONNECTION_LOST) or state[:2] in _CLASSES
