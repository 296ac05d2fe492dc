"""The danger of the wrong remedy: good items blamed for a server that is away, a bad one sent for ever."""

import asyncpg
import pytest

from fanfold.usage.failures import ConnectFailed, Remedy, remedy_for


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ConnectFailed(), Remedy.RESEND),
        (ConnectionResetError(), Remedy.RESEND),
        (TimeoutError(), Remedy.RESEND),
        (asyncpg.InterfaceError("the connection is closed"), Remedy.RESEND),
        (asyncpg.InternalClientError("protocol is in the failed state"), Remedy.RESEND),
        (asyncpg.ConnectionDoesNotExistError(), Remedy.RESEND),
        (asyncpg.AdminShutdownError(), Remedy.RESEND),
        (asyncpg.CannotConnectNowError(), Remedy.RESEND),
        (asyncpg.TooManyConnectionsError(), Remedy.RESEND),
        (asyncpg.ReadOnlySQLTransactionError(), Remedy.RESEND),
        (asyncpg.InvalidCachedStatementError(), Remedy.RESEND),
        (asyncpg.DeadlockDetectedError(), Remedy.REPEAT),
        (asyncpg.SerializationError(), Remedy.REPEAT),
        (asyncpg.LockNotAvailableError(), Remedy.REPEAT),
        (asyncpg.QueryCanceledError(), Remedy.REPEAT),
        (asyncpg.PostgresError.new({"C": "FF005"}), Remedy.REPEAT),
        (asyncpg.CheckViolationError(), Remedy.HALVE),
        (asyncpg.DataError(), Remedy.HALVE),
        (asyncpg.NumericValueOutOfRangeError(), Remedy.HALVE),
        (OverflowError(), Remedy.HALVE),
    ],
)
def test_the_remedy_fits_the_failure(error: Exception, remedy: Remedy):
    assert remedy_for(error) is remedy
