"""When the interpreter walks its objects for cycles: rarely, and never over what lives as long as the process."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Net containers made between walks of the young, of those once (20 of them) and of all (50 of those). Python's own
# 700, 10, 10 make twelve walks of all while 1,000 streams open, each a stop of 10 to 70 ms for everybody; these make
# none. A request leaves next to none behind, so what waits for the next walk is bounded by a million, tens of MB.
_SELDOM = (1_000, 20, 50)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Keep what is there now out of every walk, and walk the rest seldom, while the body runs."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles while the body runs, nor in what is there then: for imports.

    Walks take a fifth of their time and find nothing, and the first after them would walk all that they brought.
    """
    was_on, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if len(sys.modules) > known:  # else nothing came that is worth keeping out
                gc.freeze()
            gc.enable()
