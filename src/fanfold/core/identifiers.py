"""Identifiers made in the application, since a managed Postgres may be too old to make them."""

import os
import time
from array import array
from uuid import UUID

_PARTS = 4096  # of a millisecond, in 12 bits
_VERSION, _VARIANT = 0x7 << 12, 0x2 << 62
_DRAWN_AT_ONCE = (
    512  # asking the system for one random number costs as much as making the rest of an identifier
)
_drawn: list[int] = []
os.register_at_fork(after_in_child=_drawn.clear)  # of what its parent drew no child may take the same


def uuid7() -> UUID:
    """Return a time-ordered UUID, version 7 (RFC 9562, section 5.7): the time in 4096ths of a ms, 62 random bits.

    Of those that one process makes one after the other the later is the greater (section 6.2, method 3), as far as
    its clock tells them apart and is not set back.
    """
    return UUID(int=_uuid7())


def uuid7_text() -> str:
    """Return such a one as text, for which no UUID has to be made."""
    digits = f"{_uuid7():032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _uuid7() -> int:
    """Return the time, and 62 random bits that nobody else has had."""
    now = time.time_ns()
    milliseconds = now // 1_000_000
    parts = (now - milliseconds * 1_000_000) * _PARTS // 1_000_000
    while True:
        try:
            return (milliseconds << 16 | _VERSION | parts) << 64 | _VARIANT | _drawn.pop() >> 2
        except IndexError:  # used up, perhaps by another thread
            _drawn.extend(array("Q", os.urandom(8 * _DRAWN_AT_ONCE)))
