"""Locks between processes that the kernel drops however their holder ends (flock)."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_POLL_S = 0.005


class HeldElsewhere(Exception):
    """Another process keeps the lock for longer than the caller waits."""


def open_lock(path: Path) -> IO[bytes]:
    """Open a file to lock, or to append to; it is made with mode 0600."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")


def try_lock(file: IO[bytes]) -> bool:
    """Take the file alone if no one else holds it, shared or alone."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock of `path` alone; blocks, at most `timeout_s`, then raises HeldElsewhere."""
    deadline = time.monotonic() + timeout_s
    with open_lock(path) as file:
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise HeldElsewhere(path.name)
            time.sleep(_POLL_S)
        yield
