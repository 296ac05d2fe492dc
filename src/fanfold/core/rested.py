"""Pooled connections that have rested are asked whether they still live, before anybody is given one."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine

REST_S = 1.0
_USED_AT = "used_at"


def ask_the_rested(
    engine: AsyncEngine, *, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic
) -> None:
    """Ask a connection that nobody has had for `rest_s` seconds; where it is gone, all of its age are made anew.

    SQLAlchemy's own `pool_pre_ping` asks each time, in three round trips, which is more than most of our transactions
    take. A connection that was in use a moment ago has been ended only where its socket has said so.
    """
    pool, dialect = engine.sync_engine.pool, engine.sync_engine.dialect

    def used(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = clock()

    def given(connection: Any, record: Any, _proxy: Any) -> None:
        if connection.driver_connection.is_closed():
            raise exc.InvalidatePoolError
        if clock() - record.info[_USED_AT] < rest_s:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection, None):
                raise
            raise exc.InvalidatePoolError from error

    event.listen(pool, "connect", used)
    event.listen(pool, "checkin", used)
    event.listen(pool, "checkout", given)
